"""Where do exported annotations go? A JSON list, or CSV by the file's name; whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from plms_pipeline.instance.files.atomic import replacing

COLUMNS: Final = (
    "annotation_id", "trade_id", "symbol", "trade_timestamp", "decision", "rationale", "confidence", "tags", "author",
    "created_at", "metadata", "context_window_start", "context_window_end",
)  # fmt: skip
# What begins with one of these is a formula to whoever opens the file in a spreadsheet.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def write_annotations(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write annotations as `Annotation.as_document` has them."""
    text = (
        _csv(rows)
        if path.name.lower().endswith(".csv")
        else json.dumps(list(rows), indent=2, ensure_ascii=False) + "\n"
    )
    with replacing(path) as stream:
        stream.write(text.encode("utf-8"))


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {**row, "tags": ",".join(row["tags"])}
        cells["metadata"] = "" if row["metadata"] is None else json.dumps(row["metadata"], sort_keys=True)
        writer.writerow({name: _harmless(value) for name, value in cells.items()})
    return buffer.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
