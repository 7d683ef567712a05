"""What is told about a single run over HTTP? How it stands, what happened, what came out, and what a replay would differ in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.problems import problems
from plms_pipeline.access.routes import MAX_ID, RUN_ID_FORM, RunId, State, of_the_books, requires
from plms_pipeline.runs import runs_api as api
from plms_pipeline.runs.actions.closing import report_document, run_lines, run_status
from plms_pipeline.runs.actions.listing import list_runs, show_run
from plms_pipeline.runs.actions.replay import check_replay, comparison_of
from plms_pipeline.runs.lifecycle import is_terminal
from plms_pipeline.runs.routes.start import worlds_of

router = APIRouter(tags=["runs"])
Viewer = Annotated[Principal, requires("projects.view")]
MOST_RUNS = 1000
RUNS_PER_PAGE = 100


def _told(content: Any) -> JSONResponse:
    # The models document the answer; checking it against them on every read would cost more than making it.
    return JSONResponse(content)


@router.get("/api/runs", response_model=api.RunList, responses=problems(404), summary="List runs")
@of_the_books
def list_(
    state: State,
    _principal: Viewer,
    project_id: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Only this project's.", examples=[42])] = None,
    status: Annotated[api.Status | None, Query(description="Only those in this state.")] = None,
    after: Annotated[
        str | None,
        Query(
            pattern=RUN_ID_FORM,
            description="Only those that were started before this run: `next_after` of the page before.",
            examples=[api.RUN_ID],
        ),
    ] = None,
    limit: Annotated[
        int | None, Query(ge=1, le=MOST_RUNS, description=f"At most so many; {RUNS_PER_PAGE} when omitted.")
    ] = None,
) -> JSONResponse:
    """Runs that were started here, the newest first.

    With `limit` or `after` the answer has `next_after`: the `after` of the next page, null at the end.
    """
    most = RUNS_PER_PAGE if limit is None else limit
    found = list_runs(state.registry, project_id=project_id, status=status, after=after, limit=most)
    page: dict[str, Any] = {"runs": found}
    if limit is not None or after is not None:
        page["next_after"] = found[-1]["run_id"] if len(found) == most else None
    return _told(page)


@router.get("/api/runs/{run_id}", response_model=api.RunOut, summary="Show a run")
@of_the_books
def show(run_id: RunId, state: State, _principal: Viewer) -> JSONResponse:
    """One run: its tasks, its job cards, and why it ended as it did."""
    return _told(show_run(state.registry, run_id))


@router.get("/api/runs/{run_id}/log", response_model=api.RunLog, summary="What happened to a run")
@of_the_books
def log(run_id: RunId, state: State, _principal: Viewer) -> JSONResponse:
    """Every change of state of the run and its tasks, in order. Ask again until `has_ended` to follow it."""
    # The status first: a line that is written in between is then there although the run is said to go on.
    status = run_status(state.registry, run_id)
    lines = [line.as_json() for line in run_lines(state.registry, run_id)]
    return _told({"run_id": run_id, "status": status, "has_ended": is_terminal("run", status), "lines": lines})


@router.get("/api/runs/{run_id}/report", response_model=api.ReportOut, summary="The session report of a run")
@of_the_books
def report(run_id: RunId, state: State, _principal: Viewer) -> JSONResponse:
    """The report of a run that ended; 404 `no_report` until it is written, moments after the end."""
    found = report_document(state.registry, run_id)
    return _told(api.report_json(found.report, revision=found.revision, path=found.path))


@router.get(
    "/api/runs/{run_id}/replay",
    response_model=api.ReplayCheck,
    responses=problems(409),
    summary="What a replay would differ in",
)
def check(run_id: RunId, state: State, _principal: Viewer) -> JSONResponse:
    """Compare plan and providers as they are now with the run's passport; starts nothing.

    Refused with 409: `run_not_ended`, `no_passport`, `passport_altered`.
    """
    run_status(state.registry, run_id)  # for a run that is not there nobody asks the executor
    found = check_replay(state.registry, run_id, world=worlds_of(state).at_hand())
    differences = [asdict(one) for one in found.differences]
    return _told({"run_id": run_id, "would_repeat": not found.refusing, "differences": differences})


@router.get(
    "/api/runs/{run_id}/comparison",
    response_model=api.ComparisonOut,
    responses=problems(409),
    summary="Compare a replay with its original",
)
@of_the_books
def compare(run_id: RunId, state: State, _principal: Viewer) -> JSONResponse:
    """The files of a replay, byte for byte against those of its original.

    404 `run_not_closed` until both have ended and their files are in the books; 409 `no_replay` when it repeats no other run.
    """
    return _told(comparison_of(state.registry, run_id).as_json())
