"""What waits for a person's decision?

Each kind of decision has its own rule for what waits, and each is one bounded statement. Every function takes an open session
and only reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import String, Text, and_, cast, func, or_, select, type_coerce
from sqlalchemy.orm import Session, aliased

from plms_pipeline.estimates.store.receipts import accepting_lanes
from plms_pipeline.models.records import WAITING
from plms_pipeline.registry.prepared import Prepared, asking_in, one_of
from plms_pipeline.registry.tables import (
    BreachEpisode,
    Candidate,
    DeadLetter,
    Decision,
    Hold,
    Lane,
    LaneGate,
    LaneReview,
    Project,
    ProjectRun,
    RunTask,
)
from plms_pipeline.runs.store.breaches import HELD_BY
from plms_pipeline.web.page.facts import MOST_WAITING, OPEN_STATES, Waiting

APPROVAL: Final = "project_approval"
OVERRIDE: Final = "kpi_override"
# Among how many of the newest runs ungated work is looked for.
LOOK_BACK: Final = 500
_REQUEST: Final = aliased(Decision)


def _newest(kind: str, subject_type: str) -> Any:
    """The newest decision of a kind about each subject."""
    return (
        select(func.max(Decision.id))
        .where(Decision.kind == kind, Decision.subject_type == subject_type)
        .group_by(Decision.subject_id)
    )


_APPROVALS: Final = Prepared(
    select(
        Project.id, Project.name, _REQUEST.actor, _REQUEST.decided_at, _REQUEST.reason, Project.estimated_tokens,
        Project.estimated_duration_minutes, Project.estimated_cost_usd, Project.budget_cost_usd_max,
        Project.breach_policy, Project.created_at,
    )
    .outerjoin(
        _REQUEST,
        and_(
            _REQUEST.id.in_(_newest(APPROVAL, "project")), _REQUEST.subject_type == "project",
            _REQUEST.subject_id == cast(Project.id, String),
        ),
    )
    .where(Project.status == "pending_approval")
    .order_by(Project.id)
    .limit(MOST_WAITING)
)  # fmt: skip
_OVERRIDES: Final = Prepared(
    select(
        Decision.subject_id, Decision.actor, Decision.decided_at, Decision.reason, type_coerce(Decision.payload_json, Text),
        ProjectRun.project_id, Project.name,
    )
    .join(ProjectRun, ProjectRun.run_id == Decision.subject_id)
    .join(Project, Project.id == ProjectRun.project_id)
    .where(Decision.id.in_(_newest(OVERRIDE, "run")), Decision.decision == "request")
    .order_by(Decision.id)
    .limit(MOST_WAITING)
)  # fmt: skip
_REAL: Final = (
    select(func.max(ProjectRun.id))
    .where(
        ProjectRun.project_id == Project.id, one_of(ProjectRun.run_kind, ("baseline", "hotfix")),
        ProjectRun.write_sandbox.is_(False),
    )
    .correlate(Project)
    .scalar_subquery()
)  # fmt: skip
_REVIEWS: Final = Prepared(
    select(Project.id, Project.name, ProjectRun.run_id, ProjectRun.status, ProjectRun.validation, ProjectRun.completed_at)
    .join(ProjectRun, ProjectRun.id == _REAL)
    .where(
        Project.status == "needs_review",
        ProjectRun.run_id.not_in(
            select(Decision.subject_id).where(Decision.id.in_(_newest(OVERRIDE, "run")), Decision.decision == "request")
        ),
    )
    .order_by(ProjectRun.completed_at, Project.id)
    .limit(MOST_WAITING)
)  # fmt: skip
_LANE_REVIEWS: Final = Prepared(
    select(
        LaneReview.review_id, LaneReview.lane_id, Lane.name, LaneReview.week_of, LaneReview.field, LaneReview.subject,
        type_coerce(LaneReview.current_json, Text), type_coerce(LaneReview.recommended_json, Text), LaneReview.rule,
        type_coerce(LaneReview.evidence_json, Text), LaneReview.created_at,
    )
    .join(Lane, Lane.lane_id == LaneReview.lane_id)
    .where(LaneReview.state == "proposed")
    .order_by(LaneReview.lane_id, LaneReview.field, LaneReview.review_id)
    .limit(MOST_WAITING)
)  # fmt: skip
_CANDIDATES: Final = Prepared(
    select(
        Candidate.candidate_id, Candidate.created_at, Candidate.requested_by, Candidate.requested_by_verified,
        Candidate.family, Candidate.action, Candidate.gates_passed, type_coerce(Candidate.blockers_json, Text),
        type_coerce(Candidate.alerts_json, Text), Candidate.trials, Candidate.reason, Candidate.expires_at,
        Candidate.evaluation_sha256,
    )
    .where(Candidate.state == WAITING)
    .order_by(Candidate.created_at, Candidate.candidate_id)
    .limit(MOST_WAITING)
)  # fmt: skip
# What broke a policy is never retried: nobody can decide anything about it. Nor about the letters of a project that is over.
_LETTERS: Final = Prepared(
    select(
        DeadLetter.letter_id, DeadLetter.kind, DeadLetter.subject_id, DeadLetter.error_class, DeadLetter.reason,
        DeadLetter.attempts, DeadLetter.max_attempts, DeadLetter.state, DeadLetter.next_due_at,
        DeadLetter.last_failed_at, DeadLetter.project_id, Project.name, DeadLetter.run_id, DeadLetter.lane_id,
    )
    .outerjoin(Project, Project.id == DeadLetter.project_id)
    .where(
        one_of(DeadLetter.state, ("ready", "quarantined", "permanent")), DeadLetter.error_class != "POLICY",
        or_(Project.id.is_(None), one_of(Project.status, OPEN_STATES)),
    )
    .order_by(DeadLetter.last_failed_at.desc(), DeadLetter.letter_id)
    .limit(MOST_WAITING)
)  # fmt: skip
_OF_PROJECT: Final = and_(
    Hold.subject_type == "project", Hold.subject_id == cast(Project.id, Hold.subject_id.type), Hold.lifted_at.is_(None)
)
# A breach policy that holds a project and asks: the same as `Episode.waits`, as long as nobody has let it go on another way.
_ASKS: Final = and_(
    BreachEpisode.project_id == Project.id, BreachEpisode.state == "open", BreachEpisode.policy == "ask",
    BreachEpisode.answer.is_(None),
)  # fmt: skip
_BREACHES: Final = Prepared(
    select(
        Project.id, Project.name, BreachEpisode.episode_id, BreachEpisode.opened_at, BreachEpisode.policy,
        type_coerce(BreachEpisode.seen_json, Text),
    )
    .join(BreachEpisode, _ASKS)
    .where(
        one_of(Project.status, OPEN_STATES),
        select(Hold.id).where(_OF_PROJECT, Hold.placed_by == HELD_BY).correlate(Project).exists(),
    )
    .order_by(BreachEpisode.opened_at, Project.id)
    .limit(MOST_WAITING)
)  # fmt: skip
_HOLDS: Final = Prepared(
    select(Project.id, Project.name, Hold.reason, Hold.placed_by, Hold.placed_at)
    .join(Hold, _OF_PROJECT)
    .where(
        one_of(Project.status, OPEN_STATES),
        or_(Hold.placed_by != HELD_BY, ~select(BreachEpisode.episode_id).where(_ASKS).correlate(Project).exists()),
    )
    .order_by(Hold.id)
    .limit(MOST_WAITING)
)
_OURS: Final = (
    select(ProjectRun.run_id).where(ProjectRun.source == "plms").order_by(ProjectRun.id.desc()).limit(LOOK_BACK)
).subquery("newest_runs")
_UNGATED: Final = Prepared(
    select(Lane.lane_id, Lane.name, func.count(), func.min(RunTask.completed_at))
    .join(RunTask, RunTask.lane_id == Lane.lane_id)
    .where(
        RunTask.run_id.in_(select(_OURS.c.run_id)), RunTask.validation == "ungated", RunTask.status == "SUCCESS",
        Lane.lane_id.not_in(select(LaneGate.lane_id).where(LaneGate.active, LaneGate.blocks)),
    )
    .group_by(Lane.lane_id, Lane.name)
    .order_by(Lane.lane_id)
)  # fmt: skip


def waiting(session: Session) -> tuple[Waiting, ...]:
    """Everything that waits for a decision, those first that hold up work."""
    return (
        *_breaches(session), *_approvals(session), *_overrides(session), *_failed_gates(session), *_paused(session),
        *_letters(session), *_candidates(session), *_lane_reviews(session), *_ungated_lanes(session),
    )  # fmt: skip


def _rows(session: Session, prepared: Prepared) -> list[Any]:
    ask = asking_in(session)
    return prepared.typed(ask.rows(prepared), ask.dialect)


def _breaches(session: Session) -> Iterator[Waiting]:
    for number, name, episode, at, policy, seen in _rows(session, _BREACHES):
        facts = {"episode_id": episode, "policy": policy, "seen_json": seen}
        yield _waiting("budget_breach", str(number), at, HELD_BY, facts, project=(number, name))


def _approvals(session: Session) -> Iterator[Waiting]:
    for number, name, actor, at, reason, tokens, minutes, usd, budget, policy, created_at in _rows(session, _APPROVALS):
        facts = {
            "reason": reason, "estimated_tokens": tokens, "estimated_duration_minutes": minutes,
            "estimated_cost_usd": _usd(usd), "budget_cost_usd_max": _usd(budget), "breach_policy": policy,
        }  # fmt: skip
        yield _waiting("project_approval", str(number), at or created_at, actor, facts, project=(number, name))


def _overrides(session: Session) -> Iterator[Waiting]:
    for run_id, actor, at, reason, payload, number, name in _rows(session, _OVERRIDES):
        facts = {"reason": reason, "asks_to_teach": '"teach":true' in (payload or "")}
        yield _waiting("kpi_override", run_id, at, actor, facts, project=(number, name), run_id=run_id)


def _failed_gates(session: Session) -> Iterator[Waiting]:
    for number, name, run_id, status, validation, at in _rows(session, _REVIEWS):
        facts = {"run_status": status, "validation": validation}
        yield _waiting("failed_run", run_id, at, None, facts, project=(number, name), run_id=run_id)


def _paused(session: Session) -> Iterator[Waiting]:
    for number, name, reason, actor, at in _rows(session, _HOLDS):
        yield _waiting("paused_project", str(number), at, actor, {"reason": reason}, project=(number, name))


def _letters(session: Session) -> Iterator[Waiting]:
    for row in _rows(session, _LETTERS):
        letter, kind, subject, error, reason, attempts, most, state, due, at, number, name, run_id, lane = row
        facts = {
            "letter_kind": kind, "letter_subject": subject, "error_class": error, "reason": reason, "attempts": attempts,
            "max_attempts": most, "state": state, "next_due_at": None if due is None else due.isoformat(),
        }  # fmt: skip
        project = None if number is None else (number, name)
        yield _waiting("dead_letter", letter, at, None, facts, project=project, run_id=run_id, lane_id=lane)


def _candidates(session: Session) -> Iterator[Waiting]:
    for row in _rows(session, _CANDIDATES):
        candidate, at, actor, verified, family, action, passed, blockers, alerts, trials, reason, expires, summary = row
        facts = {
            "family": family, "action": action, "gates_passed": passed, "blockers_json": blockers, "alerts_json": alerts,
            "trials": trials, "reason": reason, "expires_at": expires.isoformat(), "evaluation_sha256": summary,
            "is_verified": verified,
        }  # fmt: skip
        yield _waiting("candidate", candidate, at, actor, facts)


def _lane_reviews(session: Session) -> Iterator[Waiting]:
    for review, lane, name, week, field, subject, current, recommended, rule, evidence, at in _rows(
        session, _LANE_REVIEWS
    ):
        facts = {
            "lane_name": name, "week_of": week, "field": field, "gate": subject or None, "current_json": current,
            "recommended_json": recommended, "rule": rule, "evidence_json": evidence,
        }  # fmt: skip
        yield _waiting("lane_review", review, at, None, facts, lane_id=lane)


def _ungated_lanes(session: Session) -> Iterator[Waiting]:
    rows = _rows(session, _UNGATED)
    accepted = accepting_lanes(session) if rows else set()
    for lane, name, tasks, since in rows:
        if lane not in accepted:
            facts = {"lane_name": name, "tasks": tasks}
            yield _waiting("ungated_lane", str(lane), since, None, facts, lane_id=lane)


def _waiting(
    kind: str, subject: str, since: Any, asked_by: str | None, facts: dict[str, object], *,
    project: tuple[int, str | None] | None = None, run_id: str | None = None, lane_id: int | None = None,
) -> Waiting:  # fmt: skip
    number, name = project or (None, None)
    return Waiting(kind, subject, since, asked_by, number, name, run_id, lane_id, tuple(facts.items()))


def _usd(amount: Any) -> float | None:
    return None if amount is None else float(amount)
