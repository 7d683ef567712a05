"""Where does an evaluation lie? Beside the predictions of its run, or where somebody says; each file whole or not at all."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plms_pipeline.errors import BadInput
from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.models.evaluation.summary import to_json
from plms_pipeline.models.layout import EVALUATION, MANIFEST, SUMMARY

if TYPE_CHECKING:
    import pandas as pd

METRICS: Final = "metrics.json"
GATES: Final = "gates.json"


def write_evaluation(
    run: Path, *, summary: Mapping[str, Any], metrics: Mapping[str, Any], gates: Mapping[str, Any]
) -> Path:
    """Write the three documents of an evaluation into the folder of a run; the folder.

    Args:
        run: the folder that `training.files.write_run` made.
        summary: `operations_summary`.
        metrics: how good the predictions were, apart from what trading made of them.
        gates: the verdict, with every gate.
    """
    folder = run / EVALUATION
    for name, document in ((METRICS, metrics), (GATES, gates), (SUMMARY, summary)):
        with replacing(folder / name) as file:
            file.write(to_json(document).encode("utf-8"))
    return folder


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """A document as valid JSON."""
    return to_json(document).encode("utf-8")


def table_bytes(rows: pd.DataFrame, path: Path) -> bytes:
    """Rows in the format that the file's name asks for: .csv, .json, .jsonl, anything else Parquet."""
    suffix = path.suffix.lower()
    if suffix not in {".csv", ".json", ".jsonl"}:
        stream = io.BytesIO()
        rows.to_parquet(stream, index=False)
        return stream.getvalue()
    if suffix == ".csv":
        return rows.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S.%f%z").encode("utf-8")
    text = rows.to_json(
        orient="records", lines=suffix == ".jsonl", date_format="iso", date_unit="us", double_precision=15
    )
    return f"{str(text).rstrip()}\n".encode()


def refuse_inside_a_run(path: Path, flag: str) -> None:
    """Refuse to write where a run lies: people decide about those bytes.

    Raises:
        BadInput: it lies inside of a run (`inside_a_run`).
    """
    whole = path.resolve()
    for folder in (whole, *whole.parents):
        if (folder / MANIFEST).is_file():
            raise BadInput(
                f"{flag} {path} lies in the run {folder}, whose files are those that people decide about; name another place.",
                code="inside_a_run",
            )


def write_all(content: Mapping[Path, bytes]) -> dict[Path, str]:
    """Write files, each whole or not at all; the SHA-256 of each."""
    for path, data in content.items():
        with replacing(path) as file:
            file.write(data)
    return {path: hashlib.sha256(data).hexdigest() for path, data in content.items()}
