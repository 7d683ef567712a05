"""What did the lanes do, what should change about them, and who says so?

Minutes are read from the log of slots, so that they may be forgotten and read again. Once a week the rules of `lane_rules` look
at them; what they recommend is kept with its evidence and changes nothing until a person applies it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.actions import decide
from plms_pipeline.decisions.rules import REJECT
from plms_pipeline.errors import Conflict, NotFound
from plms_pipeline.portfolio.actions.lanes import cap_in
from plms_pipeline.portfolio.lane_rules import cap_review
from plms_pipeline.portfolio.minutes import MINUTE_MS, minutes_of
from plms_pipeline.portfolio.store import lane_minutes, queue
from plms_pipeline.portfolio.store import reviews as store
from plms_pipeline.portfolio.store.lane_minutes import millis
from plms_pipeline.portfolio.store.reviews import Proposal
from plms_pipeline.registry.engine import Registry

# Ends are booked late: so many minutes are read again each time.
READ_AGAIN: Final = timedelta(minutes=10)
AT_MOST: Final = timedelta(hours=6)


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


def review_lanes(registry: Registry, *, clock: Clock, ids: Callable[[], str]) -> list[Proposal]:
    """Look at the last whole week (Monday to Sunday, UTC) of every lane; the recommendations that wait for a person."""
    now = clock.now()
    monday = _minute(now).replace(hour=0, minute=0) - timedelta(days=now.weekday() + 7)
    with registry.writing() as session:
        weeks = lane_minutes.weeks(session, monday, queue.caps(session))
        for lane_id, week in weeks.items():
            found = cap_review(week)
            if found is not None:
                store.propose(session, lane_id, monday.date().isoformat(), found, review_id=ids(), now=now)
    return proposals(registry)


def proposals(registry: Registry, *, state: str | None = "proposed") -> list[Proposal]:
    """What is recommended; None: all that ever was."""
    with registry.reading() as session:
        return store.proposals(session, state=state)


def apply_review(
    registry: Registry, *, clock: Clock, ids: Callable[[], str], actor: Actor, review_id: str, reason: str
) -> Proposal:
    """Apply a recommendation, as a decision of a person.

    Raises:
        NotFound: there is none of that id.
        Conflict: it was decided or superseded (`review_is_over`), or the lane is not as it was then (`lane_changed`).
        BadInput: no reason.
    """
    with registry.writing() as session:
        found, now = _open(store.open_proposal(session, review_id), review_id), clock.now()
        done = cap_in(
            session, now=now, ids=ids, actor=actor, lane_id=found.lane_id, cap=int(found.recommended), reason=reason,
            payload={"review_id": review_id, "rule": found.rule, "evidence": found.evidence},
        )  # fmt: skip
        if done.before != found.current:
            raise Conflict(
                f"Lane {found.lane_id} had {found.field} {found.current:g} when this was recommended, now {done.before}.",
                code="lane_changed",
            )
        store.decided(session, review_id, "applied", done.decision_id, now=now)
    return found


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
