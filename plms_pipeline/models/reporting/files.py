"""Where do predictions and their documents come from, and where does a report go?

CSV (also .gz, .txt), Parquet, JSON and JSON lines, recognised by their bytes where these say it. A report appears whole: its
pictures before the Markdown that shows them.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from plms_pipeline.errors import BadInput, NotFound
from plms_pipeline.instance.files.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

MAX_PREDICTIONS_BYTES: Final = 1 << 30
MAX_DOCUMENT_BYTES: Final = 16 << 20
HTML, MARKDOWN = "report.html", "report.md"


def read_predictions(path: Path) -> pd.DataFrame:
    """The rows of a file of predictions, unchecked.

    Raises:
        NotFound: there is no such file.
        BadInput: it is too large, or no table.
    """
    import pandas as pd

    content = _content(path, MAX_PREDICTIONS_BYTES)
    try:
        if content[:4] == b"PAR1":
            return pd.read_parquet(io.BytesIO(content))
        if content[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                content = packed.read(MAX_PREDICTIONS_BYTES + 1)
            if len(content) > MAX_PREDICTIONS_BYTES:
                raise BadInput(f"{path} unpacks to more than 1 GiB; report on a part of it.", code="too_large")
        if content.lstrip()[:1] in (b"[", b"{"):
            return pd.DataFrame(_records(content.decode("utf-8-sig")))
        return pd.read_csv(io.BytesIO(content), encoding="utf-8-sig", low_memory=False)
    except (ValueError, OSError, EOFError, KeyError) as error:
        # Arrow's, pandas' and JSON's errors are ValueErrors or OSErrors.
        told = " ".join(str(error).split())[:200]
        raise BadInput(
            f"{path} is no table of predictions ({told}); give CSV, Parquet, JSON or JSON lines.", code="not_a_table"
        ) from None


def _records(text: str) -> list[Mapping[str, Any]]:
    """Rows of a JSON list, of an object with the list `predictions` (as /predict answers), or of JSON lines."""
    try:
        document: Any = json.loads(text)
    except ValueError:
        document = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(document, dict):
        document = document.get("predictions", [document])
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        raise ValueError("it holds no list of objects")
    return document


def read_document(path: Path, what: str) -> dict[str, Any]:
    """A JSON object; the bare NaN and Infinity of the source are unknown values (None).

    Raises:
        NotFound: there is no such file.
        BadInput: it is too large, or no object.
    """
    try:
        document = json.loads(_content(path, MAX_DOCUMENT_BYTES).decode("utf-8-sig"), parse_constant=lambda _: None)
    except ValueError as error:
        raise BadInput(f"{path} is no JSON ({error}); give the {what} of a run.", code="not_json") from None
    if not isinstance(document, dict):
        raise BadInput(f"{path} holds no JSON object; give the {what} of a run.", code="not_json")
    return document


def read_list(path: Path, key: str) -> list[Any]:
    """A list in a JSON or YAML file, bare or under `key`.

    Raises:
        NotFound: there is no such file.
        BadInput: it is too large, or holds no list.
    """
    try:
        document = yaml.safe_load(_content(path, MAX_DOCUMENT_BYTES).decode("utf-8-sig"))
    except (yaml.YAMLError, ValueError) as error:
        told = " ".join(str(error).split())[:200]
        raise BadInput(f"{path} is no JSON or YAML ({told}).", code="not_a_list") from None
    found = document.get(key) if isinstance(document, dict) else document
    if not isinstance(found, list):
        raise BadInput(f"{path} holds no list; write one, or one under the key `{key}`.", code="not_a_list")
    return found


def write_html(path: Path, page: str) -> None:
    """Write the page."""
    with replacing(path) as file:
        file.write(page.encode("utf-8"))


def write_markdown(path: Path, text: str, pictures: Mapping[str, bytes], folder: str) -> None:
    """Write the pictures into `folder` beside the document, then the document."""
    for name, content in pictures.items():
        with replacing(path.parent / folder / name) as file:
            file.write(content)
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def beside(path: Path, name: str) -> Path | None:
    """A file that lies beside another; None if it does not."""
    found = path.parent / name
    return found if found.is_file() else None


def _content(path: Path, limit: int) -> bytes:
    # Not as files of a run are read: a pipe is welcome here, and what is missing was misspelt.
    try:
        with path.open("rb") as handle:
            content = handle.read(limit + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}; check the path.", code="file_missing") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).", code="file_unreadable") from None
    if len(content) > limit:
        raise BadInput(f"{path} is larger than {limit >> 20} MiB.", code="too_large")
    return content
