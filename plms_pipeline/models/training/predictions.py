"""What did models say about bars that they had not been trained on, and what came of it?

One row per symbol and bar of the judged blocks, sorted by symbol and time, with the columns of the source so that its tools
read our file: symbol, window_end, start_index, target_timestamp_1, pred_step_1, actual_return_step_1, predicted_return,
realised_return. `realised_return` depends on the model: it is the position taken times the next simple return, less costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from plms_pipeline.models.market.bars import Floats, Instants, Ints
from plms_pipeline.models.training.costs import portfolio

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = (
    "symbol",
    "window_end",
    "start_index",
    "target_timestamp_1",
    "pred_step_1",
    "actual_return_step_1",
    "predicted_return",
    "realised_return",
    "position",
    "turnover",
    "next_return",
    "benchmark_return",
    "split",
)
REGIME: Final = "regime__"
_FEW: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Out-of-sample rows. Units: `score` and `actual` in deviations of the target; returns are fractions.

    `predicted_return` and `actual` are log returns over the horizon (the latter divided by its deviation); `next_return`,
    `realised_return` and `benchmark_return` (mean of all symbols) simple returns from this bar to the next one; `regimes`
    labels by the name of what they tell.
    """

    symbols: tuple[str, ...]
    codes: NDArray[np.int32]
    window_end: Instants
    start_index: Ints
    target_at: Instants
    score: Floats
    actual: Floats
    predicted_return: Floats
    position: Floats
    turnover: Floats
    next_return: Floats
    benchmark_return: Floats
    realised_return: Floats
    split: Ints
    regimes: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many rows."""
        return int(self.score.size)

    def portfolio(self) -> tuple[Instants, Floats]:
        """Realised return per timestamp: the equally weighted mean of the symbols."""
        return portfolio(self.window_end, self.realised_return)

    def benchmark(self) -> tuple[Instants, Floats]:
        """The benchmark's return per timestamp."""
        return portfolio(self.window_end, self.benchmark_return)

    def frame(self) -> pd.DataFrame:
        """The rows with the columns of `COLUMNS` and one for each kind of regime; timestamps aware (UTC)."""
        import pandas as pd

        content = {
            "symbol": np.array(self.symbols, dtype=object)[self.codes],
            "window_end": pd.DatetimeIndex(self.window_end, tz="UTC"),
            "start_index": self.start_index,
            "target_timestamp_1": pd.DatetimeIndex(self.target_at, tz="UTC"),
            "pred_step_1": self.score,
            "actual_return_step_1": self.actual,
            "predicted_return": self.predicted_return,
            "realised_return": self.realised_return,
            "position": self.position,
            "turnover": self.turnover,
            "next_return": self.next_return,
            "benchmark_return": self.benchmark_return,
            "split": self.split,
        }
        labels = {f"{REGIME}{name}": values for name, values in self.regimes.items()}
        return pd.DataFrame({**content, **labels}, columns=[*COLUMNS, *labels])


def information_coefficient(predicted: Floats, actual: Floats) -> float | None:
    """Pearson's correlation; None with under three rows or when one side never varies."""
    if predicted.size < _FEW or np.ptp(predicted) == 0.0 or np.ptp(actual) == 0.0:
        return None
    return float(np.corrcoef(predicted, actual)[0, 1])


def rank_information_coefficient(predicted: Floats, actual: Floats) -> float | None:
    """Spearman's correlation; None with under three rows or when one side never varies."""
    return information_coefficient(rankdata(predicted), rankdata(actual))


def skill(rows: Predictions) -> dict[str, float | int | None]:
    """How good the predictions were, apart from what trading made of them.

    Keys: rows, symbols, information_coefficient, rank_information_coefficient, direction_hit_ratio (share of rows whose
    sign was right, of those that moved), mean_absolute_position, mean_turnover (per row), mean_realised_return and
    mean_realised_return_before_costs (per row).
    """
    moved = (rows.actual != 0.0) & (rows.score != 0.0)
    right = np.sign(rows.score[moved]) == np.sign(rows.actual[moved])
    return {
        "rows": rows.count,
        "symbols": int(np.unique(rows.codes).size),
        "information_coefficient": information_coefficient(rows.score, rows.actual),
        "rank_information_coefficient": rank_information_coefficient(rows.score, rows.actual),
        "direction_hit_ratio": float(right.mean()) if right.size else None,
        "mean_absolute_position": float(np.abs(rows.position).mean()) if rows.count else None,
        "mean_turnover": float(rows.turnover.mean()) if rows.count else None,
        "mean_realised_return": float(rows.realised_return.mean()) if rows.count else None,
        "mean_realised_return_before_costs": float((rows.position * rows.next_return).mean()) if rows.count else None,
    }
