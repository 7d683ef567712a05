"""How do cards get into the queue, and how does what they hold get back?

Whoever moves a run or a task says so here, in the same transaction: what became ready is queued, what ended gives its slot
back and settles what it took. A sweep over everything repairs what nobody said, and skips what will never have its turn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.budget import store as ledger
from plms_pipeline.budget.ledger import project_account
from plms_pipeline.portfolio.store import preemptions, queue, slots
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.portfolio.urgency import interval_width, rank
from plms_pipeline.runs.dispatching import Turn, turn_of
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store import queueing

ACTOR: Final = "dispatcher"
PLAN_ORDER: Final = 1e-8


def queue_ready(session: Session, run_ids: Collection[str] | None, *, now: datetime) -> Turn:
    """Queue the cards of some runs (None: of all) whose dependencies have succeeded; also which never will.

    Call it in the transaction that moved the runs' tasks.
    """
    cards = queueing.unqueued(session, run_ids)
    turn = turn_of(cards, store.task_states(session, {card.run_id for card in cards}))
    places = {key: place for place, key in enumerate(turn.ready)}
    queue.put(
        session, [_row(facts, places[facts["card_key"]], now) for facts in queueing.facts_of(session, turn.ready)]
    )
    return turn


def queue_paused(session: Session, card_keys: Collection[str], *, now: datetime) -> None:
    """Queue cards that the executor has and put aside: they go on when their project's turn comes, before its other cards."""
    queue.put(session, [_row(facts, 0, now) | {"is_paused": True} for facts in queueing.facts_of(session, card_keys)])


def let_go(session: Session, card_key: str, lane_id: int, *, now: datetime, reason: str) -> None:
    """A card is not (or no more) at the executor and took nothing: its slot and its reservation are free."""
    _aside_no_more(session, card_key, now=now, reason=reason)
    slots.release(session, lane_resource(lane_id), card_key, now=now, reason=reason)
    ledger.release(session, entry_key=f"release:{card_key}", subject=card_key, actor=ACTOR, now=now)


def lock_money(session: Session, project_ids: Iterable[int], card_keys: Iterable[str], *, now: datetime) -> None:
    """Lock every account that these cards will move, before any of their rows is touched: dispatchers do the same."""
    projects = sorted(set(project_ids))
    accounts = {project_account(project) for project in projects}
    for key in card_keys:
        accounts |= ledger.reserved_by(session, key).keys()
    ledger.lock(session, accounts, now=now)
    for project in projects:
        # Opened with what was spent so far: before this transaction's receipts are, or they would count twice.
        ledger.project_purse(session, project, now=now)


def ended(
    session: Session, card_key: str, lane_id: int, project_id: int, run_id: str, *, cost_usd: Decimal | None, has_receipt: bool,
    now: datetime, reason: str,
) -> Decimal:  # fmt: skip
    """A card ended at the executor: its slot is free, and what it took is charged; by how much it passed its reservation.

    Args:
        cost_usd: what the receipt says, None when it does not say.
        has_receipt: False frees the reservation: nothing is known to have been spent.
    """
    slots.release(session, lane_resource(lane_id), card_key, now=now, reason=reason)
    _aside_no_more(session, card_key, now=now, reason=reason)
    if not has_receipt:
        ledger.release(session, entry_key=f"release:{card_key}", subject=card_key, actor=ACTOR, now=now)
        return Decimal(0)
    return ledger.settle(
        session, entry_key=f"settle:{card_key}", subject=card_key, amount=cost_usd or Decimal(0), actor=ACTOR, now=now,
        accounts=[project_account(project_id)], project_id=project_id, run_id=run_id,
    )  # fmt: skip


def _aside_no_more(session: Session, card_key: str, *, now: datetime, reason: str) -> None:
    """A card that was put aside ended there, or is not there: it waits for no slot to go on in."""
    aside = preemptions.find(session, card_key)
    if aside is not None and aside.state != "over":
        preemptions.over(session, [card_key], now=now, outcome=reason)
        queue.leave(session, [card_key])


def _row(facts: Mapping[str, Any], place: int, now: datetime) -> dict[str, Any]:
    spend = _interval(facts["forecast_json"], "spend", "cost_usd")
    takes = _interval(facts["forecast_json"], "effort", "duration_ms")
    width = interval_width(spend.get("low"), spend.get("high"))
    lease = facts["lease_expires_at"]
    return {
        "card_key": facts["card_key"], "lane_id": facts["lane_id"], "project_id": facts["project_id"],
        "run_id": facts["run_id"], "run_kind": facts["run_kind"], "ready_at": now,
        "not_before": now if lease is None or lease <= now else lease,
        # What became ready together goes in the order of the plan.
        "is_paused": False, "rank": rank(priority=facts["priority"], ci_width=width, ready_at=now) - PLAN_ORDER * place,
        "expected_ms": takes.get("median"), "reserve_usd": facts["budget_usd"], "holds_slot": False,
    }  # fmt: skip


def _interval(forecast: Any, basis: str, measure: str) -> Mapping[str, Any]:
    part = forecast.get(basis) if isinstance(forecast, Mapping) else None
    found = part.get(measure) if isinstance(part, Mapping) else None
    return found if isinstance(found, Mapping) else {}
