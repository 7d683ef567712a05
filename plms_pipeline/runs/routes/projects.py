"""Projects over HTTP: from their tasks to the approver's desk, with the sources' field names."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import Response

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import (
    MAX_ID,
    AppState,
    ProjectId,
    State,
    of_the_books,
    plain_id,
    plain_query,
    requires,
    told_at_once,
)
from plms_pipeline.errors import Conflict
from plms_pipeline.registry.tables.vocabulary import PROJECT_STATES
from plms_pipeline.runs import project_answers as answers
from plms_pipeline.runs import project_forms as forms
from plms_pipeline.runs.actions import views_told as told
from plms_pipeline.runs.actions.decide_project import submit_project
from plms_pipeline.runs.actions.project_estimates import estimate_project
from plms_pipeline.runs.actions.projects import MAX_LISTED, create_project, projects
from plms_pipeline.runs.files.lane_classifier import learnt_lanes
from plms_pipeline.runs.plan_document import BadPlan, from_json
from plms_pipeline.runs.project_view import evidence_of, project_json, task_json
from plms_pipeline.runs.store.projects import SOURCE

router = APIRouter(tags=["projects"])
_FILTERS = frozenset((b"tags", b"status", b"imported"))
Viewer = Annotated[Principal, requires("projects.view")]
Operator = Annotated[Principal, requires("projects.start")]
Why = Annotated[forms.WhyIn | None, Body(examples=[{"reason": "ready for approval"}])]


def _bytes(content: bytes) -> Response:
    # The models document the answer; checking it against them on every read would cost more than making it.
    return Response(content, media_type="application/json")


@router.post(
    "/api/projects/create", response_model=answers.Created, status_code=201, summary="Create a project with its tasks"
)
def create(body: forms.CreateIn, state: State, principal: Operator) -> dict[str, Any]:
    """Store a project in state `planning`.

    A task without a lane gets the one that its words suggest. Refused with 409 `bad_project_file`, naming every problem: an
    unknown lane, a key that stands twice, tasks that wait for each other, a gate that is looser than the lane's.
    """
    document = body.model_dump(exclude_none=True)
    context = document.pop("initial_context", None)
    if context and "description" not in document:
        document["description"] = context
    try:
        view = create_project(
            state.registry, from_json(document), "The project", clock=state.clock, actor=principal.actor,
            learnt=learnt_lanes(state.settings.data_dir),
        )  # fmt: skip
    except BadPlan as error:
        raise Conflict(error.message, code=error.code) from error
    return {"project_id": view.id, "status": view.status, "task_tree": [task_json(task) for task in view.tasks]}


def _page_at_once(state: AppState, _path: tuple[str, ...], query: bytes) -> bytes | None:
    given = plain_query(query)
    if given is None or not _FILTERS.isdisjoint(given):
        return None
    after, limit = given.get(b"after", b"0"), given.get(b"limit", b"100")
    first = 0 if after == b"0" else plain_id(after.decode())
    most = plain_id(limit.decode())
    if first is None or most is None or most > MAX_LISTED:
        return None
    return told.projects(state.registry, after=first, limit=most)


def _project_at_once(state: AppState, path: tuple[str, ...], _query: bytes) -> bytes | None:
    number = plain_id(path[0])
    return None if number is None else told.project(state.registry, number)


@router.get("/api/projects", response_model=answers.ProjectList, summary="List projects")
@told_at_once(_page_at_once)
@of_the_books
def list_projects(
    state: State,
    _principal: Viewer,
    tags: Annotated[
        # Not "or null": in a query there is no null, and a document that says so promises to refuse what it cannot tell apart.
        list[Annotated[str, Query(max_length=64)]],
        Query(description="Only those that have every one of these.", max_length=20, default_factory=list),
    ],
    status: Annotated[
        str | None,
        Query(
            pattern=f"^({'|'.join((*PROJECT_STATES, 'paused'))})$",
            description="Only those in this state; `paused`: those on hold.",
            examples=["approved"],
        ),
    ] = None,
    imported: Annotated[bool, Query(description="Imported history as well.")] = False,
    after: Annotated[int, Query(ge=0, le=MAX_ID, description="Only ids above this one.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
) -> Response:
    """Projects in order of id, without their tasks."""
    if status is None and not tags and not imported:
        return _bytes(told.projects(state.registry, after=after, limit=limit))
    found = projects(
        state.registry, status=status, tags=tags, after=after, limit=limit, source=None if imported else SOURCE
    )
    return _bytes(
        told.as_json(
            {
                "projects": [project_json(view, with_tasks=False) for view in found],
                "next_after": found[-1].id if len(found) == limit else None,
            }
        )
    )


@router.get("/api/projects/{project_id}", response_model=answers.ProjectOut, summary="Show a project")
@told_at_once(_project_at_once)
@of_the_books
def get(project_id: ProjectId, state: State, _principal: Viewer) -> Response:
    """One project with its tasks, their lanes and what they are estimated to take."""
    return _bytes(told.project(state.registry, project_id))


@router.post("/api/projects/{project_id}/estimate", response_model=answers.Estimated, summary="Estimate a project")
def estimate(project_id: ProjectId, state: State, principal: Operator) -> dict[str, Any]:
    """Price every task and the whole from what is believed now, with 90 % intervals, and keep it.

    Refused with 409: `already_approved`, `no_tasks`, `plan_changed`.
    """
    found = estimate_project(
        state.registry, project_id, clock=state.clock, actor=principal.actor, alpha=state.settings.alpha
    )
    return {
        "project_id": project_id,
        "status": found.view.status,
        "task_tree": [task_json(task) for task in found.view.tasks],
        "totals": found.totals,
    }


@router.post(
    "/api/projects/{project_id}/submit", response_model=answers.DecidedOut, summary="Submit a project for approval"
)
def submit(project_id: ProjectId, state: State, principal: Operator, body: Why = None) -> dict[str, Any]:
    """Ask for the approval of an estimated project. Refused with 409: `not_in_planning`, `not_estimated`."""
    done = submit_project(
        state.registry, project_id, clock=state.clock, ids=state.ids, actor=principal.actor,
        reason=(body.reason if body else None) or "ready for approval",
    )  # fmt: skip
    return {
        "project_id": project_id, "status": done.view.status, "decision_id": done.decision_id,
        "evidence_sha256": evidence_of(done.view),
    }  # fmt: skip
