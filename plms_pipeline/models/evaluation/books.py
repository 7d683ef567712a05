"""Which positions were held when, as arrays that exposure and turnover are summed from?

The notional of a row is its own or position times price; a row with neither is an error that names the columns, because an
exposure of 0 that was never measured passes every limit. So is a row without a moment, or without a symbol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.returns import Floats, numbers

Codes = NDArray[np.intp]
_KINDS: Final = ("symbol", "sector", "factor")
# No money of the world comes near; beyond it sums and products leave the numbers.
LARGEST_MONEY: Final = 1e36


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a log of positions are called."""

    timestamp: str = "timestamp"
    symbol: str = "symbol"
    notional: str = "notional"
    position: str = "position"
    price: str = "price"
    returns: str = "pnl"
    sector: str = "sector"
    factor: str = "factor"


@dataclass(frozen=True, slots=True)
class Group:
    """Rows by what they belong to: codes (rows,) into `names`, -1 for rows that belong to none."""

    codes: Codes
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Book:
    """A log of positions.

    Attributes:
        moment: (rows,) code of each row's moment, in the order of time.
        moments: how many moments there are.
        notional: (rows,) signed, in money.
        returns: (rows,) in money, NaN where unknown.
        groups: symbol always; sector and factor where the log has them.
        missing: rows without a sector, without a factor; all of them where the column is missing.
        scale: (rows,) what each row was multiplied with so far.
    """

    moment: Codes
    moments: int
    notional: Floats
    returns: Floats
    groups: Mapping[str, Group]
    missing: Mapping[str, int]
    scale: Floats

    @property
    def size(self) -> int:
        """Rows."""
        return self.notional.size

    def scaled(self, ratios: Floats) -> Book:
        """Every row's notional, position and return times its ratio (rows,)."""
        return replace(
            self, notional=self.notional * ratios, returns=self.returns * ratios, scale=self.scale * ratios
        )  # fmt: skip

    def per_moment(self, values: Floats) -> Floats:
        """Sums of the rows of each moment: (moments,)."""
        return np.asarray(np.bincount(self.moment, weights=values, minlength=self.moments), dtype=np.float64)

    def peaks(self, group: Group) -> Floats:
        """The largest sum of absolute notional that each name of a group has at one moment: (names,), in money."""
        inside = group.codes >= 0
        cells = group.codes[inside] * self.moments + self.moment[inside]
        found, where = np.unique(cells, return_inverse=True)
        peaks = np.zeros(len(group.names))
        np.maximum.at(peaks, found // self.moments, np.bincount(where, weights=np.abs(self.notional[inside])))
        return peaks

    def known_returns(self) -> Floats:
        """What each moment returned, of those where every row's return is known."""
        total = self.per_moment(self.returns)
        return total[~np.isnan(total)]

    def turnover(self) -> float:
        """Money moved from one moment to the next, summed over symbols, averaged over moments; the first moves nothing.

        Only what is held is stored: a symbol that is not in the next book is sold, one that was not in the last is bought.
        """
        symbols = self.groups["symbol"].codes
        found, where = np.unique(symbols * self.moments + self.moment, return_inverse=True)
        held = np.bincount(where, weights=self.notional)
        symbol, moment = found // self.moments, found % self.moments
        follows = np.zeros(found.size, dtype=bool)
        follows[1:] = (symbol[1:] == symbol[:-1]) & (moment[1:] == moment[:-1] + 1)
        is_left = np.append(~follows[1:], True) & (moment < self.moments - 1)
        bought = np.abs(held - np.where(follows, np.roll(held, 1), 0.0))[moment > 0].sum()
        return float(bought + np.abs(held[is_left]).sum()) / self.moments

    def as_frame(self, trades: pd.DataFrame, columns: Columns) -> pd.DataFrame:
        """The rows of the log with what was scaled; prices stay."""
        shown = trades.copy()
        shown[columns.notional] = self.notional
        for name in (columns.position, columns.returns):
            if name in shown.columns:
                shown[name] = numbers(trades, name) * self.scale
        return shown


def book_of(trades: pd.DataFrame, columns: Columns) -> Book:
    """A log of positions as arrays.

    Args:
        trades: one row per position and moment.

    Raises:
        BadInput: a row without moment, symbol or notional (its own, or position times price), or an amount that no money
            has; the message names the column.
    """
    for name in (columns.timestamp, columns.symbol):
        missing = int(trades[name].isna().sum()) if name in trades.columns else len(trades)
        refuse_missing(missing, name, "every position has one")
    moment, moments = _coded(trades, columns.timestamp, sort=True)
    groups, absent = {}, {}
    for kind in _KINDS:
        name = getattr(columns, kind)
        absent[kind] = int(trades[name].isna().sum()) if name in trades.columns else len(trades)
        if kind == "symbol" or absent[kind] < len(trades):
            codes, names = _coded(trades, name)
            groups[kind] = Group(codes, tuple(map(str, names)))
    size = len(trades)
    returns = _money(numbers(trades, columns.returns), columns.returns)
    return Book(moment, len(moments), _notional(trades, columns), returns, groups, absent, np.ones(size))


def refuse_missing(count: int, column: str, why: str) -> None:
    """Raises BadInput that names a column, if rows have no value in it."""
    if count:
        raise BadInput(f"{count} rows have no `{column}`, but {why}; give it for every row.", code="missing_column")


def _coded(trades: pd.DataFrame, name: str, *, sort: bool = False) -> tuple[Codes, list[object]]:
    if name not in trades.columns:
        return np.zeros(0, dtype=np.intp), []
    codes, found = pd.factorize(trades[name], sort=sort)
    return np.asarray(codes, dtype=np.intp), list(found)


def _notional(trades: pd.DataFrame, columns: Columns) -> Floats:
    with np.errstate(over="ignore"):
        made = numbers(trades, columns.position) * numbers(trades, columns.price)
    given = numbers(trades, columns.notional)
    notional = np.where(np.isnan(given), made, given)
    unknown = int(np.isnan(notional).sum())
    if unknown:
        raise BadInput(
            f"{unknown} rows have no `{columns.notional}`, and not both `{columns.position}` and `{columns.price}`: their "
            "exposure is unknown. Give the one or the two.",
            code="missing_column",
        )
    return _money(notional, columns.notional)


def _money(values: Floats, column: str) -> Floats:
    beyond = int((np.abs(values) > LARGEST_MONEY).sum())
    if beyond:
        raise BadInput(
            f"`{column}` of {beyond} rows is more than {LARGEST_MONEY:g}, which is no money; correct the unit of the column, "
            "or of position and price.",
            code="implausible_magnitude",
        )
    return values
