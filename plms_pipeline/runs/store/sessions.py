"""What do the books hold about a run that ended, and which reports are written or due?"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from plms_pipeline.estimates.policy import included
from plms_pipeline.estimates.store.receipts import receipts_of_run
from plms_pipeline.intake.store.importing import insert_into
from plms_pipeline.letters import store as letters
from plms_pipeline.registry.tables import (
    AuditEntry,
    JobCard,
    KpiReceipt,
    Project,
    ProjectArtifact,
    ProjectRun,
    ProviderSnapshot,
    RunLineage,
    RunPassport,
    RunTask,
    SessionReport,
    StateTransition,
    TaskReceipt,
)
from plms_pipeline.registry.tables.vocabulary import TERMINAL_STATES
from plms_pipeline.runs.receiving import SOURCE
from plms_pipeline.runs.runlog import Line
from plms_pipeline.runs.session import KpiFacts, SessionFacts, TaskFacts
from plms_pipeline.runs.store.transitions import task_subject

_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Written:
    """A report as it was last written."""

    run_id: str
    report: Mapping[str, Any]
    sha256: str
    path: str
    revision: int
    written_at: datetime


def due_reports(session: Session, *, limit: int) -> list[str]:
    """Runs that ended and have no report, or whose verdict was overridden after it was written; the oldest first."""
    query = (
        select(ProjectRun.run_id)
        .outerjoin(SessionReport, SessionReport.run_id == ProjectRun.run_id)
        .where(
            ProjectRun.source == SOURCE,
            ProjectRun.status.in_(TERMINAL_STATES),
            or_(SessionReport.run_id.is_(None), ProjectRun.overridden_at > SessionReport.written_at),
        )
        .order_by(ProjectRun.id)
        .limit(limit)
    )
    return list(session.scalars(query))


def facts_of(session: Session, run_id: str) -> SessionFacts | None:
    """Everything that a report says about a run; None when there is no such run of ours."""
    row = session.execute(
        select(ProjectRun, Project, RunPassport, RunLineage.relation)
        .join(Project, Project.id == ProjectRun.project_id)
        .outerjoin(RunPassport, RunPassport.run_id == ProjectRun.run_id)
        .outerjoin(RunLineage, RunLineage.run_id == ProjectRun.run_id)
        .where(ProjectRun.run_id == run_id, ProjectRun.source == SOURCE)
    ).one_or_none()
    if row is None:
        return None
    run, project, passport, relation = row
    took = session.execute(
        select(TaskReceipt.cost_usd, TaskReceipt.duration_ms)
        .where(TaskReceipt.run_id == run_id)
        .order_by(TaskReceipt.task_id, TaskReceipt.attempt)
    ).all()
    receipts = receipts_of_run(session, run_id)
    owed, last_failed = letters.of_project(session, project.id)
    return SessionFacts(
        run_id=run_id,
        project_id=project.id,
        project_name=project.name,
        run_kind=run.run_kind,
        status=run.status,
        validation=run.validation,
        is_sandbox=run.write_sandbox,
        is_sample=run.rehearsal_pct is not None,
        created_at=run.created_at,
        started_at=run.started_at,
        completed_at=run.completed_at,
        reason=_reasons(session, [run_id], "run").get(run_id),
        override=run.validation_pass_override,
        override_reason=run.override_reason,
        overridden_by=run.overridden_by,
        budget_usd=project.budget_cost_usd_max,
        estimated_tokens=project.estimated_tokens,
        estimated_usd=project.estimated_cost_usd,
        passport_sha256=run.passport_sha256,
        is_passport_intact=None if passport is None else _is_intact(passport, run.passport_sha256),
        git_commit=None if passport is None else passport.git_commit,
        parent_relation=relation,
        teaches=bool(len(receipts) and included(receipts.policy, "effort").any()),
        n_artifacts=int(
            session.scalar(select(func.count()).select_from(ProjectArtifact).where(ProjectArtifact.run_id == run_id))
            or 0
        ),
        provider_mismatch=session.scalar(
            select(func.max(ProviderSnapshot.mismatch)).where(ProviderSnapshot.run_id == run_id)
        ),
        dlq_count=owed,
        last_dlq_run_id=last_failed,
        tasks=tuple(_tasks(session, run_id)),
        kpis=tuple(_kpis(session, run_id)),
        costs=tuple(cost for cost, _ in took),
        durations_ms=tuple(duration for _, duration in took),
    )


def _is_intact(passport: RunPassport, noted: str | None) -> bool:
    found = hashlib.sha256(passport.passport_json.encode()).hexdigest()
    return found == passport.sha256 and (noted is None or found == noted)


def _tasks(session: Session, run_id: str) -> Sequence[TaskFacts]:
    attempts = (
        select(func.count())
        .select_from(JobCard)
        .where(JobCard.run_id == RunTask.run_id, JobCard.task_id == RunTask.task_id, JobCard.state == "ENDED")
        .scalar_subquery()
    )
    rows = session.execute(
        select(RunTask.task_id, RunTask.lane_id, RunTask.provider, RunTask.status, RunTask.validation, attempts)
        .where(RunTask.run_id == run_id)
        .order_by(RunTask.id)
    ).all()
    reasons = _reasons(session, [task_subject(run_id, row[0]) for row in rows], "task")
    return [
        TaskFacts(task_id, lane_id, provider, status, validation, n, reasons.get(task_subject(run_id, task_id)))
        for task_id, lane_id, provider, status, validation, n in rows
    ]


def _kpis(session: Session, run_id: str) -> Sequence[KpiFacts]:
    rows = session.execute(
        select(
            KpiReceipt.task_id, KpiReceipt.kpi_name, KpiReceipt.pass_, KpiReceipt.blocks, KpiReceipt.kpi_value,
            KpiReceipt.kpi_threshold, KpiReceipt.reason,
        )
        .where(KpiReceipt.run_id == run_id)
        .order_by(KpiReceipt.task_id, KpiReceipt.kpi_name, KpiReceipt.id)
    )  # fmt: skip
    return [KpiFacts(*row) for row in rows]


def _reasons(session: Session, subjects: Sequence[str], kind: str) -> dict[str, str]:
    """Why each subject ended as it did, where somebody said so."""
    found: dict[str, str] = {}
    for start in range(0, len(subjects), _ROWS):
        rows = session.execute(
            select(StateTransition.subject_id, StateTransition.reason).where(
                StateTransition.subject_type == kind,
                StateTransition.subject_id.in_(subjects[start : start + _ROWS]),
                StateTransition.is_terminal,
                StateTransition.reason.is_not(None),
            )
        )
        found.update({subject: str(reason) for subject, reason in rows})
    return found


def written(session: Session, run_id: str) -> Written | None:
    """The report of a run as it was last written."""
    row = session.get(SessionReport, run_id)
    if row is None:
        return None
    return Written(row.run_id, row.report_json, row.sha256, row.path, row.revision, row.written_at)


def newest_reports(session: Session, *, limit: int) -> tuple[int, list[Written]]:
    """How many reports there are, and the newest of them."""
    total = int(session.scalar(select(func.count()).select_from(SessionReport)) or 0)
    query = select(SessionReport).order_by(SessionReport.written_at.desc(), SessionReport.run_id).limit(limit)
    return total, [
        Written(row.run_id, row.report_json, row.sha256, row.path, row.revision, row.written_at)
        for row in session.scalars(query)
    ]


def put_report(
    session: Session,
    run_id: str,
    *,
    document: Any,
    sha256: str,
    path: str,
    revision: int,
    at: datetime,
    after: int | None,
) -> bool:
    """Note the report of a run as it stands on disk; False when another was noted since.

    Args:
        after: the revision that was noted before; None: none was.
    """
    values = {"sha256": sha256, "report_json": document, "path": path, "revision": revision, "written_at": at}
    if after is None:
        statement = insert_into(session, SessionReport).values(run_id=run_id, **values)
        added = session.execute(statement.on_conflict_do_nothing().returning(SessionReport.run_id))
        return added.first() is not None
    changed = session.execute(
        update(SessionReport)
        .where(SessionReport.run_id == run_id, SessionReport.revision == after)
        .values(**values)
        .returning(SessionReport.run_id)
        .execution_options(synchronize_session=False)
    )
    return changed.first() is not None


def add_artifacts(session: Session, run_id: str, outputs: Sequence[Mapping[str, Any]], *, at: datetime) -> None:
    """Enter the files of a run into the books; what is known stays."""
    project_id = session.scalar(select(ProjectRun.project_id).where(ProjectRun.run_id == run_id))
    statement = insert_into(session, ProjectArtifact).on_conflict_do_nothing(index_elements=["run_id", "artifact_path"])
    rows = [{**output, "run_id": run_id, "project_id": project_id, "created_at": at} for output in outputs]
    if rows:
        session.connection().execute(statement, rows)


def lines_of(session: Session, run_id: str) -> list[Line]:
    """Everything that happened to a run, its tasks, and the events that claimed to be about it; in order."""
    prefix = f"{run_id}/"
    upper = run_id + chr(ord("/") + 1)
    rows = session.execute(
        select(StateTransition)
        .where(
            or_(
                (StateTransition.subject_type == "run") & (StateTransition.subject_id == run_id),
                # A range, not LIKE: the index of the subject serves it on both databases.
                (StateTransition.subject_type == "task")
                & (StateTransition.subject_id >= prefix)
                & (StateTransition.subject_id < upper),
            )
        )
        .order_by(StateTransition.id)
    ).scalars()
    found = [
        Line(
            row.at, row.id, "transition", f"{row.subject_type} {row.subject_id}", row.from_state, row.to_state, row.actor,
            row.reason,
        )
        for row in rows if row.subject_type == "run" or row.subject_id.startswith(prefix)
    ]  # fmt: skip
    return sorted([*found, *_violations(session, run_id)], key=lambda line: (line.at, line.number))


def _violations(session: Session, run_id: str) -> Sequence[Line]:
    begun = session.scalar(select(ProjectRun.created_at).where(ProjectRun.run_id == run_id))
    if begun is None:
        return ()
    rows = session.scalars(
        select(AuditEntry)
        .where(AuditEntry.at >= begun, AuditEntry.action == "webhook", AuditEntry.outcome == "refused")
        .order_by(AuditEntry.id)
    )
    return [
        Line(row.at, row.id, "violation", row.subject, None, str((row.details_json or {}).get("code")), row.actor, None)
        for row in rows
        if (row.details_json or {}).get("run_id") == run_id
    ]


def status_of(session: Session, run_id: str) -> str | None:
    """The status of a run of ours; None when there is none."""
    return session.scalar(select(ProjectRun.status).where(ProjectRun.run_id == run_id, ProjectRun.source == SOURCE))


def known_runs(session: Session, names: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Those of the names that are runs, and those of them that have ended and whose report is written."""
    known: set[str] = set()
    ended: set[str] = set()
    ordered = sorted(names)
    for start in range(0, len(ordered), _ROWS):
        has_report = exists().where(SessionReport.run_id == ProjectRun.run_id)
        rows = session.execute(
            select(ProjectRun.run_id, has_report).where(ProjectRun.run_id.in_(ordered[start : start + _ROWS]))
        )
        for run_id, is_reported in rows:
            known.add(run_id)
            if is_reported:
                ended.add(run_id)
    return frozenset(known), frozenset(ended)
