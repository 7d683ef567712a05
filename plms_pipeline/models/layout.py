"""Where do the files of a candidate lie, and which does its manifest vouch for?

Apart from what writes them: a server that compares bytes does not load what trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from plms_pipeline.errors import BadInput

SCHEMA_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 16 << 20
MODEL: Final = "training/checkpoints/candidate.npz"
GOLDEN: Final = "training/golden.json"
EVALUATION: Final = "evaluation"
SUMMARY: Final = "operations_summary.json"


def files_of(document: Mapping[str, Any], thing: str) -> dict[str, str]:
    """The files that a manifest vouches for, with their SHA-256.

    Raises:
        BadInput: it is no manifest of ours, or names a file outside of its folder.
    """
    files = document.get("files")
    if document.get("schema_version") != SCHEMA_VERSION or not isinstance(files, dict) or not files:
        raise BadInput(f"{thing} is no manifest of version {SCHEMA_VERSION}; train again.", code="bad_manifest")
    for path in files:
        if path.startswith(("/", "\\")) or ".." in path.replace("\\", "/").split("/") or ":" in path:
            raise BadInput(f"{thing} names {path!r}, which lies outside of its folder.", code="bad_manifest")
    return {str(path): str(digest) for path, digest in files.items()}
