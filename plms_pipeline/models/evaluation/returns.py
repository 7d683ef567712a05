"""What did the portfolio earn in each period?

A return is declared simple or logarithmic; figures are computed on simple ones, because only they add up over positions (and
only logarithmic ones over time). Rows of several symbols at one moment are one return of one portfolio: symbols written one
after the other make a path that nobody ever held, with the drawdowns of a market that repeats itself.

A column of prices would have an excellent Sharpe ratio and no drawdown, so what cannot be returns is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plms_pipeline.errors import BadInput, NoData

Floats = NDArray[np.float64]
ReturnKind = Literal["simple", "log"]
Weighting = Literal["mean", "sum"]

TRADING_DAYS: Final = 252.0
# Half of all periods gain or lose more than half of everything: no market does, every price level does.
LARGEST_TYPICAL: Final = 0.5
# Prices of pennies are below that. What earns two percent in every one of thirty periods is no return either.
_NEVER_WITHOUT_LOSS, _ENOUGH = 0.02, 30


@dataclass(frozen=True, slots=True)
class Returns:
    """Simple returns of one portfolio, one per period, in the order of time.

    Attributes:
        values: (n,) finite fractions ≥ -1 (0.01 is one percent; -1 loses everything).
        periods_per_year: periods in a year, by which figures are annualised.
        dropped: periods whose return was not known.
    """

    values: Floats
    periods_per_year: float = TRADING_DAYS
    dropped: int = 0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.periods_per_year) and self.periods_per_year > 0):
            raise BadInput(f"periods_per_year is {self.periods_per_year}; name how many periods a year has, above 0.")


def returns_of(
    values: Floats | pd.Series, *, kind: ReturnKind, periods_per_year: float = TRADING_DAYS, name: str = "returns"
) -> Returns:
    """Returns as the figures need them: simple, known, finite.

    Args:
        values: (n,) fractions in the order of time, NaN where unknown.
        kind: whether they are simple (p1/p0 - 1) or logarithmic (ln p1/p0).
        name: what they are called in errors.

    Raises:
        BadInput: they are infinite, lose more than everything, or are price levels.
    """
    known, dropped = _known(np.asarray(values, dtype=np.float64), kind, name)
    return Returns(known, periods_per_year, dropped)


def paired(
    values: Floats | pd.Series,
    benchmark: Floats | pd.Series,
    *,
    kind: ReturnKind,
    periods_per_year: float = TRADING_DAYS,
) -> tuple[Returns, Returns]:
    """Returns and those of the benchmark in the same periods; a period that either does not know is left out of both.

    Raises:
        BadInput: they are not of equal length, or one of them cannot be returns.
    """
    ours, theirs = np.asarray(values, dtype=np.float64), np.asarray(benchmark, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise BadInput(f"{ours.size} returns and {theirs.size} of the benchmark; give both for the same periods.")
    unknown = np.isnan(ours) | np.isnan(theirs)
    dropped = int(unknown.sum())
    made = [_known(column[~unknown], kind, name)[0] for column, name in ((ours, "returns"), (theirs, "benchmark"))]
    return Returns(made[0], periods_per_year, dropped), Returns(made[1], periods_per_year, dropped)


def portfolio_path(
    frame: pd.DataFrame, column: str, *, timestamp: str, kind: ReturnKind, weighting: Weighting = "mean"
) -> pd.Series:
    """The simple return of the whole portfolio at each moment, indexed by moment in the order of time.

    Args:
        frame: one row per symbol and moment.
        column: the returns; NaN where unknown (the others of that moment count; NaN where none is known).
        timestamp: the column of moments.
        weighting: `mean` for returns on each symbol's own capital (equal weights), `sum` for contributions to one capital.

    Raises:
        BadInput: a column is missing, a moment is missing, or a value cannot be a return.
        NoData: there are no rows.
    """
    for name in (column, timestamp):
        if name not in frame.columns:
            raise BadInput(f"There is no column `{name}`; the frame has {', '.join(map(str, frame.columns))}.")
    if frame.empty:
        raise NoData(f"There are no rows to take `{column}` from.")
    if frame[timestamp].isna().any():
        raise BadInput(
            f"{int(frame[timestamp].isna().sum())} rows have no `{timestamp}`; every return happens at a moment."
        )
    values = numbers(frame, column)
    known = ~np.isnan(values)
    simple = values.copy()
    simple[known] = _known(values, kind, column)[0]
    groups = pd.Series(simple, index=frame.index).groupby(frame[timestamp], sort=True)
    path = groups.mean() if weighting == "mean" else groups.sum(min_count=1)
    return path.rename(column)


def why_not_returns(values: Floats, kind: ReturnKind) -> str | None:
    """Why finite values cannot be returns of one period; None if they can."""
    if not values.size:
        return None
    typical = float(np.median(np.abs(values)))
    if typical > LARGEST_TYPICAL:
        return f"half of them are beyond ±{typical:.3g}, as price levels or amounts of money are"
    if values.size >= _ENOUGH and values.min() > 0 and typical > _NEVER_WITHOUT_LOSS and follows_itself(values) > 0.9:
        return "they never lose and each is close to the last, as price levels are"
    if kind == "simple" and values.min() < -1.0:
        return f"a simple return of {values.min():.3g} loses more than everything"
    return None


def follows_itself(values: Floats) -> float:
    """Correlation of a path with itself one period later; 0 where it does not vary."""
    before, after = values[:-1], values[1:]
    if before.size < 2 or np.ptp(before) == 0 or np.ptp(after) == 0:
        return 0.0
    return float(np.corrcoef(before, after)[0, 1])


def numbers(frame: pd.DataFrame, name: str) -> Floats:
    """A column as numbers (n,), NaN where there is none.

    Raises:
        BadInput: an entry is text, or infinite.
    """
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    try:
        values = pd.to_numeric(frame[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"`{name}` holds something that is no number ({error}); write numbers, or leave it empty."
        ) from error
    if np.isinf(values).any():
        raise BadInput(f"`{name}` holds infinite values; mend what they were made from (a price of zero?).")
    return np.asarray(values)


def _known(values: Floats, kind: ReturnKind, name: str) -> tuple[Floats, int]:
    if values.ndim != 1:
        raise BadInput(f"`{name}` has {values.ndim} dimensions; returns are one number per period.")
    known = values[~np.isnan(values)]
    if np.isinf(known).any():
        raise BadInput(f"`{name}` holds infinite values; mend what they were made from (a price of zero?).")
    reason = why_not_returns(known, kind)
    if reason is not None:
        raise BadInput(
            f"`{name}` are not {kind} returns: {reason}. Give p1/p0 - 1, or ln(p1/p0) declared as log.",
            code="levels_for_returns",
        )
    return (np.expm1(known) if kind == "log" else known), values.size - known.size
