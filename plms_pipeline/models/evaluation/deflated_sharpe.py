"""How probable is it that a Sharpe ratio is more than luck, given how many were tried?

Of a hundred worthless strategies the best looks good. The probabilistic Sharpe ratio is the probability that the true ratio
lies above a bar, given length, skewness and tails of what was seen; the deflated one takes as bar what the best of so many
worthless trials is expected to show (Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio
Management 40(5), 2014, equations 1 and 2). All ratios here are per period.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.returns import Floats
from plms_pipeline.models.evaluation.risk import deviation

EULER_MASCHERONI: Final = 0.5772156649015329
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """The Sharpe ratio of a path against luck.

    Attributes:
        sharpe: per period, deviations of a sample.
        probabilistic: probability that the true ratio is above 0.
        expected_best: what the best of the worthless trials is expected to show, per period.
        deflated: probability that the true ratio is above that.
    """

    sharpe: float
    probabilistic: float
    expected_best: float
    deflated: float


def probabilistic_sharpe(sharpe: float, bar: float, *, n: int, skewness: float = 0.0, kurtosis: float = 3.0) -> float:
    """P(true ratio > bar): Φ((SR - SR*) √(n - 1) / √(1 - γ₃ SR + (γ₄ - 1)/4 SR²)).

    Args:
        sharpe, bar: ratios per period.
        n: periods seen, at least 2.
        skewness, kurtosis: γ₃ and γ₄ of the returns (3 is normal).

    Raises:
        BadInput: fewer than two periods, or moments that no distribution has.
    """
    if n < 2:
        raise BadInput(f"{n} returns say nothing of a Sharpe ratio; two are the least.")
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if variance < -_ROUNDING:
        raise BadInput(f"Skewness {skewness:.3g} and kurtosis {kurtosis:.3g} are of no distribution: γ₄ ≥ γ₃² + 1.")
    return float(ndtr((sharpe - bar) * math.sqrt(n - 1) / math.sqrt(max(variance, _ROUNDING))))


def expected_best_sharpe(trials: int, variance: float) -> float:
    """What the best of `trials` worthless and independent strategies is expected to show, per period.

    √V ((1 - γ) Φ⁻¹(1 - 1/N) + γ Φ⁻¹(1 - 1/(N e))), γ the constant of Euler and Mascheroni; 0 for a single trial.

    Args:
        trials: how many were tried, those that were thrown away included.
        variance: of the trials' ratios.

    Raises:
        BadInput: no trial, or a negative variance.
    """
    if trials < 1 or variance < 0:
        raise BadInput(f"{trials} trials with variance {variance}: count at least the one that is judged.")
    if trials == 1:
        return 0.0
    likely = (1 - EULER_MASCHERONI) * ndtri(1 - 1 / trials) + EULER_MASCHERONI * ndtri(1 - 1 / (trials * math.e))
    # For two trials Φ⁻¹(1/2) is 0; the best of several is never expected below a single one.
    return math.sqrt(variance) * max(0.0, float(likely))


def deflated_sharpe(returns: Floats, *, trials: int, variance: float | None = None) -> DeflatedSharpe | None:
    """The Sharpe ratio of a path and how probable it is that it is more than luck.

    Args:
        returns: (n,) simple returns per period.
        trials: how many were tried, this one included.
        variance: of the trials' ratios per period; None: that of estimating a ratio of 0 from n returns, 1 / (n - 1).

    Returns:
        None where there is no Sharpe ratio: fewer than two returns, or all the same.

    Raises:
        BadInput: no trial.
    """
    spread = deviation(returns)
    if spread is None:
        return None
    n = returns.size
    mean = float(returns.mean())
    standard = (returns - mean) / float(returns.std())
    skewness, kurtosis = float(np.mean(standard**3)), float(np.mean(standard**4))
    sharpe = mean / spread
    best = expected_best_sharpe(trials, 1.0 / (n - 1) if variance is None else variance)
    of = [probabilistic_sharpe(sharpe, bar, n=n, skewness=skewness, kurtosis=kurtosis) for bar in (0.0, best)]
    return DeflatedSharpe(sharpe, of[0], best, of[1])
