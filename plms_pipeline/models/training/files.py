"""How are runs kept, and what is read back of them?

A run is a folder `automation_runs/<UTC stamp>/` in the layout of the source. It appears whole, by one rename, or not at all: a
killed training leaves nothing that looks like a candidate. Whatever is read back is compared with the digest that somebody else
kept before a byte of it is parsed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.instance.files.atomic import sync_folder
from plms_pipeline.instance.process import lives
from plms_pipeline.models.files.archive import archive_bytes, read_archive
from plms_pipeline.models.files.reading import read_whole, sha256_of
from plms_pipeline.models.files.written import read_document
from plms_pipeline.models.layout import GOLDEN, MANIFEST, MAX_MANIFEST_BYTES, MODEL, files_of
from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.training.experiment import Experiment, experiment
from plms_pipeline.models.training.fit import Training
from plms_pipeline.models.training.golden import golden
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline.models.training.manifest import Origin, document_text, manifest
from plms_pipeline.models.training.predictions import Predictions
from plms_pipeline.models.training.stored import Model, model_of, parts

if TYPE_CHECKING:
    import pandas as pd

RUNS: Final = "automation_runs"
EXPERIMENT: Final = "experiment.json"
CANDIDATE: Final = MODEL
FOLDS: Final = "training/checkpoints/folds.npz"
METRICS: Final = "training/metrics.json"
PREDICTIONS: Final = "evaluation/predictions.parquet"
MAX_MODEL_BYTES: Final = 256 << 20
_PACKAGES: Final = ("numpy", "scipy", "scikit-learn", "pyarrow")


def read_experiment(path: Path) -> Experiment:
    """The experiment in a YAML or JSON file.

    Raises:
        BadInput: there is no such file, it is no document, or the document is not valid.
    """
    return experiment(read_document(path), str(path))


def model_bytes(model: Model) -> bytes:
    """The file of a model: an npz of arrays and one JSON document; the same model gives the same bytes."""
    return archive_bytes(*parts(model))


def model_sha256(model: Model) -> str:
    """SHA-256 (hex) of the file of a model."""
    return hashlib.sha256(model_bytes(model)).hexdigest()


def folds_bytes(models: Mapping[int, Model]) -> bytes:
    """The file of the models of folds, by the number of the fold."""
    documents: dict[str, Any] = {}
    named: dict[str, Any] = {}
    for number, model in models.items():
        documents[str(number)], arrays = parts(model)
        named |= {f"{number}.{name}": values for name, values in arrays.items()}
    return archive_bytes(documents, named)


def load_model(path: Path, sha256: str) -> Model:
    """A model whose bytes are the expected ones.

    Args:
        path: the file.
        sha256: what the registry or a manifest says about it; compared before anything is parsed.

    Raises:
        NoData: there is no such file.
        Conflict: its bytes are others.
        BadInput: it is too large or no model.
    """
    return model_of(*read_archive(path, sha256, MAX_MODEL_BYTES))


def load_folds(path: Path, sha256: str) -> dict[int, Model]:
    """The models of the folds of a run by their numbers; raises as `load_model`."""
    documents, arrays = read_archive(path, sha256, MAX_MODEL_BYTES)
    found: dict[int, Model] = {}
    for number, document in documents.items():
        prefix = f"{number}."
        if not number.isdigit() or not isinstance(document, dict):
            raise BadInput(f"{path} holds no models of folds; train again.", code="bad_model")
        own = {name.removeprefix(prefix): one for name, one in arrays.items() if name.startswith(prefix)}
        found[int(number)] = model_of(document, own)
    return found


def predictions_bytes(rows: Predictions) -> bytes:
    """The Parquet file of out-of-sample predictions; the same rows give the same bytes."""
    return frame_bytes(rows.frame())


def frame_bytes(rows: pd.DataFrame) -> bytes:
    """The Parquet file of a frame; the same rows give the same bytes."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    stream = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"schema_version": b"1"}), stream, compression="zstd")
    return stream.getvalue()


