"""In which regime was a symbol at the end of a bar, told by that bar and those before it?

Labels of volatility with the names and bands of the source: the deviation of the last 64 log returns (32 at least) of a symbol,
ranked among its own last 512 such deviations (64 at least). Up to 0.4 is `low_vol`, from 0.75 `high_vol`, between them
`mid_vol`; before there are enough bars it is unknown. The source ranked over the whole sample, so that the label of a day in
2010 changed with the crash of 2020: a report by such a regime tells what nobody could have known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.models.market.bars import Bars, Instants

if TYPE_CHECKING:
    import pandas as pd

NAME: Final = "volatility_regime"
LOW, MIDDLE, HIGH, UNKNOWN = "low_vol", "mid_vol", "high_vol", "volatility_unknown"
LOW_TO, HIGH_FROM = 0.4, 0.75
BARS, FEWEST_BARS = 64, 32
AMONG, FEWEST_AMONG = 512, 64


@dataclass(frozen=True, slots=True, eq=False)
class Regimes:
    """One label for each bar, in the order of the bars."""

    symbols: tuple[str, ...]
    codes: NDArray[np.int32]
    timestamp: Instants
    labels: NDArray[np.object_]

    @property
    def count(self) -> int:
        """How many labels that say something."""
        return int((self.labels != UNKNOWN).sum())

    def frame(self) -> pd.DataFrame:
        """Rows with the columns of the source's table `regimes`: timestamp (UTC), symbol, name, value."""
        import pandas as pd

        return pd.DataFrame(
            {
                "timestamp": pd.DatetimeIndex(self.timestamp, tz="UTC"),
                "symbol": np.array(self.symbols, dtype=object)[self.codes],
                "name": NAME,
                "value": self.labels,
            }
        )

    def of(self, symbols: NDArray[np.object_], moments: Instants) -> NDArray[np.object_]:
        """The labels of rows of these symbols and moments; unknown where there is no such bar."""
        found = np.full(moments.size, UNKNOWN, dtype=object)
        for code, name in enumerate(self.symbols):
            own, rows = np.flatnonzero(self.codes == code), np.flatnonzero(symbols == name)
            if not own.size or not rows.size:
                continue
            place = np.minimum(np.searchsorted(self.timestamp[own], moments[rows]), own.size - 1)
            there = self.timestamp[own][place] == moments[rows]
            found[rows[there]] = self.labels[own[place[there]]]
        return found


def volatility_regimes(bars: Bars) -> Regimes:
    """The regime of every bar."""
    labels = np.full(bars.count, UNKNOWN, dtype=object)
    for _, rows in bars.slices():
        labels[rows] = _labels(np.log(bars.close[rows]))
    return Regimes(bars.symbols, np.asarray(bars.codes), bars.timestamp, labels)


def _labels(log: NDArray[np.float64]) -> NDArray[np.object_]:
    import pandas as pd

    deviation = pd.Series(np.diff(log, prepend=np.nan)).rolling(BARS, min_periods=FEWEST_BARS).std()
    rank = np.asarray(deviation.rolling(AMONG, min_periods=FEWEST_AMONG).rank(pct=True))
    with np.errstate(invalid="ignore"):
        return np.select(
            [np.isnan(rank), rank <= LOW_TO, rank >= HIGH_FROM], [UNKNOWN, LOW, HIGH], default=MIDDLE
        ).astype(object)
