"""Which queued runs can never go out any more, because their project has come to its end?"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Integer, bindparam, select

from plms_pipeline.registry.prepared import Asking, Prepared, one_of
from plms_pipeline.registry.tables import OutboxEvent, Project, ProjectRun
from plms_pipeline.runs.lifecycle import TERMINAL
from plms_pipeline.runs.store import announcing

_OVERTAKEN: Final = Prepared(
    select(ProjectRun.run_id)
    .join(Project, Project.id == ProjectRun.project_id)
    .join(OutboxEvent, OutboxEvent.subject_id == ProjectRun.run_id)
    .where(
        ProjectRun.source == "plms", ProjectRun.status == "QUEUED", one_of(Project.status, sorted(TERMINAL["project"])),
        ~announcing.may_go(Project.status), OutboxEvent.kind == announcing.START, OutboxEvent.state == "pending",
        OutboxEvent.attempts == 0,
    )
    .order_by(ProjectRun.id)
    .limit(bindparam("most", type_=Integer()))
)  # fmt: skip


def overtaken_runs(ask: Asking, *, limit: int) -> list[str]:
    """Runs that wait for a start which was never claimed, of projects that ended and let none of their kind go. Reads only."""
    return [run_id for (run_id,) in ask.rows(_OVERTAKEN, most=limit)]
