"""Who says what a provider charges, and what follows from it?

A price is a decision: a row with reason and actor, never a setting. What it does to the costs of before is worked out from
their tokens in the same transaction, lane by lane, so that everybody re-prices alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.actions import decide
from plms_pipeline.errors import BadInput
from plms_pipeline.estimates.prices import store
from plms_pipeline.estimates.prices.repricing import Measured, measured
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import to_usd

KIND = "provider_price"


@dataclass(frozen=True, slots=True)
class PriceSet:
    """A price that was decided upon, and what it does to each lane."""

    provider: str
    from_on: date
    decision_id: str
    lanes: dict[int, Measured]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "provider": self.provider, "from": self.from_on.isoformat(), "decision_id": self.decision_id,
            "lanes": [
                {"lane_id": lane, "receipts": one.receipts, "receipts_with_tokens": one.with_tokens,
                 "repriced": one.factor is not None,
                 "factor": None if one.factor is None else round(one.factor, 6)}
                for lane, one in sorted(self.lanes.items())
            ],
        }  # fmt: skip


def set_price(
    registry: Registry, provider: str, *, input_usd: Decimal, output_usd: Decimal, from_on: date, reason: str, actor: Actor,
    clock: Clock, ids: Callable[[], str],
) -> PriceSet:  # fmt: skip
    """Decide what a provider charges per million tokens from a UTC day on.

    Raises:
        BadInput: no provider (`no_provider`), a price that is none (`bad_price`), or no reason.
    """
    name = provider.strip()
    if not name or len(name) > 255:
        raise BadInput("Name the provider as its receipts do, up to 255 characters.", code="no_provider")
    prices = [_price(amount) for amount in (input_usd, output_usd)]
    now = clock.now()
    with registry.writing() as session:
        lanes = {
            lane: measured(paid, *(float(price) for price in prices))
            for lane, paid in store.paid_before(session, name, from_on).items()
            if paid
        }
        decision_id = decide(
            session, clock_now=now, ids=ids, kind=KIND, subject_type="provider", subject_id=name, decision="set",
            reason=reason, actor=actor, role="approver",
            payload={"input_usd_per_mtok": str(prices[0]), "output_usd_per_mtok": str(prices[1]),
                     "from": from_on.isoformat()},
        )  # fmt: skip
        store.add(
            session, provider=name, from_on=from_on, input_usd=prices[0], output_usd=prices[1], decision_id=decision_id,
            actor=actor.name, now=now, factors=lanes,
        )  # fmt: skip
    return PriceSet(name, from_on, decision_id, lanes)


def prices(registry: Registry, *, provider: str | None = None) -> list[dict[str, Any]]:
    """Every price that was decided upon, newest day first."""
    with registry.reading() as session:
        rows = store.changes(session, provider)
    return [
        {
            "provider": row[1], "from": row[2].isoformat(), "input_usd_per_mtok": float(row[3]),
            "output_usd_per_mtok": float(row[4]), "decision_id": row[5], "by": row[6], "at": row[7].isoformat(),
        }
        for row in rows
    ]  # fmt: skip


def _price(amount: Decimal) -> Decimal:
    try:
        price = to_usd(amount)
    except ValueError as error:
        raise BadInput(f"A price of {amount} is none: {error}", code="bad_price") from error
    if price < 0:
        raise BadInput(f"A price of {amount} is less than nothing.", code="bad_price")
    return price
