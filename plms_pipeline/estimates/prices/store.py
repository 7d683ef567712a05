"""How are changes of prices kept, and which one concerns a (lane, provider)?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.orm import Session

from plms_pipeline.estimates.prices.repricing import Measured, Paid, Repriced
from plms_pipeline.registry.prepared import Asking, Prepared
from plms_pipeline.registry.tables import PriceChange, PriceFactor, TaskReceipt

# What the state has not forgotten: older receipts weigh less than one in seven.
MOST_RECEIPTS: Final = 400
COUNTED: Final = 2000
Cell = tuple[int, str]


def paid_before(session: Session, provider: str, day: date) -> dict[int, list[Paid]]:
    """Lane → the newest receipts of a provider with a known cost that were completed before a UTC day."""
    before = datetime.combine(day, time(), tzinfo=UTC)
    lanes = session.scalars(select(TaskReceipt.lane_id).where(TaskReceipt.provider == provider).distinct())
    found = {}
    for lane in sorted(lanes):
        rows = session.execute(
            select(
                TaskReceipt.cost_usd, TaskReceipt.tokens_input, TaskReceipt.tokens_output, TaskReceipt.tokens_cached,
                TaskReceipt.tokens_reasoning,
            )
            .where(
                TaskReceipt.lane_id == lane, TaskReceipt.provider == provider, TaskReceipt.completed_at < before,
                TaskReceipt.cost_usd.is_not(None),
            )
            .order_by(TaskReceipt.completed_at.desc(), TaskReceipt.id.desc())
            .limit(MOST_RECEIPTS)
        )  # fmt: skip
        found[lane] = [Paid(float(row[0] or 0), *row[1:]) for row in rows]
    return found


def add(
    session: Session, *, provider: str, from_on: date, input_usd: Decimal, output_usd: Decimal, decision_id: str,
    actor: str, now: datetime, factors: Mapping[int, Measured],
) -> int:  # fmt: skip
    """Keep a change and its factors; its id."""
    change = PriceChange(
        provider=provider, from_on=from_on, input_usd_per_mtok=input_usd, output_usd_per_mtok=output_usd,
        decision_id=decision_id, actor=actor[:255], created_at=now,
    )  # fmt: skip
    session.add(change)
    session.flush()
    rows = [
        {"change_id": change.id, "lane_id": lane, "receipts": one.receipts, "with_tokens": one.with_tokens,
         "factor": one.factor}
        for lane, one in factors.items()
    ]  # fmt: skip
    if rows:
        session.execute(insert(PriceFactor), rows)
    return change.id


def changes(session: Session, provider: str | None = None) -> list[Any]:
    """Changes of prices, newest day first: (id, provider, from, input, output, decision, actor, at)."""
    query = select(
        PriceChange.id, PriceChange.provider, PriceChange.from_on, PriceChange.input_usd_per_mtok,
        PriceChange.output_usd_per_mtok, PriceChange.decision_id, PriceChange.actor, PriceChange.created_at,
    )  # fmt: skip
    if provider is not None:
        query = query.where(PriceChange.provider == provider)
    return list(session.execute(query.order_by(PriceChange.from_on.desc(), PriceChange.id.desc())))


def repriced(ask: Asking, cells: Iterable[Cell], *, on: date) -> dict[Cell, Repriced]:
    """What the newest change that holds on a day does to each (lane, provider); those without a change are left out."""
    found: dict[Cell, Repriced] = {}
    newest: dict[str, tuple[int, date] | None] = {}
    for lane, provider in sorted(set(cells)):
        if provider not in newest:
            rows = _NEWEST.typed(ask.rows(_NEWEST, provider=provider, day=on), ask.dialect)
            newest[provider] = (rows[0][0], rows[0][1]) if rows else None
        change = newest[provider]
        if change is None:
            continue
        number, from_on = change
        known = ask.rows(_FACTOR, change_id=number, lane_id=lane)
        receipts, with_tokens, value = known[0] if known else (0, 0, None)
        after = datetime.combine(from_on, time(), tzinfo=UTC)
        since = ask.rows(_SINCE, lane_id=lane, provider=provider, after=after)[0][0]
        found[lane, provider] = Repriced(lane, provider, from_on, receipts, with_tokens, value, since=since)
    return found


_NEWEST: Final = Prepared(
    select(PriceChange.id, PriceChange.from_on)
    .where(
        PriceChange.provider == bindparam("provider", type_=PriceChange.provider.type),
        PriceChange.from_on <= bindparam("day", type_=PriceChange.from_on.type),
    )
    .order_by(PriceChange.from_on.desc(), PriceChange.id.desc())
    .limit(1)
)
_FACTOR: Final = Prepared(
    select(PriceFactor.receipts, PriceFactor.with_tokens, PriceFactor.factor).where(
        PriceFactor.change_id == bindparam("change_id", type_=PriceFactor.change_id.type),
        PriceFactor.lane_id == bindparam("lane_id", type_=PriceFactor.lane_id.type),
    )
)
# How many receipts came at the new price; more than the state remembers are not counted.
_SINCE: Final = Prepared(
    select(func.count()).select_from(
        select(TaskReceipt.id)
        .where(
            TaskReceipt.lane_id == bindparam("lane_id", type_=TaskReceipt.lane_id.type),
            TaskReceipt.provider == bindparam("provider", type_=TaskReceipt.provider.type),
            TaskReceipt.completed_at >= bindparam("after", type_=TaskReceipt.completed_at.type),
        )
        .limit(COUNTED)
        .subquery()
    )
)
