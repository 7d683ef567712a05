"""Do the intervals hold, one step ahead, on the receipts that came?

Every receipt is forecast at its start from what had been completed by then, with the very function that serves live
forecasts, and with the correction of the night before. A backtest over the order of completion alone would let long tasks
look into the future: what was still running at the start must not be known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.adaptive import Correction, corrections_of_forecasts, distance
from plms_pipeline.estimates.kernels import walk
from plms_pipeline.estimates.method import METHOD, QUANTILES, Method, log_centre
from plms_pipeline.estimates.prototype import prototype_intervals
from plms_pipeline.estimates.scores import covered, crps_of_quantiles, pit_histogram, winkler
from plms_pipeline.estimates.sketch import GRIDS
from plms_pipeline.estimates.state import Cell, state_of
from plms_pipeline.estimates.summary import Summary, empty
from plms_pipeline.measures import Measure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MS_PER_DAY: Final = 86_400_000
_LOW, _MEDIAN, _HIGH = QUANTILES.index(0.05), QUANTILES.index(0.5), QUANTILES.index(0.95)
_LEVELS: Final[Floats] = np.asarray(QUANTILES)
# Every second of the 39 quantiles: 5 % … 95 %, the edges of twenty bins.
_EDGES: Final = slice(1, None, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Receipts of one measure and basis in canonical order; all arrays (n,)."""

    lane_id: Ints
    provider: NDArray[np.object_]
    started_ms: Ints
    completed_ms: Ints
    value: Floats

    def codes(self) -> tuple[Ints, list[int], Ints, list[str]]:
        """Lane codes and lanes, provider codes and providers, both in order."""
        lanes, lane = np.unique(self.lane_id, return_inverse=True)
        providers, provider = np.unique(self.provider.astype(str), return_inverse=True)
        return lane.astype(np.int64), lanes.tolist(), provider.astype(np.int64), providers.tolist()

    def part(self, where: NDArray[np.bool_]) -> Outcomes:
        """The outcomes at a mask."""
        return Outcomes(
            self.lane_id[where],
            self.provider[where],
            self.started_ms[where],
            self.completed_ms[where],
            self.value[where],
        )

    def visible(self) -> Ints:
        """How many receipts each forecast may use: earlier in canonical order and completed by its start. (n,)."""
        ended = np.searchsorted(self.completed_ms, self.started_ms, side="right")
        return np.minimum(ended, np.arange(self.value.size)).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """One-step-ahead forecasts beside what happened, in the order of `outcomes`."""

    outcomes: Outcomes
    quantiles: Floats  # (n, 39), corrected
    factors: Floats  # (n,) the correction that was applied
    prototype: tuple[Floats, Floats]
    corrections: Mapping[int, Correction]  # lane → what holds today

    @property
    def low(self) -> Floats:
        """Lower ends of the 90 % intervals."""
        return self.quantiles[:, _LOW]

    @property
    def median(self) -> Floats:
        """Medians."""
        return self.quantiles[:, _MEDIAN]

    @property
    def high(self) -> Floats:
        """Upper ends of the 90 % intervals."""
        return self.quantiles[:, _HIGH]


def raw_quantiles(
    outcomes: Outcomes, measure: Measure, before: Mapping[Cell, Summary] | None = None, method: Method = METHOD
) -> tuple[Floats, Floats]:
    """The 39 quantiles of every one-step-ahead forecast before correction, (n, 39), and the design effects, (n,).

    Args:
        before: the fold of all days before the first outcome; none when `outcomes` is the whole history.
    """
    known = dict(before or {})
    keys = list(zip(outcomes.lane_id.tolist(), outcomes.provider.tolist(), strict=True))
    state = state_of(measure, known | {key: known.get(key) or empty() for key in set(keys)})
    row_of = {cell: row for row, cell in enumerate(sorted(state.cells))}
    visible = outcomes.visible()
    return walk(
        state.rows, np.asarray([row_of[key] for key in keys], dtype=np.int64), outcomes.value, visible,
        np.argsort(visible, kind="stable"), len(state.lanes), len(state.providers), GRIDS[measure].first,
        log_centre(measure), _LEVELS, method,
    )  # fmt: skip


