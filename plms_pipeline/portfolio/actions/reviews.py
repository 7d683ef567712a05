"""What did the lanes do, what should change about them, and who says so?

Minutes are read from the log of slots, so that they may be forgotten and read again. Once a week the rules of `lane_rules` look
at them; what they recommend is kept with its evidence and changes nothing until a person applies it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.actions import decide
from plms_pipeline.decisions.rules import REJECT
from plms_pipeline.errors import Conflict, NotFound
from plms_pipeline.portfolio.actions.lanes import cap_in, gate_in
from plms_pipeline.portfolio.aimd import COOLDOWN, Bounds, may_move, next_cap
from plms_pipeline.portfolio.lane_rules import alpha_review, cap_review, gate_review, signal_of
from plms_pipeline.portfolio.minutes import MINUTE_MS, minutes_of
from plms_pipeline.portfolio.store import lane_evidence, lane_minutes, queue
from plms_pipeline.portfolio.store import lanes as lane_store
from plms_pipeline.portfolio.store import reviews as store
from plms_pipeline.portfolio.store.lane_minutes import millis
from plms_pipeline.portfolio.store.reviews import Proposal
from plms_pipeline.registry.engine import Registry

# Ends are booked late: so many minutes are read again each time.
READ_AGAIN: Final = timedelta(minutes=10)
AT_MOST: Final = timedelta(hours=6)
DEFAULT_ALPHA: Final = 0.3
AUTOSCALER: Final = Actor("plms:autoscale", is_verified=True)


@dataclass(frozen=True, slots=True)
class Measured:
    """Which minutes were read: how many, up to when, and the slot time used in them (ms)."""

    minutes: int
    until: datetime | None
    busy_ms: int


def measure_lanes(registry: Registry, *, clock: Clock) -> Measured:
    """Read the whole minutes that have passed since the last look, at most six hours of them; call it again for more."""
    end = _minute(clock.now())
    with registry.reading() as session:
        last, first = lane_minutes.newest(session), lane_minutes.first_slot(session)
        if first is None:
            return Measured(0, None, 0)
        begin = _minute(first if last is None else max(first, last + timedelta(minutes=1) - READ_AGAIN))
        end = min(end, begin + AT_MOST)
        caps = queue.caps(session)
        held = lane_minutes.held(session, begin, end)
    if end <= begin:
        return Measured(0, last, 0)
    busy = 0
    with registry.writing() as session:
        for lane_id, cap in caps.items():
            minutes = minutes_of(held.get(lane_id, ()), begin_ms=millis(begin), end_ms=millis(end))
            busy += sum(one.busy_ms for one in minutes.values())
            lane_minutes.keep(session, lane_id, cap, minutes)
    return Measured((millis(end) - millis(begin)) // MINUTE_MS, end, busy)


def review_lanes(
    registry: Registry, *, clock: Clock, ids: Callable[[], str], alpha: float = DEFAULT_ALPHA
) -> list[Proposal]:  # fmt: skip
    """Look at the last whole week (Monday to Sunday, UTC) of every lane; the recommendations that wait for a person.

    Caps follow from the lane's minutes, gates from the verdicts that people let pass all the same, α from the errors of
    forecasts that other weights would have made.

    Args:
        alpha: the weight of the newest receipt that is in force, for all lanes.
    """
    now = clock.now()
    monday = _minute(now).replace(hour=0, minute=0) - timedelta(days=now.weekday() + 7)
    end = monday + timedelta(days=7)
    with registry.reading() as session:
        weeks = lane_minutes.weeks(session, monday, queue.caps(session))
        gates = lane_evidence.gate_weeks(session, monday, end)
        series = {lane_id: lane_evidence.cost_series(session, lane_id, end) for lane_id in queue.caps(session)}
    found = [(lane_id, cap_review(week)) for lane_id, week in weeks.items()]
    found += [(lane_id, gate_review(gate)) for lane_id, several in gates.items() for gate in several]
    found += [(lane_id, alpha_review(one, alpha=alpha)) for lane_id, one in series.items()]
    with registry.writing() as session:
        for lane_id, one in found:
            if one is not None:
                store.propose(session, lane_id, monday.date().isoformat(), one, review_id=ids(), now=now)
    return proposals(registry)


@dataclass(frozen=True, slots=True)
class Moved:
    """A cap that moved by itself, by which rule and on what evidence."""

    lane_id: int
    before: int
    after: int
    rule: str
    decision_id: str


def autoscale(registry: Registry, *, clock: Clock, ids: Callable[[], str], bounds: Bounds) -> list[Moved]:
    """Move the caps of lanes by what they did in the last hour, inside bounds; each move is a decision of the machine.

    A lane whose cap was decided within that hour, by whom ever, stays: what that did cannot be seen yet.
    """
    now = clock.now()
    end = _minute(now)
    moved = []
    with registry.reading() as session:
        caps = queue.caps(session)
        hours = lane_minutes.spans(session, end - COOLDOWN, end, caps)
    for lane_id, hour in hours.items():
        signal, rule = signal_of(hour)
        if signal == "hold" or next_cap(hour.cap, signal, bounds) == hour.cap:
            continue
        with registry.writing() as session:
            # Under the lane's lock: two that look at the same hour move it once.
            cap = lane_store.cap_of(session, lane_id)
            if cap != hour.cap or not may_move(now=now, moved_at=lane_evidence.cap_moved_at(session, lane_id)):
                continue
            after = next_cap(cap, signal, bounds)
            done = cap_in(
                session, now=now, ids=ids, actor=AUTOSCALER, lane_id=lane_id, cap=after,
                reason=f"{rule} in the hour before {end:%Y-%m-%d %H:%M} UTC",
                payload={"rule": rule, "evidence": hour.evidence, "bounds": [bounds.least, bounds.most]},
            )  # fmt: skip
        moved.append(Moved(lane_id, cap, after, rule, done.decision_id))
    return moved


def proposals(registry: Registry, *, state: str | None = "proposed") -> list[Proposal]:
    """What is recommended; None: all that ever was."""
    with registry.reading() as session:
        return store.proposals(session, state=state)


def apply_review(
    registry: Registry, *, clock: Clock, ids: Callable[[], str], actor: Actor, review_id: str, reason: str,
    alpha: float = DEFAULT_ALPHA,
) -> Proposal:  # fmt: skip
    """Apply a recommendation, as a decision of a person.

    α is a setting of all lanes, which no row can change: whoever applies its recommendation sets it first, and the decision
    says why.

    Args:
        alpha: the weight in force.

    Raises:
        NotFound: there is none of that id.
        Conflict: it was decided or superseded (`review_is_over`), the lane is not as it was then (`lane_changed`), or α
            is not what is recommended yet (`alpha_is_a_setting`).
        BadInput: no reason.
    """
    with registry.writing() as session:
        found, now = _open(store.open_proposal(session, review_id), review_id), clock.now()
        facts: dict[str, Any] = {
            "now": now, "ids": ids, "actor": actor, "lane_id": found.lane_id, "reason": reason,
            "payload": {"review_id": review_id, "rule": found.rule, "evidence": found.evidence},
        }  # fmt: skip
        before, decision = _APPLY[found.field](session, found, facts, alpha)
        if before != found.current:
            raise Conflict(
                f"Lane {found.lane_id} had {_named(found)} {found.current:g} when this was recommended, now {before}.",
                code="lane_changed",
            )
        store.decided(session, review_id, "applied", decision, now=now)
    return found


def _apply_cap(session: Session, found: Proposal, facts: dict[str, Any], _alpha: float) -> tuple[Any, str]:
    done = cap_in(session, cap=int(found.recommended), **facts)
    return done.before, done.decision_id


def _apply_gate(session: Session, found: Proposal, facts: dict[str, Any], _alpha: float) -> tuple[Any, str]:
    """The threshold moves; operator and weight of the gate stay."""
    gates = lane_store.gates(session, found.lane_id)
    gate = next((gate for gate in gates if gate["kpi_name"] == found.subject), None)
    if gate is None:
        raise Conflict(f"Lane {found.lane_id} has no gate {found.subject} any more.", code="lane_changed")
    done = gate_in(
        session,
        kpi=found.subject,
        operator=gate["operator"],
        threshold=found.recommended,
        blocks=gate["blocks"],
        **facts,
    )
    return done.before["threshold"], done.decision_id


def _apply_alpha(session: Session, found: Proposal, facts: dict[str, Any], alpha: float) -> tuple[Any, str]:
    if alpha != found.recommended:
        raise Conflict(
            f"α is one setting for all lanes: set PLMS_ALPHA={found.recommended:g} (it is {alpha:g}), then apply this to "
            "record why.", code="alpha_is_a_setting",
        )  # fmt: skip
    decision = decide(
        session, clock_now=facts["now"], ids=facts["ids"], kind="lane_alpha", subject_type="lane",
        subject_id=str(found.lane_id), decision="set", reason=facts["reason"], actor=facts["actor"],
        payload={"before": found.current, "after": alpha, **facts["payload"]},
    )  # fmt: skip
    return found.current, decision


_APPLY: Final = {"cap": _apply_cap, "gate": _apply_gate, "alpha": _apply_alpha}


def _named(found: Proposal) -> str:
    return f"{found.field} {found.subject}".strip()


def reject_review(
    registry: Registry, *, clock: Clock, ids: Callable[[], str], actor: Actor, review_id: str, reason: str
) -> Proposal:
    """Leave a lane as it is, as a decision of a person.

    Raises:
        NotFound, Conflict, BadInput: as `apply_review`.
    """
    with registry.writing() as session:
        found, now = _open(store.open_proposal(session, review_id), review_id), clock.now()
        decision = decide(
            session, clock_now=now, ids=ids, kind="lane_review", subject_type="lane", subject_id=str(found.lane_id),
            decision=REJECT, reason=reason, actor=actor, payload={"review_id": review_id, "rule": found.rule},
        )  # fmt: skip
        store.decided(session, review_id, "rejected", decision, now=now)
    return found


def _open(found: Proposal | None, review_id: str) -> Proposal:
    if found is None:
        raise NotFound(
            f"There is no review {review_id[:80]!r}; `plms lanes review` lists them.", code="review_not_found"
        )
    if found.state != "proposed":
        raise Conflict(f"Review {review_id} is {found.state}; only what is proposed is decided.", code="review_is_over")
    return found


def _minute(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
