"""May this start now? Places, rates and money in one transaction, taken together or not at all.

The order is that of `portfolio.guarding`; what a refused start took on the way is undone before the refusal is returned, so the
caller's transaction may go on and commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from plms_pipeline.budget import store as ledger
from plms_pipeline.portfolio import guarding
from plms_pipeline.portfolio.guarding import Refusal, Wish
from plms_pipeline.portfolio.store import buckets, slots, switches
from plms_pipeline.portfolio.switch import OnSwitch, reason_in
from plms_pipeline.registry.prepared import savepoint


class _Refused(Exception):
    """Undoes what was taken on the way to a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def switched_off(
    session: Session, wish: Wish, *, flag: str | None, on: Sequence[OnSwitch] | None = None
) -> Refusal | None:
    """The refusal while a kill switch is on; none is turned on before this writing session ends."""
    known = switches.checked(session) if on is None else on
    reason = flag or reason_in(known, project_id=wish.project_id, lane_id=wish.lane_id)
    return None if reason is None else guarding.stopped(reason)


def pass_guards(
    session: Session,
    wish: Wish,
    *,
    flag: str | None,
    now: datetime,
    ids: Callable[[], str],
    on: Sequence[OnSwitch] | None = None,
) -> Refusal | None:
    """Let something start: kill switch, places, rates, money; None when it may, and then it holds all that it wished for.

    Args:
        flag: the reason of the flag file, or None.
        ids: makes the names of new slots.
        on: the switches that are on, where `switches.checked` said so in this transaction.
    """
    refusal = switched_off(session, wish, flag=flag, on=on)
    if refusal is not None:
        return refusal
    try:
        with savepoint(session):
            _take(session, wish, now=now, ids=ids)
    except _Refused as refused:
        refusal = refused.refusal
    else:
        return None
    if refusal.guard == "rate_limited":
        for name, _ in wish.rates:
            buckets.follow_clock(session, name, now=now)
    return refusal


def give_back(session: Session, wish: Wish, *, now: datetime, reason: str) -> None:
    """Give back the places and the reservation of something that did not start after all."""
    for place in wish.places:
        slots.release(session, place.resource, wish.subject, now=now, reason=reason)
    ledger.release(session, entry_key=f"release:{wish.subject}", subject=wish.subject, actor=wish.actor, now=now)


def _take(session: Session, wish: Wish, *, now: datetime, ids: Callable[[], str]) -> None:
    for place in wish.places:
        if not slots.take(
            session, slot_id=ids(), resource=place.resource, subject=wish.subject, cap=place.cap, holder=wish.holder,
            project_id=wish.project_id, run_id=wish.run_id, now=now, expires_at=wish.expires_at,
        ):  # fmt: skip
            raise _Refused(guarding.crowded(place.resource, place.cap))
    for name, rate in wish.rates:
        wait_s = buckets.spend(session, name, rate, now=now)
        if wait_s > 0:
            raise _Refused(guarding.hurried(name, rate, wait_s))
    refused = ledger.reserve_all(
        session, entry_key=f"reserve:{wish.subject}", purses=wish.purses, amount=wish.amount_usd, subject=wish.subject,
        actor=wish.actor, now=now, project_id=wish.project_id, run_id=wish.run_id,
    )  # fmt: skip
    if refused is not None:
        raise _Refused(Refusal("budget_exceeded", refused.reason))