def backtest(
    outcomes: Outcomes, measure: Measure, *, today: date, before: Mapping[Cell, Summary] | None = None,
    since: date | None = None, method: Method = METHOD,
) -> Backtest:  # fmt: skip
    """Forecast every receipt one step ahead, correct it by the night before, and put the prototype beside it.

    Args:
        today: the day the night belongs to; its corrections know outcomes of earlier days.
        before: see `raw_quantiles`.
        since: the first day of `outcomes`, when there is a before. A forecast that was made earlier teaches and is not
            judged: what was known then is folded away.
    """
    raw, effects = raw_quantiles(outcomes, measure, before, method)
    judged = outcomes.started_ms >= (_day_number(since) * MS_PER_DAY if since else np.iinfo(np.int64).min)
    baseline = _prototype(outcomes, measure)
    outcomes, raw, effects = outcomes.part(judged), raw[judged], effects[judged]
    baseline = baseline[0][judged], baseline[1][judged]
    lane, lanes, _, _ = outcomes.codes()
    distances = distance(raw[:, _LOW], raw[:, _MEDIAN], raw[:, _HIGH], outcomes.value)
    factors, held = corrections_of_forecasts(
        lane, outcomes.started_ms // MS_PER_DAY, outcomes.completed_ms // MS_PER_DAY, distances, effects, n_lanes=len(lanes),
        today=_day_number(today),
    )  # fmt: skip
    median = raw[:, _MEDIAN : _MEDIAN + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = median * (raw / median) ** factors[:, None]
    quantiles = np.where((raw > 0) & (median > 0), moved, raw)
    return Backtest(outcomes, quantiles, factors, baseline, dict(zip(lanes, held, strict=True)))


def _prototype(outcomes: Outcomes, measure: Measure) -> tuple[Floats, Floats]:
    lane, _, provider, providers = outcomes.codes()
    _, group = np.unique(lane * max(1, len(providers)) + provider, return_inverse=True)
    return prototype_intervals(group.astype(np.int64), outcomes.value, measure)


def _day_number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def figures(
    found: Backtest, where: NDArray[np.bool_] | None = None, *, against_prototype: bool = False
) -> dict[str, Any]:
    """n, coverage_90, winkler, mae and crps of some forecasts; with `against_prototype` also its Winkler and the ratio."""
    chosen = np.ones(found.outcomes.value.size, dtype=bool) if where is None else where
    actual = found.outcomes.value[chosen]
    if not actual.size:
        return {"n": 0}
    low, high, quantiles = found.low[chosen], found.high[chosen], found.quantiles[chosen]
    score = float(winkler(low, high, actual).mean())
    told: dict[str, Any] = {
        "n": int(actual.size),
        "coverage_90": float(covered(low, high, actual).mean()),
        "winkler": score,
        "mae": float(np.abs(actual - found.median[chosen]).mean()),
        "crps": float(crps_of_quantiles(quantiles, _LEVELS, actual).mean()),
        "mean_actual": float(actual.mean()),
    }
    if against_prototype:
        baseline = float(winkler(found.prototype[0][chosen], found.prototype[1][chosen], actual).mean())
        told |= {
            "winkler_prototype": baseline,
            "winkler_ratio": score / baseline if baseline else None,
            "coverage_90_prototype": float(covered(*found.prototype, found.outcomes.value)[chosen].mean()),
            "pit": pit_histogram(quantiles[:, _EDGES], actual),
        }
    return told


def report(found: Backtest) -> dict[str, Any]:
    """The tree of one measure: `overall`, `lanes` by lane id, `cells` by lane and provider."""
    outcomes = found.outcomes
    lane, lanes, provider, providers = outcomes.codes()
    cells = []
    for code, name in enumerate(providers):
        for lane_code in np.unique(lane[provider == code]):
            mine = (lane == lane_code) & (provider == code)
            cells.append({"lane_id": lanes[lane_code], "provider": name, **figures(found, mine)})
    return {
        "overall": figures(found, against_prototype=True),
        "lanes": {
            str(lane_id): {
                **figures(found, lane == code, against_prototype=True), "correction": found.corrections[lane_id].value,
            }
            for code, lane_id in enumerate(lanes)
        },
        "cells": sorted(cells, key=lambda cell: (cell["lane_id"], cell["provider"])),
    }  # fmt: skip
