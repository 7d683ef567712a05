"""How good were forecasts, judged against what happened?

Strictly proper scores: an interval or distribution cannot win by being dishonestly narrow or wide (Gneiting and Raftery,
Strictly Proper Scoring Rules, Prediction, and Estimation, JASA 2007). Coverage alone can be had with useless intervals, and the
mean absolute error says nothing about risk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def covered(low: Floats, high: Floats, actual: Floats) -> NDArray[np.bool_]:
    """Whether low ≤ x ≤ high, (n,)."""
    return np.asarray((low <= actual) & (actual <= high))


def winkler(low: Floats, high: Floats, actual: Floats, alpha: float = 0.1) -> Floats:
    """Interval score (Winkler 1972): width, plus 2/α times the distance by which x lies outside. (n,), lower is better."""
    outside = np.maximum(low - actual, 0.0) + np.maximum(actual - high, 0.0)
    return (high - low) + 2.0 / alpha * outside


def crps_of_quantiles(quantiles: Floats, levels: Floats, actual: Floats) -> Floats:
    """Continuous ranked probability score from quantiles: twice the mean pinball loss over equally spaced levels.

    Args:
        quantiles: (n, k) ascending along k, in the unit of `actual`.
        levels: (k,) in (0, 1), equally spaced.
        actual: (n,).

    Returns:
        (n,) in the unit of `actual`; tends to the CRPS as k grows.
    """
    error = actual[:, None] - quantiles
    pinball = np.where(error >= 0, levels, levels - 1.0) * error
    return np.asarray(2.0 * pinball.mean(axis=1))


def pit_histogram(quantiles: Floats, actual: Floats) -> list[float]:
    """Shares of outcomes between neighbouring quantiles; all equal when the forecasts are calibrated.

    Args:
        quantiles: (n, k) ascending along k, of equally spaced levels 1/(k + 1) … k/(k + 1).
        actual: (n,).

    Returns:
        k + 1 shares that add up to 1; empty without outcomes.
    """
    if not actual.size:
        return []
    bins = (actual[:, None] > quantiles).sum(axis=1)
    return [float(count / actual.size) for count in np.bincount(bins, minlength=quantiles.shape[1] + 1)]