def environment() -> dict[str, str]:
    """Python, platform and the libraries on which the numbers depend."""
    return {"python": platform.python_version(), "platform": platform.machine()} | {
        name: version(name) for name in _PACKAGES
    }


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A kept run: where it lies, its manifest, and the SHA-256 of manifest and model."""

    path: Path
    manifest: Mapping[str, Any]
    manifest_sha256: str
    model_sha256: str


def write_run(
    root: Path, bars: Bars, asked: Experiment, trained: Training, origin: Origin,
    more: Mapping[str, bytes] | None = None, finish: Callable[[Path], object] | None = None,
) -> RunFolder:  # fmt: skip
    """Keep a training as `root/<UTC stamp>`, or with `-2`, `-3` … behind it when that second is taken.

    `more`: further files that the manifest vouches for, by their path in the folder. `finish`: the later stages, which add
    theirs before anybody sees the folder; what the manifest vouches for is never written again.
    """
    content = {
        EXPERIMENT: (asked.canonical() + "\n").encode("utf-8"),
        CANDIDATE: model_bytes(trained.candidate),
        METRICS: document_text(trained.metrics).encode("utf-8"),
        GOLDEN: document_text(golden(trained.candidate, bars, asked)).encode("utf-8"),
        PREDICTIONS: predictions_bytes(trained.predictions),
        **models_of_folds(FOLDS, trained),
        **(more or {}),
    }
    return keep_run(
        root, content, lambda digests: manifest(bars, asked, trained, origin, digests), origin.created_at, finish=finish
    )


def models_of_folds(name: str, trained: Training) -> dict[str, bytes]:
    """The models of the folds, of which a later training starts its own; trees leave no weights to start from."""
    kept = {one.split.number: one.model for one in trained.folds if isinstance(one.model, LinearModel)}
    return {name: folds_bytes(kept)} if kept else {}


def keep_run(
    root: Path,
    content: Mapping[str, bytes],
    vouching: Callable[[Mapping[str, str]], Mapping[str, Any]],
    made_at: datetime,
    finish: Callable[[Path], object] | None = None,
) -> RunFolder:
    """Keep the files of a training of any family, and the manifest that vouches for them, as one folder.

    It appears whole or not at all: who is interrupted or killed in a late stage leaves no run without its report.

    Args:
        content: bytes by path relative to the folder; the model is `CANDIDATE`.
        vouching: the manifest, from the SHA-256 of each file.
        made_at: names the folder.
        finish: adds the files of later stages to the folder, which is handed to it under another name.
    """
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    text = document_text(vouching(digests)).encode("utf-8")
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    temporary = root / f".{os.getpid()}.{uuid4().hex[:8]}.tmp"
    try:
        for name, data in {**content, MANIFEST: text}.items():
            _write(temporary / name, data)
        for folder in {(temporary / name).parent for name in content} | {temporary / "training", temporary}:
            sync_folder(folder)
        if finish is not None:
            finish(temporary)
        final = _place(temporary, root, made_at.strftime("%Y%m%d-%H%M%S"))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return RunFolder(final, json.loads(text), hashlib.sha256(text).hexdigest(), digests[CANDIDATE])


def _sweep(root: Path) -> None:
    """Remove what a killed training left behind; what a living process writes stays."""
    for stale in root.glob(".*.tmp"):
        pid = stale.name.split(".")[1]
        if not pid.isdigit() or lives(int(pid)):
            continue
        shutil.rmtree(stale, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _place(temporary: Path, root: Path, stamp: str) -> Path:
    for attempt in range(1, 1_000):
        final = root / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        try:
            # A folder that is there and not empty is never replaced by a rename.
            temporary.rename(final)
        except OSError:
            if not final.exists():
                raise
            continue
        sync_folder(root)
        return final
    raise Conflict(f"{root} holds a thousand runs of {stamp}; clear it.", code="run_exists")


def verify_run(folder: Path, manifest_sha256: str | None = None) -> RunFolder:
    """Read a run and compare every file with its manifest, and the manifest with what somebody else kept of it.

    Raises:
        NoData: the folder, its manifest or a file of it is missing.
        Conflict: something was changed by as much as a byte.
        BadInput: the manifest is none of ours.
    """
    text = read_whole(folder / MANIFEST, MAX_MANIFEST_BYTES)
    found = hashlib.sha256(text).hexdigest()
    if manifest_sha256 is not None and found != manifest_sha256:
        raise Conflict(f"{folder / MANIFEST} was changed after the evaluation; train again.", code="run_altered")
    try:
        document = json.loads(text)
    except ValueError:
        raise BadInput(f"{folder / MANIFEST} is no JSON; train again.", code="bad_manifest") from None
    files = files_of(document if isinstance(document, dict) else {}, str(folder / MANIFEST))
    for name, digest in files.items():
        if sha256_of(folder / name) != digest:
            raise Conflict(f"{folder / name} was changed after the evaluation; train again.", code="run_altered")
    return RunFolder(folder, document, found, files.get(CANDIDATE, ""))
