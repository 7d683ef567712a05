"""How do bars come from files?

CSV (also .gz) and Parquet of any vendor, recognised by its bytes and read by column names, not positions; the SQLite file of
the source through `store.py`. Cells that cannot be read become NaT and NaN here and are rejected with their row number by
`checks.examine`, so that one broken line does not refuse twenty years.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.intake.files.inspecting import Inspected, inspect, opened
from plms_pipeline.models.market import store
from plms_pipeline.models.market.bars import (
    NUMBERS,
    PRICES,
    UNIT,
    Floats,
    RawBars,
)
from plms_pipeline.models.market.vocabulary import REQUIRED, columns_of

MAX_TABLE_BYTES: Final = 4 << 30
_SQLITE: Final = b"SQLite format 3\x00"
_UNKNOWN: Final = ["", "null", "NULL", "None", "nan", "NaN", "NA", "N/A", "-"]


def read_prices(
    path: Path, *, symbol: str | None = None, adjusted: bool = False, signals: Sequence[str] | None = None
) -> RawBars:
    """The rows of a file of prices, unchecked.

    Args:
        path: CSV, CSV.gz or Parquet with the columns of `vocabulary.NAMES`, or an SQLite file with the table `series`.
        symbol: of a file without a symbol column; when omitted, of the file's name (`sp500_daily.csv` → SP500).
        adjusted: scale open, high, low and close so that the close is the adjusted close of the file.
        signals: columns of further signals to keep; those called `alt` or `alt_…` when omitted.

    Raises:
        BadInput: there is no such file, it is no table, or a column is missing or stands twice.
    """
    if is_sqlite(path):
        return store.read_series(str(path.resolve()))
    inspected = inspect(path, REQUIRED)
    table = _parquet(inspected) if inspected.kind == "parquet" else _csv(inspected)
    names = columns_of(table.column_names, inspected.thing)
    if adjusted and "adjusted" not in names:
        raise BadInput(
            f"{inspected.thing} has no adjusted close; leave --adjusted out, or add the column.", code="missing_column"
        )
    timestamp = _instants(table.column(names["timestamp"]), inspected.thing)
    numbers = {
        name: _numbers(table.column(names[name])) if name in names else np.zeros(timestamp.size) for name in NUMBERS
    }
    if adjusted:
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = _numbers(table.column(names["adjusted"])) / numbers["close"]
        numbers |= {name: numbers[name] * factor for name in PRICES}
    if "symbol" in names:
        symbols = _texts(table.column(names["symbol"]), inspected.thing)
    else:
        symbols = np.full(timestamp.size, symbol or _symbol_of(path), dtype=object)
    extras = {
        name: _numbers(table.column(name)) for name in sorted(_signals(table.column_names, signals, inspected.thing))
    }
    return RawBars(timestamp, symbols, numbers, extras)


def _signals(header: Sequence[str], asked: Sequence[str] | None, thing: str) -> set[str]:
    if asked is None:
        return {name for name in header if name.lower() == "alt" or name.lower().startswith("alt_")}
    missing = [name for name in asked if name not in header]
    if missing:
        raise BadInput(
            f"{thing} has no column {', '.join(missing)}; name signals as its header does.", code="missing_column"
        )
    return set(asked)


def is_sqlite(path: Path) -> bool:
    """Whether the file begins as an SQLite database does; false if it cannot be read."""
    try:
        with path.open("rb") as handle:
            return handle.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _symbol_of(path: Path) -> str:
    return path.name.split(".")[0].split("_")[0].upper() or "UNNAMED"


def _csv(inspected: Inspected) -> pa.Table:
    if inspected.kind != "csv":
        raise BadInput(
            f"{inspected.thing} holds JSON lines; prices come as CSV (also .gz), Parquet or SQLite.",
            code="wrong_format",
        )
    try:
        with opened(inspected) as stream:
            # All cells as text first: Arrow's own guess of a type refuses the whole file for one bad cell.
            header = _header(stream.readline(1 << 20))
            options = pacsv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), null_values=_UNKNOWN, strings_can_be_null=True
            )
            reader = pacsv.open_csv(stream, pacsv.ReadOptions(column_names=header), convert_options=options)
            batches, size = [], 0
            for batch in reader:
                size += batch.nbytes
                if size > MAX_TABLE_BYTES:
                    raise BadInput(
                        f"{inspected.thing} holds over 4 GiB of prices; split it by symbol.", code="too_large"
                    )
                batches.append(batch)
            return pa.Table.from_batches(batches, schema=reader.schema)
    except (ValueError, csv.Error) as error:
        # Arrow's errors and those of decoding are ValueErrors too.
        first = str(error).splitlines()[0]
        if first == "Empty CSV file":
            raise NoData(
                f"{inspected.thing} has a first line and no row under it; prices need a header and a row for each bar.",
                code="no_rows",
            ) from None
        raise BadInput(
            f"{inspected.thing} is no CSV of prices ({first}); correct that line.", code="not_a_table"
        ) from None


def _header(line: bytes) -> list[str]:
    # Files of old Macs end their lines with a bare carriage return, which Arrow does not know.
    if b"\r" in line.rstrip(b"\r\n"):
        raise ValueError("its lines end with a bare carriage return; end them with a line feed")
    names = next(csv.reader([line.decode("utf-8-sig")]), [])
    separator = next((sign for sign in ";\t|" if len(names) == 1 and sign in names[0]), None)
    if separator is not None:
        raise ValueError(f"cells are separated by {separator!r} and must be by commas")
    return [name.strip() or f"column {place}" for place, name in enumerate(names, start=1)]


def _parquet(inspected: Inspected) -> pa.Table:
    try:
        file = pq.ParquetFile(inspected.path)
        if sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)) > MAX_TABLE_BYTES:
            raise BadInput(f"{inspected.thing} holds over 4 GiB of prices; split it by symbol.", code="too_large")
        return file.read()
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(
            f"{inspected.thing} is a damaged Parquet file ({error}); write it again.", code="damaged"
        ) from None


def _instants(column: pa.ChunkedArray, thing: str) -> Any:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # Aware instants are stored in UTC by Arrow; naive ones are taken for it.
        return column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).to_numpy().astype(UNIT)
    if not _is_text(kind):
        raise BadInput(
            f"{thing} has timestamps of type {kind}; give ISO 8601 (2024-01-31 or 2024-01-31T16:00:00+00:00) or Parquet "
            "timestamps.",
            code="bad_timestamps",
        )
    return _parsed(column, thing)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _parsed(column: pa.ChunkedArray, thing: str) -> Any:
    import pandas as pd

    texts = column.to_pandas()
    times = pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601")
    if len(times) and times.isna().all():
        raise BadInput(
            f"{thing} has no readable timestamp (the first is {texts.iloc[0]!r}); write them as ISO 8601, 2024-01-31 or "
            "2024-01-31T16:00:00+00:00. A time without a zone is UTC.",
            code="bad_timestamps",
        )
    return times.dt.tz_localize(None).to_numpy().astype(UNIT)


def _numbers(column: pa.ChunkedArray) -> Floats:
    if _is_text(column.type):
        import pandas as pd

        return np.asarray(
            pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        )
    try:
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.full(len(column), np.nan)


def _texts(column: pa.ChunkedArray, thing: str) -> Any:
    try:
        return pc.fill_null(column.cast(pa.string()), "").to_numpy(zero_copy_only=False).astype(object)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        raise BadInput(
            f"{thing} has symbols of type {column.type} that are no text; write them as UTF-8 text.", code="bad_symbols"
        ) from None
