"""How is read what an evaluation left behind? Whole files, with the SHA-256 of the very bytes that were parsed."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plms_pipeline.errors import BadInput
from plms_pipeline.models.files import missing, unreadable

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES: Final = 1 << 30


def read_document(path: Path) -> tuple[dict[str, Any], str]:
    """A JSON object, and the SHA-256 of its file.

    Raises:
        NoData: there is no such file.
        BadInput: it is no JSON object.
    """
    content = _content(path)
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise BadInput(f"{path} holds no JSON object; evaluate the candidate again.", code="bad_document")
    return document, hashlib.sha256(content).hexdigest()


def read_frame(path: Path) -> pd.DataFrame:
    """The rows of a Parquet file of predictions.

    Raises:
        NoData: there is no such file.
        BadInput: it is no Parquet file.
    """
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(_content(path)))
    except (ValueError, OSError) as error:
        raise BadInput(f"{path} is a damaged Parquet file ({error}); train again.", code="damaged") from None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise unreadable(path, error.strerror) from None
    if len(content) > MAX_BYTES:
        raise BadInput(f"{path} is larger than {MAX_BYTES >> 20} MiB.", code="too_large")
    return content


def inside(root: Path, name: str) -> Path:
    """The file `name` below `root`: whoever may fill in a form may not read the whole machine with it.

    Raises:
        BadInput: it lies elsewhere, whatever the name says.
    """
    base = root.resolve()
    path = (base / name.strip()).resolve()
    if not path.is_relative_to(base) or path == base:
        raise BadInput(
            f"{name[:200]!r} does not lie below {base}; put the file there and name it relative to it.",
            code="path_outside",
        )
    return path
