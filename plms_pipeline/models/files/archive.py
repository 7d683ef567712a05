"""How is a model kept? As arrays and one JSON document in one npz: nothing that could run when it is read.

Its digest is compared with the one that somebody else kept before a byte of it is parsed.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.models.files.reading import is_of, read_whole


def archive_bytes(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file of a model; the same model gives the same bytes."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("utf-8")
    stream = io.BytesIO()
    named: dict[str, Any] = {"document": np.frombuffer(text, dtype=np.uint8), **arrays}
    np.savez(stream, **named)
    return stream.getvalue()


def read_archive(path: Path, sha256: str, limit: int) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Document and arrays of a model whose bytes are the expected ones.

    Args:
        path: the file.
        sha256: what the registry or a manifest says about it.
        limit: how many bytes it may have at most.

    Raises:
        NoData: there is no such file (`file_missing`).
        Conflict: its bytes are others (`model_altered`).
        BadInput: it is too large (`too_large`), cannot be read, or is no model (`bad_model`).
    """
    content = read_whole(path, limit)
    if not is_of(content, sha256):
        raise Conflict(
            f"{path} is not the model that was decided about: its SHA-256 is {hashlib.sha256(content).hexdigest()[:12]}…, "
            f"expected {sha256[:12]}…; restore the file, or decide about a new candidate.",
            code="model_altered",
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        document = json.loads(arrays.pop("document").tobytes())
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"{path} is no stored model ({type(error).__name__}); train it again.", code="bad_model"
        ) from None
    return document, arrays
