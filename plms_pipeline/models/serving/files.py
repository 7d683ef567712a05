"""How does a champion come from its folder into memory?

Not a byte is parsed before its digest was compared with the one that the registry keeps: the manifest with that of the
candidate, model and summary with those that were decided about, every other file with the manifest. A folder that was changed
by as much as a byte is not served, and neither is one that was replaced as a whole.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, Final

from plms_pipeline.errors import BadInput, Conflict, NotFound
from plms_pipeline.models.files.reading import is_of, read_whole
from plms_pipeline.models.layout import EVALUATION as FOLDER
from plms_pipeline.models.layout import SUMMARY, files_of
from plms_pipeline.models.market.bars import Bars, content_hash
from plms_pipeline.models.market.files.keeping import read_bars
from plms_pipeline.models.serving.past import past_of
from plms_pipeline.models.serving.rows import tail
from plms_pipeline.models.serving.served import Entry, Served
from plms_pipeline.models.training.experiment import Experiment, experiment
from plms_pipeline.models.training.files import CANDIDATE, EXPERIMENT, load_model, verify_run

SNAPSHOTS: Final = "market_snapshots"
MOST_BYTES: Final = 16 << 20


def load(entry: Entry, root: Path) -> Served:
    """Read the champion.

    Args:
        entry: as the registry has it.
        root: the data folder.

    Raises:
        NoData: its folder or a file of it is missing.
        Conflict: something is not what was decided about.
        BadInput: it is what was decided about, and no model that can be used.
    """
    folder = _below(root, entry.folder)
    run = verify_run(folder, entry.manifest_sha256)
    model = load_model(folder / CANDIDATE, entry.version.model_sha256)
    vouched = files_of(run.manifest, str(folder))
    asked = _experiment(folder / EXPERIMENT, vouched.get(EXPERIMENT, ""))
    figures = _figures(folder / FOLDER / SUMMARY, entry.evaluation_sha256)
    bars = history(root, entry.data_sha256)
    past = None if bars is None else past_of(bars, model.features)
    return Served(entry, model, asked, bars, figures, past)


def verify(entry: Entry, root: Path) -> None:
    """Compare the files of a champion that serves from memory with what was decided about.

    Raises:
        NotFound: its folder or a file of it is missing.
        Conflict: something is not what was decided about.
        BadInput: a file cannot be read.
    """
    folder = _below(root, entry.folder)
    verify_run(folder, entry.manifest_sha256)
    _vouched(folder / FOLDER / SUMMARY, entry.evaluation_sha256)


def history(root: Path, digest: str) -> Bars | None:
    """The newest bars of a snapshot; None when it was removed.

    Raises:
        Conflict: it is damaged, or holds other bars than its name says.
    """
    path = root / SNAPSHOTS / f"{digest}.parquet"
    try:
        bars = read_bars(path)
    except NotFound:
        return None
    except BadInput as error:
        raise Conflict(
            f"The snapshot {path} cannot be used: it is damaged or was changed. Restore it, or move it away to serve only "
            "what is sent with its past.",
            code=error.code,
        ) from None
    if content_hash(bars) != digest:
        raise Conflict(f"{path} does not hold the bars that its name says; restore it.", code="snapshot_altered")
    return tail(bars)


def _below(root: Path, folder: str) -> Path:
    place = PurePosixPath(folder)
    if place.is_absolute() or ".." in place.parts:
        raise BadInput(f"The candidate's folder {folder!r} lies outside of the data folder.", code="bad_folder")
    return root / place


def _experiment(path: Path, sha256: str) -> Experiment:
    document = json.loads(_vouched(path, sha256))
    return experiment(document if isinstance(document, dict) else {"schema_version": None}, str(path))


def _figures(path: Path, sha256: str) -> dict[str, float | None]:
    """The risk figures of the summary that was signed."""
    summary = json.loads(_vouched(path, sha256))
    risk: dict[str, Any] = summary.get("risk", {}) if isinstance(summary, dict) else {}
    return {
        name: float(value) if isinstance(value, int | float) else None
        for name, value in risk.items()
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }


def _vouched(path: Path, sha256: str) -> bytes:
    content = read_whole(path, MOST_BYTES)
    if not is_of(content, sha256):
        raise Conflict(f"{path} is not what was decided about; restore it, or roll back.", code="run_altered")
    return content
