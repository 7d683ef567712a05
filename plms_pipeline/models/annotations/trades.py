"""What is a trade of the log that annotations speak about, and how is a table of them read?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plms_pipeline.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

SIDES: Final = ("long", "short", "flat")
COLUMNS: Final = ("timestamp", "symbol", "side", "size", "price")
OPTIONAL: Final = ("fees", "slippage_bp", "pnl")
# Of a log of positions, as guardrails and `--eval-trades` read it.
POSITION_COLUMNS: Final = ("timestamp", "symbol", "position", "price", "notional", "pnl")
_SIGNS: Final = {"long": 1.0, "short": -1.0, "flat": 0.0}


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade; `trade_id` None: the registry gives one. Units: size in pieces, price and fees and pnl in money."""

    trade_id: int | None
    timestamp: datetime
    symbol: str
    side: str
    size: float
    price: float
    fees: float | None = None
    slippage_bp: float | None = None
    pnl: float | None = None

    @property
    def notional(self) -> float:
        """Signed, in money: what guardrails measure."""
        return _SIGNS[self.side] * self.size * self.price

    def as_position(self) -> dict[str, Any]:
        """The trade as a row of a log of positions: `POSITION_COLUMNS`, what is unknown None."""
        return {
            "timestamp": self.timestamp.isoformat(), "symbol": self.symbol, "position": _SIGNS[self.side] * self.size,
            "price": self.price, "notional": self.notional, "pnl": self.pnl,
        }  # fmt: skip


def trades_of(frame: pd.DataFrame) -> list[Trade]:
    """The trades in a table with the source's columns.

    Raises:
        BadInput: a column is missing, or a row has no moment, an unknown side, or no finite size and price.
    """
    import pandas as pd

    from plms_pipeline.models.evaluation.returns import numbers  # with pandas, which a web server need not import

    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise BadInput(
            f"The trades have no column {', '.join(missing)}; needed are {', '.join(COLUMNS)}.", code="missing_column"
        )
    times = pd.to_datetime(frame["timestamp"].astype(str), utc=True, errors="coerce", format="ISO8601")
    columns = {name: numbers(frame, name) for name in ("size", "price", *OPTIONAL, "trade_id")}
    sides = frame["side"].astype(str).str.strip().str.lower().to_numpy()
    for words, broken in (
        ("readable timestamp", times.isna().to_numpy()),
        ("symbol", (frame["symbol"].isna() | (frame["symbol"].astype(str).str.strip() == "")).to_numpy()),
        (f"side of {', '.join(SIDES)}", ~np.isin(sides.astype(str), SIDES)),
        ("size and price", np.isnan(columns["size"] + columns["price"])),
    ):
        if broken.any():
            raise BadInput(
                f"{int(broken.sum())} trades have no {words}; the first is row {int(np.flatnonzero(broken)[0]) + 1}.",
                code="bad_trades",
            )
    return [
        Trade(
            _whole(columns["trade_id"][place]), moment.to_pydatetime().astimezone(UTC), str(symbol).strip(),
            str(sides[place]), float(columns["size"][place]), float(columns["price"][place]),
            *(_known(columns[name][place]) for name in OPTIONAL),
        )
        for place, (moment, symbol) in enumerate(zip(times, frame["symbol"], strict=True))
    ]  # fmt: skip


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _whole(value: float) -> int | None:
    return None if np.isnan(value) else int(value)
