"""How are predictions of anybody read as one path of a portfolio?

Ours have `window_end`, the source's too, other people's `timestamp`; a log of one symbol has no symbol column. It is read as
`evaluation.summary` reads it, so that a report on our own run shows the very figures of its summary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.returns import (
    ReturnKind,
    Weighting,
    numbers,
    paired,
    portfolio_path,
    returns_of,
)
from plms_pipeline.models.reporting.figures import Path

TIMESTAMPS: Final = ("timestamp", "window_end", "target_timestamp_1", "date")
SYMBOL: Final = "symbol"
ALONE: Final = "(all)"
# Epochs of JSON in seconds, milli-, micro- or nanoseconds: no market reached so far in the next smaller unit.
_UNITS: Final[tuple[tuple[float, Literal["s", "ms", "us", "ns"]], ...]] = (
    (1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Columns:
    """What columns of predictions are called, and what they hold; `timestamp` None: the first of `TIMESTAMPS` that is there."""

    returns: str = "realised_return"
    benchmark: str | None = None
    timestamp: str | None = None
    kind: ReturnKind = "simple"
    weighting: Weighting = "mean"
    periods_per_year: float = 252.0


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Predictions as a report reads them: `frame` has `timestamp` (aware), `symbol`, `value` (simple returns) and the rest."""

    frame: pd.DataFrame
    path: Path


def rows_of(predictions: pd.DataFrame, columns: Columns) -> Rows:
    """Predictions with canonical columns, and the path that they make.

    Raises:
        BadInput: a column is missing, a moment cannot be read, a row is there twice, or what should be returns cannot be.
        NoData: there are no rows, or none has a return.
    """
    if predictions.empty:
        raise NoData("The predictions have no rows; evaluate the model first.")
    for name in (columns.returns, *([columns.benchmark] if columns.benchmark else [])):
        if name not in predictions.columns:
            raise BadInput(
                f"The predictions have no column `{name}` (they have {_some(predictions)}); name it with --return-column or "
                "--benchmark-column.",
                code="missing_column",
            )
    returns_of(numbers(predictions, columns.returns), kind=columns.kind, name=columns.returns)
    values = numbers(predictions, columns.returns)
    frame = predictions.reset_index(drop=True).assign(
        timestamp=moments_of(predictions, columns.timestamp),
        symbol=predictions[SYMBOL].astype(str).to_numpy() if SYMBOL in predictions.columns else ALONE,
        value=np.expm1(values) if columns.kind == "log" else values,
    )
    twice = int(frame.duplicated(["timestamp", "symbol"]).sum())
    if twice:
        raise BadInput(
            f"{twice} rows repeat a moment and symbol, and would count twice; keep one of each.", code="duplicate_rows"
        )
    return Rows(frame, _path(frame, columns))


def _path(frame: pd.DataFrame, columns: Columns) -> Path:
    path = portfolio_path(frame, "value", timestamp="timestamp", kind="simple", weighting=columns.weighting)
    if not path.notna().any():
        raise NoData(f"Not one value of `{columns.returns}` is known; evaluate the model again.")
    a_year = columns.periods_per_year
    if columns.benchmark is None:
        made = returns_of(path, kind="simple", periods_per_year=a_year, name=columns.returns)
        return Path(_texts(path.index[path.notna()]), made, None)
    against = portfolio_path(frame, columns.benchmark, timestamp="timestamp", kind=columns.kind)
    ours, theirs = paired(path, against, kind="simple", periods_per_year=a_year)
    return Path(_texts(path.index[path.notna() & against.notna()]), ours, theirs)


def _texts(moments: pd.Index) -> tuple[str, ...]:
    times = pd.DatetimeIndex(moments)
    daily = bool((times == times.normalize()).all())
    return tuple(times.strftime("%Y-%m-%d" if daily else "%Y-%m-%d %H:%M:%S").tolist())


def moments_of(
    predictions: pd.DataFrame, asked: str | None, *, what: str = "predictions", flag: str = "--timestamp-column"
) -> pd.Series:
    """The moment of each row, aware (UTC).

    Args:
        asked: its column; the first of `TIMESTAMPS` that is there when None.
        what: the rows are, for messages.
        flag: by which the column is named.

    Raises:
        BadInput: there is no such column, or a moment cannot be read.
    """
    name = asked or next((one for one in TIMESTAMPS if one in predictions.columns), None)
    if name is None or name not in predictions.columns:
        raise BadInput(
            f"The {what} have no column {f'`{asked}`' if asked else 'of moments (' + ', '.join(TIMESTAMPS) + ')'}; they "
            f"have {_some(predictions)}. Name it with {flag}.",
            code="missing_column",
        )
    column = predictions[name].reset_index(drop=True)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        largest = float(column.abs().max())
        unit = next(unit for limit, unit in _UNITS if not largest > limit)
        times = pd.to_datetime(column, unit=unit, utc=True, errors="coerce")
    else:
        texts = column.astype(str).where(column.notna()) if column.dtype == object else column
        times = pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601")
    unread = int(times.isna().sum())
    if unread:
        raise BadInput(
            f"{unread} rows have no readable `{name}` (the first: {column[times.isna()].iloc[0]!r}); write ISO 8601, in UTC "
            "or with a zone.",
            code="bad_timestamps",
        )
    return times


def _some(predictions: pd.DataFrame) -> str:
    names = [str(name) for name in predictions.columns]
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
