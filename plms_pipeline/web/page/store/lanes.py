"""What runs and waits in each lane, which runs are there, what is stopped?

Every function takes an open session and only reads.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.store import slots, switches
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.registry.prepared import Prepared, asking_in, one_of
from plms_pipeline.registry.tables import JobCard, KpiReceipt, Lane, Project, ProjectRun, QueuedCard, RunTask
from plms_pipeline.web.page.facts import MOST_RUNS, MOST_WAITING, LaneFacts, RunFacts, Switch

_LANES: Final = Prepared(
    select(Lane.lane_id, Lane.name, Lane.description, Lane.cap, Lane.active).order_by(Lane.lane_id)
)
_WAITING: Final = Prepared(
    select(JobCard.lane_id, func.count(), func.count(QueuedCard.card_key), func.min(JobCard.created_at))
    .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
    .outerjoin(QueuedCard, QueuedCard.card_key == JobCard.card_key)
    .where(JobCard.state == "WAITING", one_of(ProjectRun.status, ("QUEUED", "RUNNING")))
    .group_by(JobCard.lane_id)
)
_FIRST: Final = Prepared(
    select(JobCard.card_key)
    .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
    .outerjoin(QueuedCard, QueuedCard.card_key == JobCard.card_key)
    .where(JobCard.state == "WAITING", one_of(ProjectRun.status, ("QUEUED", "RUNNING")))
    .order_by(JobCard.lane_id, QueuedCard.rank.is_(None), QueuedCard.rank.desc(), JobCard.created_at, JobCard.task_id)
    .limit(MOST_WAITING)
)
_NEWEST: Final = (
    select(ProjectRun.id).where(ProjectRun.source == "plms").order_by(ProjectRun.id.desc()).limit(MOST_RUNS)
).subquery("newest_runs")
_RUNS: Final = Prepared(
    select(
        ProjectRun.run_id, ProjectRun.project_id, Project.name, ProjectRun.run_kind, ProjectRun.status,
        ProjectRun.validation, ProjectRun.validation_pass_override, ProjectRun.write_sandbox, ProjectRun.created_at,
        ProjectRun.started_at, ProjectRun.completed_at,
    )
    .join(Project, Project.id == ProjectRun.project_id)
    .where(ProjectRun.id.in_(select(_NEWEST.c.id)))
    .order_by(ProjectRun.id.desc())
)  # fmt: skip
_TASKS: Final = Prepared(
    select(RunTask.run_id, RunTask.status, func.count())
    .join(ProjectRun, ProjectRun.run_id == RunTask.run_id)
    .where(ProjectRun.id.in_(select(_NEWEST.c.id)))
    .group_by(RunTask.run_id, RunTask.status)
)
_GATES: Final = Prepared(
    select(KpiReceipt.run_id, func.count())
    .join(ProjectRun, ProjectRun.run_id == KpiReceipt.run_id)
    .where(ProjectRun.id.in_(select(_NEWEST.c.id)))
    .group_by(KpiReceipt.run_id)
)
# What a status of a task is called in a count.
WORDS: Final = {"SUCCESS": "done", "FAIL": "failed", "RUNNING": "running", "QUEUED": "waiting", "SKIPPED": "skipped"}


def _rows(session: Session, prepared: Prepared) -> list[Any]:
    ask = asking_in(session)
    return prepared.typed(ask.rows(prepared), ask.dialect)


def lanes(session: Session) -> tuple[LaneFacts, ...]:
    """Every lane, by number."""
    taken = slots.open_counts(session)
    waits = {lane: (waiting, ready, oldest) for lane, waiting, ready, oldest in _rows(session, _WAITING)}
    return tuple(
        LaneFacts(lane, name, description, cap, bool(active), taken.get(lane_resource(lane), 0), *waits.get(lane, (0, 0, None)))
        for lane, name, description, cap, active in _rows(session, _LANES)
    )  # fmt: skip


def first_waiting(session: Session) -> tuple[str, ...]:
    """The cards that are shown as waiting: another card or another order is another queue."""
    return tuple(row[0] for row in _rows(session, _FIRST))


def runs(session: Session) -> tuple[RunFacts, ...]:
    """The newest runs that were started here."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for run_id, status, number in _rows(session, _TASKS):
        counts[run_id][WORDS[status]] = number
    gates = dict(_rows(session, _GATES))
    found = []
    for row in _rows(session, _RUNS):
        told: dict[str, Any] = {**dict.fromkeys(WORDS.values(), 0), **counts[row[0]], "gates": gates.get(row[0], 0)}
        found.append(RunFacts(*row, **told))
    return tuple(found)


def on_switches(session: Session) -> tuple[Switch, ...]:
    """What stops things now."""
    return tuple(
        Switch(one.scope, one.subject, one.reason, one.actor, one.turned_on_at) for one in switches.that_are_on(session)
    )
