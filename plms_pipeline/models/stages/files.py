"""How is read what an evaluation left behind? Whole files, with the SHA-256 of the very bytes that were parsed."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plms_pipeline.errors import BadInput
from plms_pipeline.models.files.reading import read_whole

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES: Final = 1 << 30


def read_document(path: Path) -> tuple[dict[str, Any], str]:
    """A JSON object, and the SHA-256 of its file.

    Raises:
        NoData: there is no such file.
        BadInput: it is no JSON object.
    """
    content = read_whole(path, MAX_BYTES)
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
        return pd.read_parquet(io.BytesIO(read_whole(path, MAX_BYTES)))
    except (ValueError, OSError) as error:
        raise BadInput(f"{path} is a damaged Parquet file ({error}); train again.", code="damaged") from None


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
