"""What does the Parquet file of one day of receipts hold, and when are two such files equal?

A day's receipts joined with what the calibration policy asks of their runs, in canonical order (completed_at, natural key), so
that whoever reads the file needs no database. Ids and recording times are left out: a registry rebuilt from the same
sources gives the same bytes. The digest is taken over values, not over Parquet, whose bytes change with its library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plms_pipeline.intake.daycolumns import COLUMNS, MOMENT

SCHEMA_VERSION: Final = "1"
VERSION_KEY: Final = b"plms.schema_version"
ROWS_KEY: Final = b"plms.rows_sha256"
DAY_KEY: Final = b"plms.day"
ORDER: Final = (("completed_at", "ascending"), ("natural_key", "ascending"), ("attempt", "ascending"))

_TYPES: Final = {
    "string": pa.string(), "int32": pa.int32(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_(),
    "decimal128(14, 6)": pa.decimal128(14, 6), MOMENT: pa.timestamp("us", tz="UTC"),
}  # fmt: skip
SCHEMA: Final = pa.schema([pa.field(column.name, _TYPES[column.kind], column.is_nullable) for column in COLUMNS])


def day_table(chunks: Iterable[Sequence[Sequence[Any]]], day: date) -> pa.Table:
    """The table of one day in canonical order, with schema version, day and row digest in its metadata.

    Args:
        chunks: rows in the order of `COLUMNS`, in any order among themselves; each chunk becomes Arrow before the next is read.
    """
    table = pa.Table.from_batches([_record_batch(chunk) for chunk in chunks if chunk], schema=SCHEMA)
    # Arrow compares text by bytes; ORDER BY would follow the collation of whatever server it is.
    table = table.take(pc.sort_indices(table, sort_keys=list(ORDER))).combine_chunks()
    return table.replace_schema_metadata(
        {VERSION_KEY: SCHEMA_VERSION.encode(), DAY_KEY: day.isoformat().encode(), ROWS_KEY: rows_sha256(table).encode()}
    )


def _record_batch(rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def rows_sha256(table: pa.Table) -> str:
    """SHA-256 of a table's values, column by column in schema order: which are null, then the values of the others.

    Fixed-width values count as their little-endian bytes, text as its lengths (uint32) and its UTF-8, booleans as one byte,
    decimals as text.
    """
    digest = hashlib.sha256(f"plms-rows/{SCHEMA_VERSION}:{table.num_rows}".encode())
    for field in table.schema:
        column = table[field.name]
        digest.update(f"{field.name}:{field.type}".encode())
        digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
        _feed(digest, column.drop_null())
    return digest.hexdigest()


def _feed(digest: Any, column: pa.ChunkedArray) -> None:
    kind = column.type
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.string()), pa.string()
    if pa.types.is_string(kind):
        digest.update(pc.binary_length(column.cast(pa.binary())).to_numpy().astype("<u4").tobytes())
        for chunk in column.chunks:
            digest.update("".join(chunk.to_pylist()).encode())
    elif pa.types.is_boolean(kind):
        digest.update(column.to_numpy().astype("u1").tobytes())
    elif pa.types.is_timestamp(kind):
        digest.update(column.cast(pa.int64()).to_numpy().astype("<i8").tobytes())
    else:
        numbers = column.to_numpy()
        digest.update(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes())
