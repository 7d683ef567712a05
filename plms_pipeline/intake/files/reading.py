"""How does a file become batches of text, whatever its format, in memory that does not grow with it?

CSV through the bounded record reader, Parquet by Arrow's own batches, JSON lines one object at a time; all end as the same
text cells (batch.py). Only the columns that a plan reads are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from plms_pipeline.errors import BadInput
from plms_pipeline.intake.batch import BATCH_ROWS, RawBatch
from plms_pipeline.intake.files.inspecting import Inspected, opened, remedy
from plms_pipeline.intake.files.lines import CELL_CHARACTERS, LINE_BYTES, Line, lines, records
from plms_pipeline.intake.mapping import Flat, Source
from plms_pipeline.intake.reasons import Reason, Rejected, rejected

# OTLP puts many spans on one line.
JSON_LINE_BYTES: Final = 16 * LINE_BYTES
LONGEST: Final = f"a line has at most {LINE_BYTES:,} bytes, a cell {CELL_CHARACTERS:,} characters"
SAMPLE_ROWS: Final = 1_000
SHOWN: Final = 200
Flatten = Callable[[Flat], list[Flat]]


def columns_of(inspected: Inspected, source: Source) -> tuple[str, ...]:
    """The column names of a file; for JSON lines those of its first thousand rows.

    Raises:
        BadInput: the header is not text, is empty or names a column twice; the Parquet file is damaged; of JSON lines none
            is what the source expects.
    """
    if inspected.kind == "parquet":
        return tuple(str(name) for name in _parquet(inspected).schema_arrow.names)
    if inspected.kind == "jsonl":
        return _names(inspected, source)
    return _header(inspected, source)


def _names(inspected: Inspected, source: Source) -> tuple[str, ...]:
    names: dict[str, None] = {}
    is_json = False
    for count, (_, flats) in enumerate(_json_rows(inspected, source)):
        is_json = is_json or flats is not None
        for flat in flats or ():
            names.update(dict.fromkeys(str(name) for name in flat))
        if count >= SAMPLE_ROWS:
            break
    if not is_json:
        raise BadInput(
            f"{inspected.path} has no line that is a JSON object; each line must be {source.line}. Objects that are spread "
            "over several lines become one each with `jq -c . FILE`.",
            code="not_json_lines",
        )
    if not names:
        raise BadInput(
            f"{inspected.path} holds no row for a {source.describes} in its first {SAMPLE_ROWS:,} lines; each line must be "
            f"{source.line}.",
            code="no_rows",
        )
    return tuple(names)


def read(inspected: Inspected, source: Source, columns: Sequence[str], size: int = BATCH_ROWS) -> Iterator[RawBatch]:
    """The rows of a file in batches of at most `size`, with the cells of `columns` only."""
    readers = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}
    return readers[inspected.kind](inspected, source, columns, size)


def _header(inspected: Inspected, source: Source) -> tuple[str, ...]:
    with opened(inspected) as stream:
        record = next(records(lines(stream)), None)
    if record is None or record.cells is None:
        raise BadInput(f"{inspected.path} has no header row. {remedy(source.required)}", code="not_a_table")
    names = tuple(cell.strip() for cell in record.cells)
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(
            f"{inspected.path} has the column {twice!r} twice; a column's name must be unique, rename one.",
            code="duplicate_column",
        )
    if len(names) == 1:
        separator = next((sign for sign in ";\t|" if sign in names[0]), None)
        if separator is not None:
            raise BadInput(
                f"{inspected.path} is separated by {separator!r}; cells must be separated by commas. "
                f"{remedy(source.required)}",
                code="wrong_separator",
            )
    if not all(name.isprintable() for name in names):
        raise BadInput(f"{inspected.path} has no readable header row. {remedy(source.required)}", code="not_a_table")
    return names


class _Batcher:
    """Collects cells until a batch is full."""

    def __init__(self, columns: Sequence[str], size: int) -> None:
        self.columns = tuple(columns)
        self.size = size
        self.first = 0
        self.lines: list[int] = []
        self.rows: list[tuple[str, ...]] = []
        self.broken: list[Rejected] = []

    @property
    def is_full(self) -> bool:
        return len(self.rows) + len(self.broken) >= self.size

    def take(self) -> RawBatch:
        cells = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        batch = RawBatch(self.first, self.lines, dict(zip(self.columns, cells, strict=True)), self.broken)
        self.first += len(self.rows)
        self.lines, self.rows, self.broken = [], [], []
        return batch


def _read_csv(inspected: Inspected, source: Source, columns: Sequence[str], size: int) -> Iterator[RawBatch]:
    names = _header(inspected, source)
    places = [names.index(column) for column in columns]
    width = len(names)
    batcher = _Batcher(columns, size)

    def may_span(cells: list[str]) -> bool:
        # No cell that we read may hold a line break: then a quote was left open, and the rows behind it are rows.
        return len(cells) == width and not any("\n" in cells[place] for place in places)

    with opened(inspected) as stream:
        source_lines = lines(stream)
        next(records(source_lines))
        for line, cells, text, is_too_long in records(source_lines, may_span):
            if cells is None:
                reason, detail = (Reason.TOO_LONG, LONGEST) if is_too_long else (Reason.BAD_QUOTING, "")
                batcher.broken.append(rejected(line, "", text[:SHOWN].rstrip("\r\n"), reason, detail))
            elif len(cells) != width:
                detail = f"{len(cells)} instead of {width}"
                shown = text[:SHOWN].rstrip("\r\n")
                batcher.broken.append(rejected(line, "", shown, Reason.WRONG_CELL_COUNT, detail))
            else:
                batcher.lines.append(line)
                batcher.rows.append(tuple([cells[place].strip() for place in places]))
            if batcher.is_full:
                yield batcher.take()
    if batcher.rows or batcher.broken:
        yield batcher.take()


def _json_rows(inspected: Inspected, source: Source) -> Iterator[tuple[Line, list[Flat] | None]]:
    """Each line with its flat rows, or None when it is not one JSON object."""
    with opened(inspected) as stream:
        for line in lines(stream, JSON_LINE_BYTES):
            if not line.text.strip():
                continue
            try:
                parsed: Any = None if line.is_cut else json.loads(line.text)
            except (ValueError, RecursionError):
                parsed = None
            if not isinstance(parsed, dict):
                yield line, None
            else:
                yield line, source.expand(parsed) if source.expand else [parsed]


def _read_jsonl(inspected: Inspected, source: Source, columns: Sequence[str], size: int) -> Iterator[RawBatch]:
    batcher = _Batcher(columns, size)
    for line, flats in _json_rows(inspected, source):
        if flats is None:
            reason, detail = Reason.NOT_JSON, ""
            if line.is_cut:
                reason, detail = Reason.TOO_LONG, f"a line has at most {JSON_LINE_BYTES:,} bytes"
            batcher.broken.append(rejected(line.number, "", line.text[:SHOWN].rstrip("\r\n"), reason, detail))
        for flat in flats or ():
            batcher.lines.append(line.number)
            batcher.rows.append(tuple([_json_text(flat.get(column)) for column in columns]))
            if batcher.is_full:
                yield batcher.take()
        if batcher.is_full:
            yield batcher.take()
    if batcher.rows or batcher.broken:
        yield batcher.take()


def _json_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def _parquet(inspected: Inspected) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(inspected.path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"{inspected.path} is a damaged Parquet file ({str(error).splitlines()[0]}); write it again.",
            code="damaged_parquet",
        ) from error


def _read_parquet(inspected: Inspected, source: Source, columns: Sequence[str], size: int) -> Iterator[RawBatch]:  # noqa: ARG001 - one signature for all readers
    import pyarrow as pa

    first = 0
    parquet = _parquet(inspected)
    try:
        for batch in parquet.iter_batches(batch_size=size, columns=list(columns)):
            cells = {name: _arrow_text(batch.column(name)) for name in columns}
            yield RawBatch(first, range(first + 1, first + batch.num_rows + 1), cells, [])
            first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"{inspected.path} is a damaged Parquet file ({str(error).splitlines()[0]}); write it again.",
            code="damaged_parquet",
        ) from error


def _arrow_text(array: Any) -> list[str]:
    """An Arrow column as text cells, null as the empty string."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return ["" if value is None else value.isoformat() for value in _moments(array)]
    if pa.types.is_dictionary(kind):
        return _arrow_text(array.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ["" if value is None else value.strip() for value in array.to_pylist()]
    values = (v.decode("utf-8", "surrogateescape") if isinstance(v, bytes) else v for v in array.to_pylist())
    return [_json_text(value) for value in values]


def _moments(array: Any) -> list[Any]:
    """Timestamps as Python datetimes; nanoseconds are cut to microseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        array = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False)
    return list(array.to_pylist())
