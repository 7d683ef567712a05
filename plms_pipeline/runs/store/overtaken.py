"""Which queued runs can never go out any more, because their project has come to its end?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import OutboxEvent, Project, ProjectRun
from plms_pipeline.runs.lifecycle import TERMINAL
from plms_pipeline.runs.store import announcing

_OVERTAKEN: Final = (
    select(ProjectRun.run_id)
    .join(Project, Project.id == ProjectRun.project_id)
    .join(OutboxEvent, OutboxEvent.subject_id == ProjectRun.run_id)
    .where(
        ProjectRun.source == "plms", ProjectRun.status == "QUEUED", Project.status.in_(sorted(TERMINAL["project"])),
        ~announcing.may_go(Project.status), OutboxEvent.kind == announcing.START, OutboxEvent.state == "pending",
        OutboxEvent.attempts == 0,
    )
    .order_by(ProjectRun.id)
    .limit(bindparam("most"))
)  # fmt: skip


def overtaken_runs(session: Session, *, limit: int) -> Sequence[str]:
    """Runs that wait for a start which was never claimed, of projects that ended and let none of their kind go. Reads only."""
    return session.scalars(_OVERTAKEN, {"most": limit}).all()
