"""What may one attempt at a planned task cost, and what will it probably cost?

The plan carries a forecast per task. Its cap is the upper end of the 90 % interval of what an attempt spends whatever its end
(design "Budget"); the expectation is the same forecast's median. A task without forecast has no cap and counts as nothing: the
budget of its project still holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any

from plms_pipeline.registry.types import to_usd
from plms_pipeline.runs.passport import Plan, PlannedTask


class PricedPlan(Plan):
    """A plan, and what it may cost."""

    @cached_property
    def caps(self) -> list[Decimal | None]:
        """The hard cap of each card in USD."""
        return [cap_of(task.forecast) for task in self]

    @cached_property
    def expected_usd(self) -> Decimal:
        """What the tasks are expected to cost together."""
        return sum((_amount(_spend(task.forecast), "median", "mean") or Decimal(0) for task in self), Decimal(0))


def no_room(plan: PricedPlan, *, spent: Decimal, budget: Decimal | None) -> str | None:
    """Why a task of the plan could never go out, in USD; None when each could, if nothing else runs.

    What a task may take is reserved before it starts: one that does not fit into the budget alone would wait for ever.
    """
    capped = [(cap, task.task_id) for task, cap in zip(plan, plan.caps, strict=True) if cap is not None]
    most, task_id = max(capped, default=(Decimal(0), ""))
    if budget is None or spent + most <= budget:
        return None
    return (
        f"task {task_id} may take up to {shown(most)} USD and reserves that before it starts; {shown(spent)} of a budget of "
        f"{shown(budget)} are spent, so it could never go out. Receipts of its lane and provider narrow that."
    )


def cap_of(forecast: Mapping[str, Any] | None) -> Decimal | None:
    """The hard cap of a card in USD, or None when nothing is forecast."""
    return _amount(_spend(forecast), "high", "upper", "hi")


def expected_usd(plan: Iterable[PlannedTask]) -> Decimal:
    """What the tasks are expected to cost together, in USD."""
    return (plan if isinstance(plan, PricedPlan) else PricedPlan(plan)).expected_usd


def shown(amount: Decimal) -> str:
    """An amount as people write it: no more zeros than needed, never an exponent."""
    return f"{amount.normalize():f}"


def _spend(forecast: Mapping[str, Any] | None) -> Mapping[str, Any]:
    for name in ("spend", "spend_usd", "cost_usd"):
        found = (forecast or {}).get(name)
        if isinstance(found, Mapping):
            inner = found.get("cost_usd")
            return inner if isinstance(inner, Mapping) else found
    return {}


def _amount(interval: Mapping[str, Any], *names: str) -> Decimal | None:
    for name in names:
        value = interval.get(name)
        if value is not None:
            return to_usd(value)
    return None
