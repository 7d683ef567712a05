"""Where do exported annotations and positions go? A JSON list, or CSV by the file's name; whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.models.annotations.trades import POSITION_COLUMNS

COLUMNS: Final = (
    "annotation_id", "trade_id", "symbol", "trade_timestamp", "decision", "rationale", "confidence", "tags", "author",
    "created_at", "metadata", "context_window_start", "context_window_end",
)  # fmt: skip
# What begins with one of these is a formula to whoever opens the file in a spreadsheet.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def write_annotations(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write annotations as `Annotation.as_document` has them."""
    _write(path, rows, _csv(rows))


def write_positions(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a log of positions as `Trade.as_position` has its rows."""
    _write(path, rows, _table(POSITION_COLUMNS, rows))


def _write(path: Path, rows: Sequence[Mapping[str, Any]], table: str) -> None:
    is_csv = path.name.lower().endswith(".csv")
    text = table if is_csv else json.dumps(list(rows), indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as stream:
        stream.write(text.encode("utf-8"))


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    told = [{**row, "tags": ",".join(row["tags"]), "metadata": _one_line(row["metadata"])} for row in rows]
    return _table(COLUMNS, told)


def _one_line(metadata: object) -> str:
    return "" if metadata is None else json.dumps(metadata, sort_keys=True)


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return buffer.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
