"""How are bars kept, and what is written for people?

Our own Parquet carries the content hash, which is compared when it is read; snapshots lie under that hash. Every file appears
whole or not at all.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from plms_pipeline.errors import BadInput, NotFound
from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.models.market.bars import COLUMNS, UNIT, Bars, RawBars, canonical, content_hash, from_frame
from plms_pipeline.models.market.checks import Rejected

_HASH_KEY: Final = b"plms_content_hash"
# What begins with one of these is a formula to whoever opens the file in a spreadsheet.
_FORMULA: Final = ("=", "+", "-", "@")


def write_bars(path: Path, bars: Bars) -> str:
    """Keep bars as Parquet, whole or not at all; the same bars give the same bytes.

    Returns:
        Their content hash.
    """
    digest = content_hash(bars)
    names = pa.DictionaryArray.from_arrays(pa.array(bars.codes), pa.array(list(bars.symbols), pa.string()))
    table = pa.table(
        {
            "timestamp": pa.array(bars.timestamp.astype(UNIT), pa.timestamp("us", "UTC")),
            "symbol": names.cast(pa.string()),
            **bars.numbers(),
            **bars.extras,
        }
    ).replace_schema_metadata({_HASH_KEY: digest.encode(), b"schema_version": b"1"})
    with replacing(path) as stream:
        pq.write_table(table, stream, compression="zstd")
    return digest


def snapshot(root: Path, bars: Bars) -> tuple[Path, str]:
    """Keep bars below `root` under their content hash, once: what a training used can be found and compared for ever.

    Returns:
        Where they lie, and their hash.
    """
    digest = content_hash(bars)
    path = root / f"{digest}.parquet"
    try:
        read_bars(path)
        # Whoever takes bars to train on counts as somebody who needs them: a purge goes by the age of the file.
        path.touch()
    except (NotFound, BadInput):
        # Not there yet, or damaged since: written (again).
        write_bars(path, bars)
    return path, digest


def write_prices(path: Path, raw: RawBars) -> None:
    """Write rows as a CSV file (gzipped when the name ends in .gz), as a vendor would send them: for demonstrations."""
    names = [name.encode("unicode_escape").decode() for name in map(str, raw.symbol.tolist())]
    table = pa.table(
        {"timestamp": pa.array(raw.timestamp, pa.timestamp("us")), "symbol": names, **raw.numbers, **raw.extras}
    )
    with replacing(path) as stream:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=stream, mode="wb", filename="", mtime=0) as packed:
                pacsv.write_csv(table, packed)
        else:
            pacsv.write_csv(table, stream)


def write_rejected(path: Path, rejected: Rejected) -> None:
    """Keep the rows that were taken out, each with the name of the rule that it broke, as CSV."""
    rows = rejected.rows
    symbols = [str(name).encode("unicode_escape").decode() for name in rows.symbol.tolist()]
    table = pa.table(
        {
            "row": rows.line,
            "reason": list(rejected.reasons),
            "timestamp": pa.array(rows.timestamp, pa.timestamp("us")),
            "symbol": [f"'{name}" if name[:1] in _FORMULA else name for name in symbols],
            **rows.numbers,
        }
    )
    with replacing(path) as stream:
        pacsv.write_csv(table, stream)


def read_bars(path: Path, names: Sequence[str] = COLUMNS) -> Bars:
    """The bars that `write_bars` kept.

    Raises:
        NotFound: there is no such file.
        BadInput: it is damaged, was not written by us, or its content is not what its hash says.
    """
    try:
        table = pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise NotFound(
            f"There are no bars at {path}; `plms retrain --dataset FILE` keeps what it trains on.", code="no_bars"
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path} is damaged ({error}); import the prices again.", code="damaged") from None
    said = (table.schema.metadata or {}).get(_HASH_KEY, b"").decode()
    if any(name not in table.column_names for name in names):
        raise BadInput(f"{path} holds no bars of ours; `plms retrain --dataset FILE` keeps them anew.", code="damaged")
    bars = canonical(from_frame(table.to_pandas()))
    if content_hash(bars) != said:
        raise BadInput(f"{path} was changed after it was written; import the prices again.", code="altered")
    return bars
