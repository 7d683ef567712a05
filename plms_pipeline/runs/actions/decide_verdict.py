"""Who may let work pass although a gate failed, and what follows from it?

The owner of the project asks, somebody else decides and is shown what the gates measured. The decision fills the override
columns of the run; the measured verdict stays. It teaches the priors only if it says so: work that was let pass for a broken
test machine is good evidence, work that was let pass because a customer waited is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions import store as decisions
from plms_pipeline.decisions.actions import decide, deciding
from plms_pipeline.decisions.record import Decided
from plms_pipeline.decisions.rules import APPROVE, REJECT, REQUEST, reason_of
from plms_pipeline.errors import Conflict, Forbidden
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.absent import no_run
from plms_pipeline.runs.actions.projects import found_project
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.store import project_work as work
from plms_pipeline.runs.store import projects
from plms_pipeline.runs.store import verdicts as store
from plms_pipeline.runs.store.transitions import move_project
from plms_pipeline.runs.verdicts import KpiRow, RunVerdict, kpi_evidence, kpi_json, require_overridable, verdict_json

OVERRIDE: Final = "kpi_override"
GATE: Final = "quality_override"
ReadLog = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class OverrideCase:
    """Everything that a decider is shown about a run: verdict, gates, the open request, and the logs of failed gates."""

    run: RunVerdict
    kpis: tuple[KpiRow, ...]
    evidence_sha256: str
    project_status: str
    owner: str
    request: Decided | None
    logs: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            **verdict_json(self.run), "project_status": self.project_status, "owner": self.owner,
            "kpi_receipts": [kpi_json(row) for row in self.kpis], "evidence_sha256": self.evidence_sha256,
            "request": None if self.request is None else self.request.as_json(), "logs": self.logs,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class OverrideDecided:
    """What a request or decision about an override left behind."""

    decision_id: str
    decision: str
    case: OverrideCase

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"decision_id": self.decision_id, "decision": self.decision, **self.case.as_json()}


def override_case(registry: Registry, run_id: str, *, read_log: ReadLog) -> OverrideCase:
    """What there is to decide about a run's verdict.

    Args:
        read_log: the end of a log by its path; None when it is gone.

    Raises:
        NotFound: there is no such run.
    """
    with registry.reading() as session:
        return _with_logs(_case(session, run_id), read_log)


def request_kpi_override(
    registry: Registry, run_id: str, *, clock: Clock, ids: NewId, actor: Actor, reason: str, teach: bool,
    read_log: ReadLog, auth_disabled: bool = False,
) -> OverrideDecided:  # fmt: skip
    """Ask, as the project's owner, that a failed verdict be let pass.

    Args:
        teach: whether the run is to teach the priors if it is let pass.

    Raises:
        NotFound: there is no such run.
        Conflict: its verdict cannot be overridden (see `require_overridable`), or is asked about already (`already_requested`).
        Forbidden: the actor does not own the project (`not_the_owner`).
        BadInput: there is no reason.
    """
    now = clock.now()
    with deciding(registry, clock, actor, f"decide.{OVERRIDE}", f"run:{run_id}") as session:
        case = _case(session, run_id, lock=True)
        require_overridable(case.run)
        if case.request is not None:
            raise Conflict(
                f"{case.request.actor} asked for this override of run {run_id} already (decision "
                f"{case.request.decision_id}); it waits for somebody else.",
                code="already_requested",
            )
        if actor.name != case.owner and not auth_disabled:
            raise Forbidden(
                f"Project {case.run.project_id} belongs to {case.owner}, not to {actor.name}: its owner asks for overrides.",
                code="not_the_owner",
            )
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=OVERRIDE, subject_type="run", subject_id=run_id, decision=REQUEST,
            reason=reason, actor=actor, role="owner", evidence_sha256=case.evidence_sha256, payload={"teach": teach},
        )  # fmt: skip
        after = _case(session, run_id)
    return OverrideDecided(decision_id, REQUEST, _with_logs(after, read_log))


def decide_kpi_override(
    registry: Registry, run_id: str, *, clock: Clock, ids: NewId, actor: Actor, approve: bool, reason: str,
    read_log: ReadLog, evidence_sha256: str | None = None, teach: bool | None = None, auth_disabled: bool = False,
) -> OverrideDecided:  # fmt: skip
    """Decide about an override that the owner asked for. Approved, a project in review completes if this is its newest run.

    Args:
        evidence_sha256: the digest of the measured gates that the decider was shown; None: as they stand now.
        teach: whether the run is to teach the priors; None: as the owner asked. Never more than the owner asked.

    Raises:
        NotFound: there is no such run.
        Conflict: nobody asked (`not_requested`), the verdict cannot be overridden, or the gates changed (`evidence_changed`).
        Forbidden: the decider asked for it, or nobody vouched for the decider.
        BadInput: there is no reason.
    """
    now = clock.now()
    with deciding(registry, clock, actor, f"decide.{OVERRIDE}", f"run:{run_id}") as session:
        case = _case(session, run_id, lock=True)
        require_overridable(case.run)
        request = _open_request(case)
        if evidence_sha256 is not None and evidence_sha256 != case.evidence_sha256:
            raise Conflict(
                f"The gates of run {run_id} are not those that you were shown; look at them again.",
                code="evidence_changed",
            )
        asked = bool((request.payload or {}).get("teach"))
        teaches = approve and asked and teach is not False
        word = APPROVE if approve else REJECT
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=OVERRIDE, subject_type="run", subject_id=run_id, decision=word,
            reason=reason, actor=actor, role="approver", requested_by=request.actor,
            evidence_sha256=case.evidence_sha256, payload={"teach": teaches, "request": request.decision_id},
            second_person=True, auth_disabled=auth_disabled,
        )  # fmt: skip
        work.add_approval(
            session, case.run.project_id, gate=GATE, status="approved" if approve else "rejected", approver=actor.name,
            reason=reason_of(reason), at=now, run_id=run_id,
        )  # fmt: skip
        if approve:
            store.override_verdict(
                session, run_id, passes=True, reason=reason_of(reason), actor=actor.name, at=now, teaches=teaches
            )
            _complete(session, case, actor, decision_id, now=now)
        session.expire_all()
        after = _case(session, run_id)
    return OverrideDecided(decision_id, word, _with_logs(after, read_log))


def _complete(session: Session, case: OverrideCase, actor: Actor, decision_id: str, *, now: Any) -> None:
    """The project is done if its newest real run is the one that was let pass."""
    project_id = case.run.project_id
    if case.project_status != "needs_review" or store.newest_real_run(session, project_id) != case.run.run_id:
        return
    move_project(
        session, project_id, expected="needs_review", new="completed", at=now, actor=actor.name,
        reason=f"decision {decision_id}",
    )  # fmt: skip


def _open_request(case: OverrideCase) -> Decided:
    if case.request is None:
        raise Conflict(
            f"Nobody asked for an override of run {case.run.run_id}; its project's owner does so first "
            f"(`plms run override request {case.run.run_id}`).",
            code="not_requested",
        )
    return case.request


def _case(session: Session, run_id: str, *, lock: bool = False) -> OverrideCase:
    run = store.run_verdict(session, run_id, lock=lock)
    if run is None:
        raise no_run(run_id, code="unknown_run")
    if lock:
        projects.lock_project(session, run.project_id)
    view = found_project(projects.view_of(session, run.project_id, with_tasks=False), run.project_id)
    kpis = tuple(store.kpi_rows(session, run_id))
    newest = decisions.newest(session, OVERRIDE, "run", run_id)
    request = newest if newest is not None and newest.decision == REQUEST else None
    return OverrideCase(run, kpis, kpi_evidence(run, kpis), view.status, view.owner, request, {})


def _with_logs(case: OverrideCase, read_log: ReadLog) -> OverrideCase:
    logs = {}
    for row in case.kpis:
        text = read_log(row.logs_path) if row.logs_path and not row.passed else None
        if text:
            logs[f"{row.task_id}/{row.kpi}"] = text
    return OverrideCase(case.run, case.kpis, case.evidence_sha256, case.project_status, case.owner, case.request, logs)
