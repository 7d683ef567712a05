"""Did a challenger earn more than the training that it was trained against?

Both are judged on the same moments, so the difference of a moment is one number, and how sure its mean is comes from blocks of
such differences. Two Sharpe ratios side by side say less: they move together, and the larger one is larger half of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.errors import NoData
from plms_pipeline.models.evaluation.bootstrap import LEVEL, RESAMPLES, SEED, Interval, bootstrap
from plms_pipeline.models.evaluation.returns import Floats, Returns
from plms_pipeline.models.evaluation.risk import risk_figures


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A path: moments ascending, the simple return of each, and the fold that judged it."""

    moments: NDArray[np.datetime64]
    values: Floats
    fold: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Compared:
    """Figures of both on the moments that both were judged on; `difference` is that of the mean returns per period."""

    moments: int
    first: str
    last: str
    challenger: dict[str, float | None]
    training: dict[str, float | None]
    difference: Interval

    @property
    def sentence(self) -> str:
        """For people."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return "whether the challenger earns more than the training cannot be said: too few moments"
        if low > 0.0:
            return "the challenger earned more than the training, beyond chance"
        if high < 0.0:
            return "the challenger earned less than the training, beyond chance"
        return "the challenger earned neither more nor less than the training beyond chance"

    def as_document(self, note: str) -> dict[str, Any]:
        """As JSON has it: the challenger's figures under the names of the source, and beside them the training's."""
        return {
            "kind": "challenger",
            "note": note,
            "sentence": self.sentence,
            "moments": self.moments,
            "first": self.first,
            "last": self.last,
            **self.challenger,
            "training": self.training,
            "difference_per_period": self.difference.as_document(),
        }


def compared(challenger: Judged, training: Judged, *, resamples: int = RESAMPLES, seed: int = SEED) -> Compared:
    """Compare two paths.

    Raises:
        NoData: they have no moment in common.
    """
    moments, ours, theirs = np.intersect1d(challenger.moments, training.moments, return_indices=True)
    if not moments.size:
        raise NoData("Challenger and training were judged on no moment in common; give them the same features.")
    apart = challenger.values[ours] - training.values[theirs]
    resampled = bootstrap(Returns(apart), resamples=resamples, seed=seed, level=LEVEL)
    return Compared(
        int(moments.size), str(moments[0])[:19], str(moments[-1])[:19],
        _figures(challenger, ours), _figures(training, theirs), resampled.intervals["average_return"],
    )  # fmt: skip


def _figures(path: Judged, rows: NDArray[np.intp]) -> dict[str, float | None]:
    """The names of the source; ROI is the total return of a fold, its mean and deviation are over the folds."""
    values, fold = path.values[rows], path.fold[rows]
    roi = np.array([np.prod(1.0 + values[fold == number]) - 1.0 for number in np.unique(fold)])
    risk = risk_figures(Returns(values))
    return {
        "roi_mean": float(roi.mean()),
        "roi_std": float(roi.std(ddof=1)) if roi.size > 1 else None,
        "total_return": risk["total_return"],
        "sharpe": risk["sharpe"],
        "sortino": risk["sortino"],
        "max_drawdown": risk["max_drawdown"],
        "cvar": risk["expected_shortfall"],
    }
