"""May this start now? Places, rates and money in one transaction, taken together or not at all.

The order is that of `portfolio.guarding`; what a refused start took on the way is undone before the refusal is returned, so the
caller's transaction may go on and commit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session

from plms_pipeline.budget import store as ledger
from plms_pipeline.portfolio import guarding
from plms_pipeline.portfolio.guarding import Refusal, Wish
from plms_pipeline.portfolio.store import buckets, slots, switches
from plms_pipeline.portfolio.switch import reason_in


def switched_off(session: Session, wish: Wish, *, flag: str | None) -> Refusal | None:
    """The refusal while a kill switch is on; none is turned on before this writing session ends."""
    reason = flag or reason_in(switches.checked(session), project_id=wish.project_id, lane_id=wish.lane_id)
    return None if reason is None else guarding.stopped(reason)


def pass_guards(
    session: Session, wish: Wish, *, flag: str | None, now: datetime, ids: Callable[[], str]
) -> Refusal | None:
    """Let something start: kill switch, places, rates, money; None when it may, and then it holds all that it wished for.

    Args:
        flag: the reason of the flag file, or None.
        ids: makes the names of new slots.
    """
    refusal = switched_off(session, wish, flag=flag)
    if refusal is not None:
        return refusal
    attempt = session.begin_nested()
    refusal = _taken(session, wish, now=now, ids=ids)
    if refusal is None:
        attempt.commit()
        return None
    attempt.rollback()
    if refusal.guard == "rate_limited":
        for name, _ in wish.rates:
            buckets.follow_clock(session, name, now=now)
    return refusal


def give_back(session: Session, wish: Wish, *, now: datetime, reason: str) -> None:
    """Give back the places and the reservation of something that did not start after all."""
    for place in wish.places:
        slots.release(session, place.resource, wish.subject, now=now, reason=reason)
    ledger.release(session, entry_key=f"release:{wish.subject}", subject=wish.subject, actor=wish.actor, now=now)


def _taken(session: Session, wish: Wish, *, now: datetime, ids: Callable[[], str]) -> Refusal | None:
    for place in wish.places:
        if not slots.take(
            session, slot_id=ids(), resource=place.resource, subject=wish.subject, cap=place.cap, holder=wish.holder,
            project_id=wish.project_id, run_id=wish.run_id, now=now, expires_at=wish.expires_at,
        ):  # fmt: skip
            return guarding.crowded(place.resource, place.cap)
    for name, rate in wish.rates:
        wait_s = buckets.spend(session, name, rate, now=now)
        if wait_s > 0:
            return guarding.hurried(name, rate, wait_s)
    refused = ledger.reserve_all(
        session, entry_key=f"reserve:{wish.subject}", purses=wish.purses, amount=wish.amount_usd, subject=wish.subject,
        actor=wish.actor, now=now, project_id=wish.project_id, run_id=wish.run_id,
    )  # fmt: skip
    return None if refused is None else Refusal("budget_exceeded", refused.reason)
