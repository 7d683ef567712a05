"""What will each planned task take, and all of them together?

A task's estimate is the median of its predictive distribution, with its 90 % interval; a project's is simulated, because the
sum of interval ends would assume that everything goes wrong at once. Where no receipt knows a measure the factory default
gives the centre: the project's estimate is then that default times the tasks, and its interval is as wide as ignorance is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from plms_pipeline.estimates.adaptive import Correction
from plms_pipeline.estimates.attempts import belief_of
from plms_pipeline.estimates.beliefs import Beliefs, Tally
from plms_pipeline.estimates.forecast import Group, forecast_total
from plms_pipeline.estimates.method import FACTORY
from plms_pipeline.estimates.plan import Work
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.estimates.state import State, state_of
from plms_pipeline.measures import BASES, MEASURES, Basis, Measure
from plms_pipeline.registry.types import LIMIT, to_usd

QUANTILE: Final = 0.95
# What a 32-bit INTEGER column holds; a forecast beyond it is ignorance, not a plan.
MOST: Final = 2**31 - 1

Corrections = Mapping[tuple[int, str, str], Correction]
Cell = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate as the sources' columns hold it, and the forecast behind it (`effort` and `spend`, by measure)."""

    tokens: int
    minutes: int
    cost_usd: Decimal
    forecast: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prices:
    """The estimate of one task of each (lane, provider), and of all tasks together."""

    cells: Mapping[Cell, Estimate]
    total: Estimate


def prices(beliefs: Beliefs, corrections: Corrections, cells: Sequence[Cell], *, as_of: str) -> Prices:
    """Estimate tasks, given as (lane, provider), one entry per task.

    Args:
        corrections: last night's, by (lane, measure, basis).
        as_of: the instant of the beliefs, kept in each forecast.
    """
    counts = Counter(cells)
    each = {cell: _estimate(beliefs, corrections, {cell: 1}, as_of) for cell in sorted(counts)}
    return Prices(each, _estimate(beliefs, corrections, counts, as_of))


def _estimate(beliefs: Beliefs, corrections: Corrections, counts: Mapping[Cell, int], as_of: str) -> Estimate:
    work = [Work(lane, provider, tasks) for (lane, provider), tasks in sorted(counts.items())]
    tasks = sum(counts.values())
    forecast: dict[str, Any] = {"as_of": as_of, "quantile": QUANTILE, "tasks": tasks}
    for basis in BASES:
        forecast[basis] = {}
        for measure in MEASURES:
            known = beliefs.bases[basis].states.get(measure)
            groups = _groups(beliefs, known or state_of(measure, {}), work, corrections, basis)
            total = forecast_total(groups, QUANTILE)
            forecast[basis][measure] = {
                "median": _kept(total.median, measure), "mean": _kept(total.mean, measure),
                "low": _kept(total.low, measure), "high": _kept(total.high, measure),
                "budget": _kept(total.budget, measure), "n": _receipts(known, counts),
            }  # fmt: skip
            if basis == "spend" and tasks == 1:
                forecast[basis][measure]["attempt"] = _attempt(groups[0])
            if known is None:
                forecast[basis][measure]["median"] = _kept(FACTORY[measure] * tasks, measure)
    centre = {measure: forecast["effort"][measure]["median"] for measure in MEASURES}
    minutes = max(1, math.ceil(centre["duration_ms"] / 60_000))
    return Estimate(round(centre["tokens"]), min(minutes, MOST), to_usd(centre["cost_usd"]), forecast)


def _groups(
    beliefs: Beliefs, state: State, work: Sequence[Work], corrections: Corrections, basis: Basis
) -> list[Group]:
    part, spend = beliefs.bases[basis], basis == "spend"
    none = Correction(1.0, 0)
    return [
        Group(
            predict(state, one.lane_id, one.provider), corrections.get((one.lane_id, state.measure, basis), none).value,
            one.provider, one.tasks,
            attempts=part.tallies.get((one.lane_id, one.provider), Tally()) if spend else None,
            all_attempts=part.total() if spend else None,
        )
        for one in work
    ]  # fmt: skip


def _attempt(group: Group) -> dict[str, float]:
    """What one attempt takes, as the runway asks for it until receipts of the (lane, provider) are there."""
    found = belief_of(group.predictive, group.attempts or Tally(), group.all_attempts or Tally())
    return found.corrected(group.correction).as_json()


def _kept(value: float, measure: Measure) -> float:
    """A value as it is stored: dollars to six places, whole tokens and milliseconds, nothing beyond what a column holds."""
    if measure == "cost_usd":
        return min(round(value, 6), float(LIMIT) - 1)
    return float(min(round(value), MOST if measure == "tokens" else MOST * 60_000))


def _receipts(state: State | None, counts: Mapping[Cell, int]) -> int:
    """The receipts of the cell that has fewest: a plan is known as well as its least known part."""
    if state is None:
        return 0
    return min((state.cells[cell].count if cell in state.cells else 0) for cell in counts)
