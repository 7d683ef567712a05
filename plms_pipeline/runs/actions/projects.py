"""How does a project come into the books, and how is it shown?

A plan is read against the lanes and gates as they stand, outside of any transaction, and stored in one: a file with one bad
line leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.estimates.store.receipts import lane_words
from plms_pipeline.kpis.gates import Gate, condition
from plms_pipeline.kpis.store.receipts import active_lanes
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables.vocabulary import PROJECT_STATES
from plms_pipeline.runs.absent import no_project
from plms_pipeline.runs.lanes import Suggest, suggester
from plms_pipeline.runs.plan import ProjectPlan, Terms, read_plan
from plms_pipeline.runs.plan_document import Item
from plms_pipeline.runs.project_view import ProjectView
from plms_pipeline.runs.store import projects as store
from plms_pipeline.runs.store.transitions import record_birth

MAX_LISTED = 500


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a project is put: the id that it must have, and the key by which it is known again; both may be left open."""

    project_id: int | None = None
    key: str | None = None


def terms_of(registry: Registry, learnt: Suggest | None = None) -> Terms:
    """What a plan is read against now: words for lanes, their gates, and what suggests lanes.

    Args:
        learnt: what corrections taught; None: keywords only.

    Raises:
        BadInput: a gate in the books cannot be judged.
    """
    with registry.reading() as session:
        active = {lane.lane_id for lane in active_lanes(session)}
        words = {word: lane for word, lane in lane_words(session).items() if lane in active}
        rows = store.gate_rows(session)
    gates: dict[int, tuple[Gate, ...]] = {}
    for row in rows:
        gate = Gate(row.kpi_name, (condition(row.kpi_name, row.operator, row.threshold),), row.blocks)
        gates[row.lane_id] = (*gates.get(row.lane_id, ()), gate)
    return Terms(words, gates, suggester(words, learnt))


def create_project(
    registry: Registry,
    root: Item,
    name: str,
    *,
    clock: Clock,
    actor: Actor,
    learnt: Suggest | None = None,
    shelf: Shelf = Shelf(),
) -> ProjectView:
    """Read a plan and store it as a project in state `planning`.

    Args:
        root: the tree of a task file (`runs.plan_document`).
        name: the file, for messages.
        learnt: what corrections of lanes taught.

    Raises:
        BadPlan: with every problem of the plan and its line; nothing was stored.
        Conflict: the id of the shelf is taken (`project_id_taken`).
    """
    plan = read_plan(root, name, terms_of(registry, learnt))
    return store_plan(registry, plan, clock=clock, actor=actor, shelf=shelf)


def store_plan(registry: Registry, plan: ProjectPlan, *, clock: Clock, actor: Actor, shelf: Shelf) -> ProjectView:
    """Store a plan as a project in state `planning`.

    Raises:
        Conflict: the id of the shelf is taken (`project_id_taken`).
    """
    now = clock.now()
    try:
        with registry.writing() as session:
            project_id = store.insert_project(
                session, plan, at=now, actor=actor.name, project_id=shelf.project_id, key=shelf.key
            )
            record_birth(session, "project", str(project_id), "planning", at=now, actor=actor.name)
            audit.record(
                session, at=now, actor=actor, action="project.create", subject=f"project:{project_id}", outcome="done",
                details={"name": plan.name, "tasks": len(plan.tasks)},
            )  # fmt: skip
            view = store.view_of(session, project_id)
    except IntegrityError as error:
        if shelf.project_id is None or not _is_taken(registry, shelf.project_id):
            raise
        raise Conflict(
            f"Project {shelf.project_id} exists already and is another one.", code="project_id_taken"
        ) from error
    assert view is not None  # noqa: S101 - it was inserted above
    return view


def _is_taken(registry: Registry, project_id: int) -> bool:
    with registry.reading() as session:
        return store.id_is_taken(session, project_id)


def project(registry: Registry, project_id: int) -> ProjectView:
    """One project with its tasks.

    Raises:
        NotFound: there is none with this id.
    """
    with registry.reading() as session:
        return found_project(store.view_of(session, project_id), project_id)


def found_project(view: ProjectView | None, project_id: int) -> ProjectView:
    """The project that was looked for.

    Raises:
        NotFound: there is none (`unknown_project`).
    """
    if view is None:
        raise no_project(project_id, code="unknown_project")
    return view


def projects(
    registry: Registry,
    *,
    status: str | None = None,
    tags: Sequence[str] = (),
    after: int = 0,
    limit: int = 100,
    source: str | None = store.SOURCE,
) -> list[ProjectView]:
    """Projects without their tasks, in order of id.

    Args:
        status: only those in this state; `paused`: those on hold.
        tags: only those that have every one of these.
        after: only ids above this one, to page on.
        source: only those that came from there (`plms`: planned here; None: imported history as well).

    Raises:
        BadInput: an unknown state.
    """
    if status is not None and status not in (*PROJECT_STATES, "paused"):
        raise BadInput(
            f"{status[:60]!r} is no state of a project; known are {', '.join(PROJECT_STATES)} and paused.",
            code="unknown_status",
        )
    limit = min(limit, MAX_LISTED)
    with registry.reading() as session:
        if status == "paused":
            return store.paused_views(session, tags=tags, after=after, limit=limit, source=source)
        return store.views(session, status=status, tags=tags, after=after, limit=limit, source=source)
