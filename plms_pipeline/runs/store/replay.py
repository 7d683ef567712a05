"""What do the books hold of a run that is to be repeated, and of one that repeated it?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import (
    OutboxEvent,
    ProjectArtifact,
    ProjectRun,
    RunLineage,
    RunPassport,
    SessionReport,
)
from plms_pipeline.runs.replaying import below_outputs
from plms_pipeline.runs.store.outbox import Effect, is_due, take

COMPARE = "compare_replay"


@dataclass(frozen=True, slots=True)
class Original:
    """A run that is to be repeated; the passport is None when it has none."""

    run_id: str
    project_id: int
    status: str
    run_kind: str
    write_sandbox: bool
    is_sample: bool
    passport_text: str | None
    passport_sha256: str | None
    noted_sha256: str | None


def original(session: Session, run_id: str) -> Original | None:
    """A run with its passport, or None."""
    row = session.execute(
        select(
            ProjectRun.run_id, ProjectRun.project_id, ProjectRun.status, ProjectRun.run_kind, ProjectRun.write_sandbox,
            ProjectRun.rehearsal_pct.is_not(None), RunPassport.passport_json, RunPassport.sha256,
            ProjectRun.passport_sha256,
        )
        .outerjoin(RunPassport, RunPassport.run_id == ProjectRun.run_id)
        .where(ProjectRun.run_id == run_id)
    ).one_or_none()  # fmt: skip
    return None if row is None else Original(*row)


def parent_of(session: Session, run_id: str) -> str | None:
    """The run that this one repeats, or None."""
    return session.scalar(
        select(RunLineage.parent_run_id).where(RunLineage.run_id == run_id, RunLineage.relation == "replay")
    )


def is_closed(session: Session, run_id: str) -> bool:
    """Whether a run has ended and its files are in the books."""
    return session.scalar(select(SessionReport.run_id).where(SessionReport.run_id == run_id)) is not None


def digests(session: Session, run_id: str) -> dict[str, str | None]:
    """Path below the run's outputs → SHA-256."""
    rows = session.execute(
        select(ProjectArtifact.artifact_path, ProjectArtifact.sha256).where(ProjectArtifact.run_id == run_id)
    )
    return {below_outputs(path, run_id): sha256 for path, sha256 in rows}


def any_due(session: Session, now: datetime) -> bool:
    """Whether a comparison can be made now."""
    return session.scalar(_due(now).limit(1)) is not None


def claim_due(session: Session, *, holder: str, now: datetime, lease_until: datetime, limit: int) -> list[Effect]:
    """Take comparisons that can be made now: both runs are closed."""
    return take(session, _due(now).limit(limit), holder=holder, now=now, lease_until=lease_until)


def _due(now: datetime) -> Select[int]:
    mine, theirs = SessionReport.__table__.alias("mine"), SessionReport.__table__.alias("theirs")
    return (
        select(OutboxEvent.id)
        .join(RunLineage, RunLineage.run_id == OutboxEvent.subject_id)
        .join(mine, mine.c.run_id == RunLineage.run_id)
        .join(theirs, theirs.c.run_id == RunLineage.parent_run_id)
        .where(OutboxEvent.kind == COMPARE, *is_due(now))
    )
