"""What would a candidate have earned under other costs and tighter caps?

The question of the risk lead before an approval with caps. Positions are cut to the cap symbol by symbol, then each traded at
the cost in question; the outcomes stay what they were. It says what the cap would have cost, not what the market would have
done about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.returns import TRADING_DAYS, Floats, numbers, returns_of
from plms_pipeline.models.evaluation.risk import risk_figures


@dataclass(frozen=True, slots=True)
class Scenario:
    """Headline figures under one cost and one cap; None where a figure could not be said.

    Attributes:
        cost: per unit of position traded, as a fraction (0.0001 is one basis point).
        cap: largest size of a symbol's position; None: as predicted.
        sharpe: annualised.
        turnover: position traded per period, averaged over symbols.
    """

    cost: float
    cap: float | None
    sharpe: float | None
    total_return: float | None
    max_drawdown: float | None
    turnover: float

    def as_document(self) -> dict[str, Any]:
        """The scenario, as JSON has it."""
        return asdict(self)


def what_if(
    rows: pd.DataFrame, *, costs: Sequence[float], caps: Sequence[float | None], timestamp: str = "timestamp",
    symbol: str = "symbol", position: str = "position", outcome: str = "outcome", periods_per_year: float = TRADING_DAYS,
) -> tuple[Scenario, ...]:  # fmt: skip
    """Every cost under every cap, on the portfolio of equal weights.

    Args:
        rows: one per symbol and moment: the position held, and the simple return that followed it.
        costs: fractions of what is traded, 0 or more.
        caps: sizes of positions, 0 or more; None for none.

    Returns:
        Scenarios, caps within costs in the order given.

    Raises:
        BadInput: a column is missing, a value unknown, a row there twice, or a cost or cap negative.
        NoData: there are no rows.
    """
    if any(not cost >= 0 for cost in costs) or any(cap is not None and not cap >= 0 for cap in caps):
        raise BadInput("A cost or cap is negative; both are 0 or more.")
    held, followed = (_table(rows, name, timestamp, symbol) for name in (position, outcome))
    found = []
    for cost in costs:
        for cap in caps:
            cut = held if cap is None else np.clip(held, -cap, cap)
            traded = np.abs(np.diff(cut, axis=0, prepend=0.0))
            path = (cut * followed - cost * traded).mean(axis=1)
            figures = risk_figures(returns_of(path, kind="simple", periods_per_year=periods_per_year, name=outcome))
            found.append(
                Scenario(
                    cost, cap, figures["sharpe"], figures["total_return"], figures["max_drawdown"], float(traded.mean())
                )
            )
    return tuple(found)


def _table(rows: pd.DataFrame, name: str, timestamp: str, symbol: str) -> Floats:
    """Moments × symbols; a symbol that is absent holds nothing and returns nothing."""
    for column in (timestamp, symbol, name):
        if column not in rows.columns:
            raise BadInput(f"There is no column `{column}`; what-if needs moment, symbol, position and outcome.")
    if rows.empty:
        raise NoData("There are no positions to ask what-if about.")
    values = numbers(rows, name)
    if np.isnan(values).any():
        raise BadInput(f"{int(np.isnan(values).sum())} rows have no `{name}`; leave out rows that were not traded.")
    if rows.duplicated([timestamp, symbol]).any():
        raise BadInput(f"Rows repeat a `{timestamp}` and `{symbol}`; keep one of each.")
    moments, symbols = pd.factorize(rows[timestamp], sort=True), pd.factorize(rows[symbol], sort=True)
    table = np.zeros((len(moments[1]), len(symbols[1])))
    table[moments[0], symbols[0]] = values
    return table
