"""What does the page ask for? One call per section, answered for all projects at once from one snapshot of the books."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from plms_pipeline import __version__
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import MAX_ID, AppState, State, requires
from plms_pipeline.portfolio.actions.status import QueuedTask, queue_of
from plms_pipeline.portfolio.files import flag_reason
from plms_pipeline.registry.engine import Registry
from plms_pipeline.web.page import contracts, inbox, sections
from plms_pipeline.web.page.actions import details
from plms_pipeline.web.page.facts import MOST_PROJECTS, Snapshot
from plms_pipeline.web.page.service import BEAT_EVERY_S, watch_of

# How many tasks that wait are asked why.
MOST_LOOKED_AT = 400
router = APIRouter(tags=["page"])
Viewer = Annotated[Principal, requires("projects.view")]
Watcher = Annotated[Principal, requires("portfolio.view")]


def _told(content: Any) -> JSONResponse:
    # The contracts document the answer and are tested against it; checking each one would cost more than making it.
    return JSONResponse(content)


@router.get("/api/page/about", response_model=contracts.About, summary="What the page must know of this installation")
async def about(request: Request, state: State, _principal: Viewer) -> JSONResponse:
    """Version, clock, and where the Dagster UI is."""
    has_alerts = any(getattr(route, "path", None) == "/api/alerts" for route in request.app.documented)
    return _told(
        {
            "version": __version__, "now": state.clock.now().isoformat(), "auth": state.settings.auth,
            "dagster_url": state.settings.dagster_url, "beat_s": BEAT_EVERY_S,
            "has_alerts": has_alerts,
        }
    )  # fmt: skip


@router.get("/api/page/projects", response_model=contracts.PageProjects, summary="Runway of every project")
async def projects(
    state: State,
    _principal: Viewer,
    project_id: Annotated[
        list[Annotated[int, Query(ge=1, le=MAX_ID)]] | None,
        Query(max_length=MOST_PROJECTS, description="Only these; every project that is not over when left out."),
    ] = None,
) -> JSONResponse:
    """Every project that is not over: budget, runway, tasks of its newest run."""
    snapshot = await watch_of(state).snapshot()
    return _told(sections.projects(snapshot, state.clock.now(), None if project_id is None else set(project_id)))


@router.get("/api/page/portfolio", response_model=contracts.PagePortfolio, summary="Lanes, and why tasks wait")
async def portfolio(state: State, _principal: Watcher) -> JSONResponse:
    """Caps, what runs and waits in each lane, and the first tasks of the queue with what stands in their way."""
    watch, now = watch_of(state), state.clock.now()
    snapshot = await watch.snapshot()
    key = (snapshot.queue, snapshot.lanes, snapshot.switches, snapshot.outside[:1])
    queue = await watch.derived("queue", key, lambda registry, _: _queue(registry, state))
    return _told(sections.portfolio(snapshot, queue, now))


@router.get("/api/page/risk", response_model=contracts.PageRisk, summary="Risk of every project in every lane")
async def risk(state: State, _principal: Viewer) -> JSONResponse:
    """Estimation, execution and validation risk, as `/api/projects/{project_id}/risk-heatmap` tells them for one project."""
    watch = watch_of(state)
    snapshot = await watch.snapshot()
    cells = await watch.derived("risk", _taught(snapshot), details.risk_cells)
    return _told(sections.risk(snapshot.lanes, cells, snapshot, state.clock.now()))


@router.get("/api/page/drift", response_model=contracts.PageDrift, summary="Where the estimates of each lane go")
async def drift(state: State, _principal: Viewer) -> JSONResponse:
    """The last ten projects of every lane, as `/api/projects/{project_id}/estimation-drift` tells them for one lane."""
    watch = watch_of(state)
    snapshot = await watch.snapshot()
    lanes = await watch.derived("drift", _taught(snapshot), details.drift)
    return _told({"as_of": state.clock.now().isoformat(), "lanes": lanes})


@router.get("/api/page/runs", response_model=contracts.PageRuns, summary="The newest runs with their gates")
async def runs(state: State, _principal: Viewer) -> JSONResponse:
    """The newest 25 runs with their tasks by status and what their gates measured."""
    watch = watch_of(state)
    snapshot = await watch.snapshot()
    key = tuple((one.run_id, one.gates) for one in snapshot.runs)
    gates = await watch.derived("gates", key, details.gates)
    return _told(sections.runs(snapshot, gates, state.clock.now()))


@router.get("/api/inbox", response_model=contracts.Inbox, summary="Everything that waits for a decision")
async def waiting(state: State, principal: Viewer) -> JSONResponse:
    """What waits for a person, with its evidence and what the caller may do about it, what holds up work first."""
    snapshot = await watch_of(state).snapshot()
    found = inbox.items(snapshot.waiting, principal, auth_disabled=state.settings.auth == "disabled")
    return _told(
        {"as_of": state.clock.now().isoformat(), "counts": inbox.counts(snapshot.waiting), "items": found}
    )  # fmt: skip


def _queue(registry: Registry, state: AppState) -> list[QueuedTask]:
    return queue_of(registry, clock=state.clock, flag=flag_reason(state.settings.data_dir), limit=MOST_LOOKED_AT)


def _taught(snapshot: Snapshot) -> object:
    return tuple((one.project_id, one.name, one.receipts, one.gates, one.planned_tasks) for one in snapshot.projects)
