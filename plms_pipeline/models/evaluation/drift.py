"""Do values still come from where the reference came from?

A profile of the reference is kept: its quantiles as a grid with open ends, the share of the reference in each cell, and its
sorted values. What is observed is counted on the same grid. Two grids, each fitted to its own sample, see no shift and no
rescaling at all, and a grid of equal widths is blinded by one outlier, which makes it as wide as itself.

Population stability index and Jensen-Shannon divergence come from the grid, the Kolmogorov-Smirnov statistic from all values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.coarse import cells_of, largest_distance
from plms_pipeline.models.evaluation.returns import Floats
from plms_pipeline.models.evaluation.thresholds import Alert, Rule, judged

BINS: Final = 20
# What is added to every count, as if half a value had been seen there: an empty cell of a small sample is no proof.
_HALF: Final = 0.5
_LONG: Final = 20_000


@dataclass(frozen=True, slots=True)
class Profile:
    """What the reference looked like.

    Attributes:
        edges: (k - 1,) ascending; cell i holds edges[i - 1] ≤ x < edges[i], the first and last are open.
        counts: (k,) reference values in each cell.
        reference: (n,) the reference, ascending.
        missing: reference values that were not finite.
    """

    edges: Floats
    counts: Floats
    reference: Floats
    missing: int = 0

    def as_document(self) -> dict[str, Any]:
        """The profile, as JSON has it."""
        return {
            "edges": self.edges.tolist(),
            "counts": self.counts.tolist(),
            "reference": self.reference.tolist(),
            "missing": self.missing,
        }


@dataclass(frozen=True, slots=True)
class Drift:
    """How far observed values are from a profile; None where nothing was observed.

    Attributes:
        population_stability_index: Σ (p - q) ln(p / q), ≥ 0.
        js_divergence: Jensen-Shannon, base 2, in [0, 1].
        ks_statistic: largest distance of the two distribution functions, in [0, 1].
        observed: finite values; `missing` others.
    """

    population_stability_index: float | None
    js_divergence: float | None
    ks_statistic: float | None
    observed: int
    missing: int

    def as_document(self) -> dict[str, float | int | None]:
        """The three figures by the names of the sources, and what they rest on."""
        return {
            "population_stability_index": self.population_stability_index,
            "js_divergence": self.js_divergence,
            "ks_statistic": self.ks_statistic,
            "observed": self.observed,
            "missing": self.missing,
        }


@dataclass(frozen=True, slots=True)
class DriftThresholds:
    """Limits; None is no limit.

    Raises:
        BadInput: a limit that nothing can be compared with.
    """

    psi: float | None = 0.2
    js: float | None = 0.05
    ks: float | None = 0.15

    def __post_init__(self) -> None:
        for name, limit in (("psi", self.psi), ("js", self.js), ("ks", self.ks)):
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise BadInput(f"The drift limit {name} is {limit}; it is a finite number, 0 or more, or left out.")


_RULES: Final = (
    Rule("psi", "drift", "population_stability_index", "ceiling", "psi_above_limit", "The population stability index"),
    Rule("js", "drift", "js_divergence", "ceiling", "js_above_limit", "The Jensen-Shannon divergence"),
    Rule("ks", "drift", "ks_statistic", "ceiling", "ks_above_limit", "The Kolmogorov-Smirnov statistic"),
)


def profile_of(reference: Floats, *, bins: int = BINS) -> Profile:
    """The profile of a reference sample.

    Cells hold about equal shares of it. A value that fills a cell alone (half of all volumes are 0) gets one of its own, so
    that leaving it is seen.

    Args:
        reference: (n,) values; what is not finite is left out and counted.
        bins: how many cells at most, before values get cells of their own.

    Raises:
        NoData: no finite value.
        BadInput: fewer than two cells.
    """
    if bins < 2:
        raise BadInput(f"{bins} cells show no drift; two are the least.")
    values = np.sort(reference[np.isfinite(reference)])
    if not values.size:
        raise NoData("The reference of a drift profile holds no finite value.")
    cuts = np.quantile(values, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    found, times = np.unique(cuts, return_counts=True)
    is_alone = times > 1
    if found.size == 1:
        is_alone = values[[0, -1]] == found[0]
        is_alone = np.asarray([bool(is_alone.any())])
    edges = np.unique(np.concatenate([found, np.nextafter(found[is_alone], np.inf)]))
    return Profile(edges, _counts(values, edges), values, int(reference.size - values.size))


def profile_from(document: Mapping[str, Any]) -> Profile:
    """The profile that `as_document` wrote.

    Raises:
        BadInput: it is none.
    """
    try:
        arrays = [np.asarray(document[name], dtype=np.float64) for name in ("edges", "counts", "reference")]
        return Profile(arrays[0], arrays[1], arrays[2], int(document["missing"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"This is no drift profile ({error}); make it anew from the reference.") from error


def drift(profile: Profile, observed: Floats) -> Drift:
    """How far observed values are from the reference.

    Args:
        observed: (m,) values; what is not finite is left out and counted.
    """
    # A sum is finite exactly if all values are (or they overflow, and then the look at each decides).
    with np.errstate(over="ignore", invalid="ignore"):
        all_finite = bool(np.isfinite(observed.sum()))
    values = observed if all_finite else observed[np.isfinite(observed)]
    missing = int(observed.size - values.size)
    if not values.size:
        return Drift(None, None, None, 0, missing)
    counts, distance = _compared(profile, values)
    return Drift(
        population_stability_index(profile.counts, counts),
        js_divergence(profile.counts, counts),
        distance,
        int(values.size),
        missing,
    )


def _compared(profile: Profile, values: Floats) -> tuple[Floats, float]:
    """Counts on the profile's grid, and the Kolmogorov-Smirnov statistic, of finite values in any order.

    Short samples are sorted, which needs no compiler: a nightly look at 512 returns should not import one.
    """
    if values.size < _LONG:
        values = np.sort(values)
        return _counts(values, profile.edges), kolmogorov_smirnov(profile.reference, values)
    cells = cells_of(profile.reference, profile.edges, values)
    return cells.counts(profile.edges), largest_distance(cells, profile.reference, values)


def drift_of_columns(profiles: Mapping[str, Profile], observed: Mapping[str, Floats]) -> dict[str, Drift]:
    """The drift of each profiled column, by its name.

    Raises:
        BadInput: a column is missing.
    """
    absent = [name for name in profiles if name not in observed]
    if absent:
        raise BadInput(
            f"There is no column `{absent[0]}` to compare with its profile; give it, or profile the data anew."
        )
    return {name: drift(profile, np.asarray(observed[name], dtype=np.float64)) for name, profile in profiles.items()}


def drift_alerts(found: Drift, thresholds: DriftThresholds, *, subject: str = "") -> tuple[Alert, ...]:
    """What lies beyond its limit, or cannot be judged because nothing was observed.

    Args:
        subject: whose drift it is, for the message.
    """
    figures = found.as_document()
    alerts = []
    for rule in _RULES:
        limit = getattr(thresholds, rule.threshold)
        if limit is not None:
            words = f"{rule.words} of {subject}" if subject else rule.words
            named = Rule(rule.threshold, rule.source, rule.metric, rule.kind, rule.code, words)
            alerts.append(judged(named, figures[rule.metric], limit))
    return tuple(alert for alert in alerts if alert is not None)


def population_stability_index(expected: Floats, counted: Floats) -> float:
    """Σ (p - q) ln(p / q) over cells, half a value added to each; both are counts (k,)."""
    p, q = ((counts + _HALF) / (counts.sum() + _HALF * counts.size) for counts in (counted, expected))
    return float(np.sum((p - q) * np.log(p / q)))


def js_divergence(expected: Floats, counted: Floats) -> float:
    """½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q)/2 in bits (Lin 1991), in [0, 1]; both are counts (k,)."""
    p, q = counted / counted.sum(), expected / expected.sum()
    middle = (p + q) / 2
    apart = 0.0
    for share in (p, q):
        inside = share > 0
        apart += float(np.sum(share[inside] * np.log2(share[inside] / middle[inside]))) / 2
    return min(max(apart, 0.0), 1.0)


def kolmogorov_smirnov(first: Floats, second: Floats) -> float:
    """Largest distance of the distribution functions of two samples, exactly.

    Args:
        first, second: (n,), (m,) ascending, neither empty.
    """
    values = np.concatenate([first, second])
    shares = [np.searchsorted(sample, values, side="right") / sample.size for sample in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _counts(ascending: Floats, edges: Floats) -> Floats:
    below = np.searchsorted(ascending, edges, side="left")
    return np.diff(np.concatenate([[0], below, [ascending.size]])).astype(np.float64)
