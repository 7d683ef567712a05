"""Are the bytes of a candidate still those that were judged, and that somebody decided about?

Everything is read again and compared with the row: the manifest first, because it names the other files; then the model, the
summary, what else the manifest vouches for, and the data. Each has its own code, so that whoever is refused knows which file
was touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.models.files.reading import is_of, read_whole, sha256_of
from plms_pipeline.models.layout import EVALUATION, MANIFEST, MAX_MANIFEST_BYTES, SUMMARY, files_of
from plms_pipeline.models.records import Candidate

SUMMARY_FILE: Final = f"{EVALUATION}/{SUMMARY}"


def folder_of(root: Path, run: Path) -> str:
    """A run folder relative to the data folder, as the books keep it.

    Raises:
        BadInput: it lies outside (`outside_of_data`).
    """
    try:
        return run.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise BadInput(
            f"{run} lies outside of the data folder {root}, and cannot be put before a person; train without --output-dir.",
            code="outside_of_data",
        ) from None


def model_file(root: Path, candidate: Candidate, document: Mapping[str, Any]) -> Path:
    """The model's file: the one whose digest the row holds.

    Raises:
        Conflict: the manifest vouches for no such bytes (`run_altered`).
    """
    files = files_of(document, str(root / candidate.folder / MANIFEST))
    for name, digest in files.items():
        if digest == candidate.bytes.model:
            return root / candidate.folder / name
    raise _altered("run_altered", root / candidate.folder / MANIFEST)


def manifest_of(root: Path, candidate: Candidate) -> dict[str, Any]:
    """The manifest that was judged.

    Raises:
        NoData: it is gone (`file_missing`).
        Conflict: it was changed (`run_altered`).
    """
    path = root / candidate.folder / MANIFEST
    content = read_whole(path, MAX_MANIFEST_BYTES)
    if not is_of(content, candidate.bytes.manifest):
        raise _altered("run_altered", path)
    document = json.loads(content)
    return document if isinstance(document, dict) else {}


def check_bytes(root: Path, candidate: Candidate, *, with_data: bool = True) -> dict[str, Any]:
    """Compare every file of a candidate with what was judged; its manifest.

    Args:
        root: the data folder.
        with_data: also the stored data (`check_data`).

    Raises:
        NoData: a file is gone (`file_missing`).
        Conflict: something was changed by as much as a byte: `model_altered`, `summary_altered`, `data_altered`, or
            `run_altered` for everything else.
        BadInput: a file cannot be read.
    """
    folder = root / candidate.folder
    document = manifest_of(root, candidate)
    model = model_file(root, candidate, document)
    if sha256_of(model) != candidate.bytes.model:
        raise _altered("model_altered", model)
    if sha256_of(folder / SUMMARY_FILE) != candidate.bytes.evaluation:
        raise _altered("summary_altered", folder / SUMMARY_FILE)
    for name, digest in files_of(document, str(folder / MANIFEST)).items():
        if sha256_of(folder / name) != digest:
            raise _altered("run_altered", folder / name)
    if with_data:
        check_data(root, candidate, document)
    return document


def check_data(root: Path, candidate: Candidate, document: Mapping[str, Any]) -> None:
    """Compare the stored data of a candidate with what it was trained on.

    Args:
        document: its manifest, compared before.

    Raises:
        NoData: they are gone (`file_missing`).
        Conflict: they are others (`data_altered`), or the manifest is (`run_altered`, `data_unknown`).
        BadInput: they cannot be read.
    """
    data = document.get("data")
    said = data if isinstance(data, dict) else {}
    if said.get("content_hash") != candidate.bytes.data:
        raise _altered("run_altered", root / candidate.folder / MANIFEST)
    name, digest = str(said.get("snapshot", "")), str(said.get("snapshot_sha256", ""))
    path = root / name
    if not name or root.resolve() not in path.resolve().parents:
        raise Conflict(
            f"The manifest of candidate {candidate.candidate_id} does not say where its data lie; train again.",
            code="data_unknown",
        )
    if sha256_of(path) != digest:
        raise _altered("data_altered", path)


def _altered(code: str, path: Path) -> Conflict:
    return Conflict(
        f"{path} was changed after the evaluation: its SHA-256 is not what was judged. Restore the file from a backup, or "
        "train again.",
        code=code,
    )
