"""Does the model beat the priors, and by more than luck?

Both are judged on the same later receipts by strictly proper scores in the measure's own unit. Receipts come in
batches, so the interval of the ratio of their Winkler scores is drawn from blocks of neighbouring forecasts. A (measure,
basis) that does not pass is left to the priors; a candidate that passes nowhere cannot be promoted.

Beside the mean stands how much of the priors' score its worst hundredth makes: where one task that hung for days is most of
it, no model of what was known before can be a tenth better, and that is said instead of hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from plms_pipeline.estimates.method import QUANTILES
from plms_pipeline.estimates.scores import covered, crps_of_quantiles, pit_histogram, winkler
from plms_pipeline.measures import Basis, Measure
from plms_pipeline.models.estimating.fitting import log_score
from plms_pipeline.models.estimating.history import Floats, Mask
from plms_pipeline.models.estimating.walkforward import Forecasts
from plms_pipeline.models.evaluation import blocks

_LOW, _MEDIAN, _HIGH = QUANTILES.index(0.05), QUANTILES.index(0.5), QUANTILES.index(0.95)
_LEVELS: Final[Floats] = np.asarray(QUANTILES)
_EDGES: Final = slice(1, None, 2)
RESAMPLES: Final = 2_000
SEED: Final = 7_531
WORST: Final = 0.01


@dataclass(frozen=True, slots=True)
class Limits:
    """What a (measure, basis) must show on later receipts.

    Attributes:
        ratio: at most, of its mean Winkler score to the priors'.
        coverage, lane_coverage: of 90 % intervals, overall and in every lane of `lane_rows` forecasts.
        rows: forecasts, at least.
        level: of the interval of the ratio, whose upper end must lie below 1.
    """

    ratio: float = 0.90
    coverage: tuple[float, float] = (0.88, 0.92)
    lane_coverage: tuple[float, float] = (0.85, 0.95)
    lane_rows: int = 100
    rows: int = 500
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a true sentence when it holds, and the reason when it does not."""

    name: str
    passed: bool
    value: float | None
    threshold: float
    reason: str

    def as_document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One (measure, basis): its figures and conditions."""

    measure: Measure
    basis: Basis
    figures: dict[str, Any]
    conditions: tuple[Condition, ...]

    @property
    def passed(self) -> bool:
        """Whether the model is heard there."""
        return all(one.passed for one in self.conditions)

    def as_document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "measure": self.measure, "basis": self.basis, "passed": self.passed, **self.figures,
            "conditions": [one.as_document() for one in self.conditions],
        }  # fmt: skip


def judge(found: Forecasts, limits: Limits, *, trials: int = 1) -> Judgement:
    """Figures and conditions of the judged forecasts of a basis.

    Args:
        trials: how many experiments were tried on these receipts; the interval of the ratio is widened by it (Bonferroni).
    """
    level = 1 - (1 - limits.level) / max(1, trials)
    told = figures(found, level=level) if len(found.history) else {"n": 0}
    return Judgement(found.history.measure, found.basis, told, tuple(_conditions(told, limits)))


def figures(found: Forecasts, *, level: float = 0.95) -> dict[str, Any]:
    """Scores of model and priors, their ratio with its interval, and the same per lane and per (lane, provider)."""
    ours, theirs = _winkler(found, found.quantiles), _winkler(found, found.prior)
    order = np.argsort(theirs)[::-1][: max(1, int(WORST * theirs.size))]
    rest = np.ones(theirs.size, dtype=bool)
    rest[order] = False
    lanes = sorted(set(found.history.lane_id.tolist()))
    cells = sorted(set(zip(found.history.lane_id.tolist(), found.history.provider.tolist(), strict=True)))
    interval = ratio_interval(ours, theirs, level=level)
    return {
        **_scores(found, np.ones(theirs.size, dtype=bool)),
        "winkler_ratio_low": _finite(interval[0]), "winkler_ratio_high": _finite(interval[1]),
        "winkler_log": _of_logarithms(found, found.quantiles), "winkler_log_priors": _of_logarithms(found, found.prior),
        "worst_hundredth_of_priors": float(theirs[order].sum() / theirs.sum()) if theirs.sum() else None,
        "winkler_ratio_without_it": _ratio(ours[rest].sum(), theirs[rest].sum()),
        "pit": pit_histogram(found.quantiles[:, _EDGES], found.value),
        "pit_priors": pit_histogram(found.prior[:, _EDGES], found.value),
        "lanes": [{"lane_id": lane, **_scores(found, found.history.lane_id == lane)} for lane in lanes],
        "cells": [
            {"lane_id": lane, "provider": name,
             **_scores(found, (found.history.lane_id == lane) & (found.history.provider == name))}
            for lane, name in cells
        ],
    }  # fmt: skip


def _winkler(found: Forecasts, quantiles: Floats) -> Floats:
    return winkler(quantiles[:, _LOW], quantiles[:, _HIGH], found.value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _of_logarithms(found: Forecasts, quantiles: Floats) -> float | None:
    mask = found.value > 0
    return log_score(quantiles[mask], found.value[mask]) if mask.any() else None


def _ratio(ours: float, theirs: float) -> float | None:
    return float(ours / theirs) if theirs > 0 else None


def _scores(found: Forecasts, where: Mask) -> dict[str, Any]:
    value = found.value[where]
    told: dict[str, Any] = {"n": int(value.size), "mean_actual": float(value.mean())}
    for suffix, all_quantiles in (("", found.quantiles), ("_priors", found.prior)):
        mine = all_quantiles[where]
        low, high = mine[:, _LOW], mine[:, _HIGH]
        told |= {
            f"coverage_90{suffix}": float(covered(low, high, value).mean()),
            f"winkler{suffix}": float(winkler(low, high, value).mean()),
            f"crps{suffix}": float(crps_of_quantiles(mine, _LEVELS, value).mean()),
            f"mae{suffix}": float(np.abs(value - mine[:, _MEDIAN]).mean()),
        }
    told["winkler_ratio"] = _ratio(told["winkler"], told["winkler_priors"])
    told["crps_ratio"] = _ratio(told["crps"], told["crps_priors"])
    return told


def ratio_interval(
    ours: Floats, theirs: Floats, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """The central interval of the ratio of two sums, from circular blocks of neighbouring forecasts.

    Args:
        ours, theirs: scores of the same forecasts, (n,), in the order of time.
    """
    length = max(blocks.block_length(ours), blocks.block_length(theirs))
    drawn = blocks.plan(ours.size, length, resamples=resamples, seed=seed)
    sums = []
    for scores in (ours, theirs):
        ring = np.concatenate([[0.0], np.cumsum(np.concatenate([scores, scores]))])
        whole = ring[drawn.starts[:-1] + drawn.length] - ring[drawn.starts[:-1]]
        last = ring[drawn.starts[-1] + drawn.last] - ring[drawn.starts[-1]]
        sums.append(whole.sum(axis=0) + last)
    # Where neither misses anything there is no gain; where the priors alone do not, the loss has no bound.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((sums[0] == 0) & (sums[1] == 0), 1.0, sums[0] / sums[1])
    # Between a number and infinity there is nothing to interpolate.
    how: Literal["linear", "higher"] = "linear" if np.isfinite(ratio).all() else "higher"
    low, high = np.quantile(ratio, [(1 - level) / 2, (1 + level) / 2], method=how)
    return float(low), float(high)


def _conditions(told: dict[str, Any], limits: Limits) -> list[Condition]:
    lanes = [one for one in told.get("lanes", ()) if one["n"] >= limits.lane_rows]
    outside = [one for one in lanes if not limits.lane_coverage[0] <= one["coverage_90"] <= limits.lane_coverage[1]]
    coverage, ratio, high = (told.get(name) for name in ("coverage_90", "winkler_ratio", "winkler_ratio_high"))
    named = ", ".join(f"{one['lane_id']}: {one['coverage_90']:.1%}" for one in outside)
    low, most = limits.coverage
    return [
        _condition("has_enough_later_forecasts", told["n"], limits.rows, passed=told["n"] >= limits.rows,
                   reason=f"{told['n']} later forecasts, {limits.rows} are needed"),
        _condition("intervals_hold", coverage, low, passed=coverage is not None and low <= coverage <= most,
                   reason=f"90 % intervals held {_percent(coverage)} of later outcomes, {low:.0%} to {most:.0%} is asked"),
        _condition("intervals_hold_in_every_lane", len(outside), 0, passed=not outside,
                   reason=f"outside of {limits.lane_coverage[0]:.0%} to {limits.lane_coverage[1]:.0%}: {named}"),
        _condition("winkler_beats_the_priors", ratio, limits.ratio, passed=_at_most(ratio, limits.ratio),
                   reason=f"the Winkler score is {_number(ratio)} of the priors', {limits.ratio:g} is asked"),
        _condition("gain_is_more_than_luck", high, 1.0, passed=high is not None and high < 1.0,
                   reason=f"the upper limit of that ratio is {_number(high)}, less than 1 is asked"),
        _condition("crps_beats_the_priors", told.get("crps_ratio"), 1.0, passed=_at_most(told.get("crps_ratio"), 1.0),
                   reason=f"the CRPS is {_number(told.get('crps_ratio'))} of the priors'"),
    ]  # fmt: skip


def _condition(name: str, value: float | None, threshold: float, *, passed: bool, reason: str) -> Condition:
    return Condition(name, passed, None if value is None else float(value), threshold, "" if passed else reason)


def _at_most(value: float | None, most: float) -> bool:
    return value is not None and value <= most


def _percent(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def blocking(judged: Sequence[Judgement]) -> tuple[str, ...]:
    """Gates of a whole candidate that do not pass: none when it beats the priors somewhere."""
    if any(one.passed for one in judged):
        return ()
    failed = dict.fromkeys(condition.name for one in judged for condition in one.conditions if not condition.passed)
    return ("beats_the_priors_somewhere", *failed)
