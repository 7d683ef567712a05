"""What will each planned task take, and all of them together?

A task's estimate is the median of its predictive distribution, with its 90 % interval; a project's is simulated, because the
sum of interval ends would assume that everything goes wrong at once. Where no receipt knows a measure the factory default
gives the centre: the project's estimate is then that default times the tasks, and its interval is as wide as ignorance is.

Where a model of estimates was promoted and is heard (`estimates/outlook.py`), a task's estimate is that of a task without
its effect, times the factor of the task; each forecast says by whom it was made, and what the priors said in its place.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from plms_pipeline.estimates.adaptive import Correction
from plms_pipeline.estimates.attempts import belief_of
from plms_pipeline.estimates.beliefs import Beliefs, Tally
from plms_pipeline.estimates.forecast import Group, Total, forecast_total
from plms_pipeline.estimates.method import FACTORY
from plms_pipeline.estimates.outlook import Outlook, Part, Unheard, Words
from plms_pipeline.estimates.plan import Work
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.estimates.state import State, state_of
from plms_pipeline.measures import BASES, MEASURES, Basis, Measure
from plms_pipeline.registry.types import LIMIT, to_usd

QUANTILE: Final = 0.95
# What a 32-bit INTEGER column holds; a forecast beyond it is ignorance, not a plan.
MOST: Final = 2**31 - 1
# Into so many groups the tasks of a (lane, provider) fall at most, by how much more than others they take.
KINDS_OF_TASKS: Final = 8

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
    """The estimate of one task of each (lane, provider) by the priors, of each task, and of all tasks together."""

    cells: Mapping[Cell, Estimate]
    tasks: Sequence[Estimate]
    total: Estimate


@dataclass(frozen=True, slots=True)
class _Ground:
    """What all estimates of one call rest on."""

    beliefs: Beliefs
    corrections: Corrections
    outlook: Outlook | None
    # What every forecast of the call begins with.
    head: Mapping[str, Any]


def prices(
    beliefs: Beliefs, corrections: Corrections, cells: Sequence[Cell], *, as_of: str,
    heard: Outlook | Unheard | None = None, words: Sequence[Words] = (),
) -> Prices:  # fmt: skip
    """Estimate tasks, given as (lane, provider), one entry per task.

    Args:
        corrections: last night's, by (lane, measure, basis).
        as_of: the instant of the beliefs, kept in each forecast.
        heard: what the promoted model of estimates says; None: there is none.
        words: of each task, what is known of it before it is done; only a model reads them.
    """
    head = {"as_of": as_of, "quantile": QUANTILE} | ({} if heard is None else {"by": heard.as_json()})
    ground = _Ground(beliefs, corrections, heard if isinstance(heard, Outlook) else None, head)
    counts = Counter(cells)
    each = {cell: _estimate(ground, {cell: 1}, {}) for cell in sorted(counts)}
    if ground.outlook is None or not words:
        return Prices(each, [each[cell] for cell in cells], _estimate(ground, counts, {}))
    factors = _factors(ground.outlook, cells, words)
    left = {cell: _left(ground, ground.outlook, cell) for cell in sorted(counts)}
    tasks = [
        _of_task(each[cell], left[cell], {part: found[place] for part, found in factors.items()})
        for place, cell in enumerate(cells)
    ]
    by_cell = {part: _by_cell(cells, found) for part, found in factors.items()}
    return Prices(each, tasks, _estimate(ground, counts, by_cell))


def _factors(outlook: Outlook, cells: Sequence[Cell], words: Sequence[Words]) -> dict[Part, list[float]]:
    """How many times as much as others each task takes, by what is forecast."""
    return {
        part: [one.factor(provider, word) for (_, provider), word in zip(cells, words, strict=True)]
        for part, one in outlook.parts.items()
    }


def _by_cell(cells: Sequence[Cell], factors: Sequence[float]) -> dict[Cell, list[float]]:
    found: dict[Cell, list[float]] = {}
    for cell, factor in zip(cells, factors, strict=True):
        found.setdefault(cell, []).append(factor)
    return found


def _left(ground: _Ground, outlook: Outlook, cell: Cell) -> dict[Part, tuple[Total, Group]]:
    """What one task of a (lane, provider) takes without its effect."""
    found = {}
    for part in outlook.parts:
        (group,) = _groups_without_effect(ground, outlook, part, {cell: [1.0]})
        found[part] = (forecast_total([group], QUANTILE), group)
    return found


def _of_task(prior: Estimate, left: Mapping[Part, tuple[Total, Group]], factors: Mapping[Part, float]) -> Estimate:
    """The estimate of a task: what the model says where it is heard, and beside it what the priors said."""
    forecast: dict[str, Any] = dict(prior.forecast)
    for basis in BASES:
        forecast[basis] = dict(prior.forecast[basis])
    for (measure, basis), (total, group) in left.items():
        factor, was = factors[measure, basis], prior.forecast[basis][measure]
        told = _told(total, measure, was["n"], factor)
        told |= {"factor": round(factor, 6), "priors": {name: was[name] for name in ("median", "low", "high")}}
        if basis == "spend":
            told["attempt"] = _attempt(group, factor)
        forecast[basis][measure] = told
    return _estimate_of(forecast)


def _estimate(
    ground: _Ground, counts: Mapping[Cell, int], factors: Mapping[Part, Mapping[Cell, list[float]]]
) -> Estimate:
    work = [Work(lane, provider, tasks) for (lane, provider), tasks in sorted(counts.items())]
    tasks = sum(counts.values())
    forecast: dict[str, Any] = {**ground.head, "tasks": tasks}
    for basis in BASES:
        forecast[basis] = {}
        for measure in MEASURES:
            known = ground.beliefs.bases[basis].states.get(measure)
            mine = factors.get((measure, basis))
            if mine is not None and ground.outlook is not None:
                groups = _groups_without_effect(ground, ground.outlook, (measure, basis), mine)
            else:
                groups = _groups(ground.beliefs, known or state_of(measure, {}), work, ground.corrections, basis)
            forecast[basis][measure] = _told(forecast_total(groups, QUANTILE), measure, _receipts(known, counts))
            if basis == "spend" and tasks == 1:
                forecast[basis][measure]["attempt"] = _attempt(groups[0])
            if known is None:
                forecast[basis][measure]["median"] = _kept(FACTORY[measure] * tasks, measure)
    return _estimate_of(forecast)


def _estimate_of(forecast: dict[str, Any]) -> Estimate:
    centre = {measure: forecast["effort"][measure]["median"] for measure in MEASURES}
    minutes = max(1, math.ceil(centre["duration_ms"] / 60_000))
    return Estimate(round(centre["tokens"]), min(minutes, MOST), to_usd(centre["cost_usd"]), forecast)


def _told(total: Total, measure: Measure, n: int, factor: float = 1.0) -> dict[str, Any]:
    return {
        "median": _kept(total.median * factor, measure), "mean": _kept(total.mean * factor, measure),
        "low": _kept(total.low * factor, measure), "high": _kept(total.high * factor, measure),
        "budget": _kept(total.budget * factor, measure), "n": n,
    }  # fmt: skip


def _groups_without_effect(
    ground: _Ground, outlook: Outlook, part: Part, factors: Mapping[Cell, list[float]]
) -> list[Group]:
    """Tasks as the model sees them: a belief without the effects of tasks, and the effects as what multiplies it.

    Tasks of a (lane, provider) whose effects are alike are taken together: a simulation for each of them would take seconds.
    """
    one, tallies = outlook.parts[part], ground.beliefs.bases[part[1]]
    state, spend = outlook.state(part), part[1] == "spend"
    return [
        Group(
            predict(state, lane, provider), one.corrections.get(lane, 1.0), provider, n,
            attempts=tallies.tallies.get((lane, provider), Tally()) if spend else None,
            all_attempts=tallies.total() if spend else None, price=factor,
        )
        for (lane, provider), found in sorted(factors.items())
        for factor, n in _alike(found)
    ]  # fmt: skip


def _alike(factors: Sequence[float]) -> list[tuple[float, int]]:
    """(factor, tasks): at most `KINDS_OF_TASKS` groups of neighbours, each with the mean of its own."""
    ordered = sorted(factors)
    exact = Counter(ordered)
    if len(exact) <= KINDS_OF_TASKS:
        return sorted(exact.items())
    bounds = [len(ordered) * place // KINDS_OF_TASKS for place in range(KINDS_OF_TASKS + 1)]
    return [(math.fsum(ordered[low:high]) / (high - low), high - low) for low, high in pairwise(bounds)]


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


def _attempt(group: Group, factor: float = 1.0) -> dict[str, float]:
    """What one attempt takes, as the runway asks for it until receipts of the (lane, provider) are there."""
    found = belief_of(group.predictive, group.attempts or Tally(), group.all_attempts or Tally())
    return found.corrected(group.correction).times(factor).as_json()


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
