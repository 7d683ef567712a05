"""Where do watched returns come from, and where does a snapshot go?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from plms_pipeline.errors import NotFound
from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.models.training.manifest import document_text

SNAPSHOT: Final = "monitoring_snapshot.json"


def write_snapshot(path: Path, document: Mapping[str, Any]) -> None:
    """Write a snapshot as valid JSON."""
    with replacing(path) as stream:
        stream.write(document_text(document).encode("utf-8"))


def in_folder(folder: Path, name: str) -> Path:
    """A file of an evaluation.

    Raises:
        NotFound: the folder does not have it.
    """
    found = folder / name
    if not found.is_file():
        raise NotFound(f"{folder} has no {name}; name the folder `evaluation` of a run.", code="file_missing")
    return found


def is_there(path: Path) -> bool:
    """Whether there is such a file."""
    return path.is_file()
