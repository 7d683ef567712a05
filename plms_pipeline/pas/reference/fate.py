"""How does a task end if nobody interferes, and what has it taken until a given moment?

A hard cap is hard: a task is stopped at the moment at which its cost reaches its budget, charged exactly that, and failed
for that reason. The obvious version looks at the bill when the work is done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from plms_pipeline.pas.reference.chance import between
from plms_pipeline.pas.reference.faults import Faults
from plms_pipeline.pas.reference.outcomes import SIX_PLACES, Outcome, Outcomes

BUDGET = "budget: the card's cap was reached"
RUN_BUDGET = "budget: the run's cap was reached"
FAULT = "the work failed"


@dataclass(frozen=True, slots=True)
class Fate:
    """What a task takes until its end, and the error of that end (None: it succeeds)."""

    taken: Outcome
    error: str | None


def fate_of(
    outcomes: Outcomes,
    faults: Faults,
    seed: int,
    *,
    card_key: str,
    lane: int,
    provider: str,
    budget_usd: Decimal | None,
) -> Fate:
    """The end of a card: by itself, by the fault `failed`, or by its budget, whichever comes first."""
    whole = outcomes.choose(seed, card_key, lane, provider, is_outlier=faults.strikes("outlier", card_key))
    error, taken = None, whole
    if faults.strikes("failed", card_key):
        error, taken = FAULT, whole.part(between(0.1, 1.0, seed, "failed", card_key))
    if budget_usd is not None and taken.cost_usd > budget_usd:
        error, taken = BUDGET, capped(whole, budget_usd)
    return Fate(taken, error)


def capped(taken: Outcome, most_usd: Decimal) -> Outcome:
    """What was taken when the cost reached `most_usd` (less than the whole cost)."""
    part = taken.part(float(most_usd / taken.cost_usd))
    return replace(part, cost_usd=most_usd.quantize(SIX_PLACES))
