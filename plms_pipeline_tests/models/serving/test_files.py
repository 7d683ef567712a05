"""Is nothing served but what was decided about, to the byte?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.errors import BadInput, Conflict, NoData, PlmsError
from plms_pipeline.models.serving import files
from plms_pipeline.models.serving.served import Entry, Version
from plms_pipeline_tests.models.serving.worlds import AT, SUMMARY, Trained, snapshot, trained


def entry_of(of: Trained) -> Entry:
    return Entry(Version("c", "p", of.model), 1, of.folder, of.manifest, of.evaluation, of.data, {}, AT)


def test_a_champion_is_read_with_everything_that_its_answers_need(tmp_path: Path) -> None:
    """Steepness and horizon are those of its training, not those of today's defaults."""
    of = trained(tmp_path)
    served = files.load(entry_of(of), tmp_path)
    assert served.experiment.walk_forward.train == 150
    assert served.history is not None
    assert np.array_equal(served.history.calendar(), snapshot(tmp_path, of).calendar())
    assert served.figures["sharpe"] is not None
    assert served.figures["max_drawdown"] is not None
    assert served.figures["max_drawdown"] < 0


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json", "experiment.json", "training/checkpoints/candidate.npz", "evaluation/predictions.parquet",
        str(SUMMARY),
    ],
)  # fmt: skip
def test_one_changed_byte_is_refused(tmp_path: Path, name: str) -> None:
    """Whoever may write a file could otherwise have anything served."""
    of = trained(tmp_path)
    path = tmp_path / of.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Conflict) as refused:
        files.load(entry_of(of), tmp_path)
    assert refused.value.code in {"run_altered", "model_altered"}


def test_another_candidate_in_its_place_is_refused(tmp_path: Path) -> None:
    """A whole folder can be replaced, manifest and all."""
    of, other = trained(tmp_path), trained(tmp_path, 3.0)
    with pytest.raises(Conflict):
        files.load(replace(entry_of(of), folder=other.folder), tmp_path)
    with pytest.raises(Conflict):
        files.load(replace(entry_of(of), folder=other.folder, manifest_sha256=other.manifest), tmp_path)


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    """And nothing else is looked for."""
    of = trained(tmp_path)
    with pytest.raises(NoData):
        files.load(replace(entry_of(of), folder="automation_runs/nowhere"), tmp_path)
    for outside in ("/etc", "automation_runs/../../x"):
        with pytest.raises(BadInput, match="outside"):
            files.load(replace(entry_of(of), folder=outside), tmp_path)


def test_without_its_snapshot_a_model_serves_what_it_is_sent(tmp_path: Path) -> None:
    """A purge of old data must not end the answers."""
    of = trained(tmp_path)
    (tmp_path / "market_snapshots" / f"{of.data}.parquet").unlink()
    assert files.load(entry_of(of), tmp_path).history is None


def test_a_snapshot_with_other_bars_is_refused(tmp_path: Path) -> None:
    """A whole snapshot of something else is valid by itself."""
    of, other = trained(tmp_path), trained(tmp_path, 3.0, alt=True)
    lies = tmp_path / "market_snapshots"
    (lies / f"{of.data}.parquet").write_bytes((lies / f"{other.data}.parquet").read_bytes())
    with pytest.raises(PlmsError) as refused:
        files.load(entry_of(of), tmp_path)
    assert refused.value.code == "snapshot_altered"
