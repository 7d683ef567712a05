from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.errors import BadInput, Conflict, NoData
from plms_pipeline.models.layout import MANIFEST
from plms_pipeline.models.market.bars import content_hash
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline.models.training.files import (
    CANDIDATE,
    PREDICTIONS,
    RunFolder,
    environment,
    load_model,
    model_bytes,
    predictions_bytes,
    read_experiment,
    verify_run,
    write_run,
)
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline.models.training.manifest import Lineage, Origin, plain
from plms_pipeline.models.training.stored import model_of, parts
from plms_pipeline.models.training.trees import TreesModel
from plms_pipeline_tests.models.worlds import small_bars, small_experiment, small_training

STUMP = TreesModel(
    ("a", "b"), 0.5, np.array([0]), np.array([1, 0, 0]), np.array([2.0, 0.0, 0.0]), np.array([1, 1, 2]), np.array([2, 1, 2]),
    np.array([0.0, -1.0, 1.0]), 1,
)  # fmt: skip
ORIGIN = Origin("run-1", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), "0.1.0", {"python": "3"}, Lineage(reason="test"))


def kept(root: Path) -> RunFolder:
    return write_run(root, small_bars(), small_experiment(), small_training(), ORIGIN)


def save(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_an_experiment_is_read_from_yaml_and_json(tmp_path: Path) -> None:
    """People write YAML, programs JSON; 1e-4 is a number to both of them."""
    yaml, plain_json = tmp_path / "a.yaml", tmp_path / "a.json"
    yaml.write_text("seed: 3\ntrading: {transaction: 1e-3}\ndata:\n  symbols: [A, B]\n")
    plain_json.write_text('{"seed": 3, "trading": {"transaction": 1e-3}, "data": {"symbols": ["A", "B"]}}')
    assert read_experiment(yaml) == read_experiment(plain_json)
    assert read_experiment(yaml).trading.transaction == 1e-3
    (tmp_path / "empty.yaml").write_text("# the default\n")
    assert read_experiment(tmp_path / "empty.yaml") == experiment({})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: 1\nseed: 2\n", "stands twice"),
        ("a: &x 1\nb: *x\n", "aliases"),
        ("- seed\n", "keys and values"),
        ("seed: [", "no YAML or JSON"),
        ("seed: !!python/object/apply:os.system ['true']\n", "no YAML or JSON"),
        ("seed: no\n", "seed"),
        ("{1: 2}\n", "not a known key"),
        ("notes: 2024-01-01\n", "write dates in quotes"),
    ],
)
def test_a_bad_experiment_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    """The last of two seeds, or a document that unfolds into a billion nodes, is nobody's intention."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=told):
        read_experiment(path)
    with pytest.raises(BadInput, match="check the path"):
        read_experiment(tmp_path / "none.yaml")


@pytest.mark.parametrize("kind", ["ridge", "boosting"])
def test_a_stored_model_predicts_the_same_bit_for_bit(tmp_path: Path, kind: str) -> None:
    """What was judged is what serves."""
    model = small_training().candidate if kind == "ridge" else STUMP
    values = np.random.default_rng(1).standard_normal((50, len(model.features))) * 3
    path = tmp_path / "m.npz"
    digest = save(path, model_bytes(model))
    again = load_model(path, digest)
    assert again.kind == kind
    assert again.features == model.features
    assert np.array_equal(again.predict(values), model.predict(values))
    assert model_bytes(again) == model_bytes(model)


def test_a_model_file_changed_by_one_byte_is_never_parsed(tmp_path: Path) -> None:
    """A digest that is compared after parsing protects nobody from what parsing does."""
    path = tmp_path / "m.npz"
    content = bytearray(model_bytes(STUMP))
    digest = hashlib.sha256(content).hexdigest()
    content[len(content) // 2] ^= 1
    save(path, bytes(content))
    with pytest.raises(Conflict, match="not the model that was decided about"):
        load_model(path, digest)
    with pytest.raises(NoData):
        load_model(tmp_path / "none.npz", digest)


def test_a_pickle_is_not_a_model(tmp_path: Path) -> None:
    """Even under the right digest nothing may run when a model is loaded."""
    stream = io.BytesIO()
    np.savez(stream, document=np.array([{"kind": "ridge"}], dtype=object))
    path = tmp_path / "m.npz"
    digest = save(path, stream.getvalue())
    with pytest.raises(BadInput, match="no stored model"):
        load_model(path, digest)
    digest = save(path, b"nonsense")
    with pytest.raises(BadInput, match="no stored model"):
        load_model(path, digest)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("left", np.array([1, 1, 9])),
        ("right", np.array([-1, 1, 2])),
        ("feature", np.array([2, 0, 0])),
        ("value", np.array([0.0, np.nan, 1.0])),
        ("threshold", np.array([2.0])),
        ("roots", np.array([7])),
    ],
)
def test_a_tree_that_points_outside_of_itself_is_refused(name: str, values: np.ndarray) -> None:
    """A node beyond the last is a crash in the middle of a request, one row before it another model's answer."""
    document, arrays = parts(STUMP)
    with pytest.raises(BadInput, match="cannot be used"):
        model_of(document, {**arrays, name: values})


@pytest.mark.parametrize(
    "change", [{"kind": "forest"}, {"format": 2}, {"features": []}, {"intercept": float("nan")}, {"features": ["a"]}]
)
def test_a_ridge_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    """Fourteen coefficients under one name would be multiplied by whatever comes first."""
    document, arrays = parts(small_training().candidate)
    with pytest.raises(BadInput, match="cannot be used"):
        model_of({**document, **change}, arrays)


def test_a_run_is_kept_in_the_layout_of_the_source(tmp_path: Path) -> None:
    """Scripts that look for evaluation/predictions.parquet below a UTC stamp find it."""
    run = kept(tmp_path / "automation_runs")
    assert run.path.name == "20240506-070809"
    assert (run.path / PREDICTIONS).stat().st_size > 0
    assert verify_run(run.path, run.manifest_sha256) == run
    model = load_model(run.path / CANDIDATE, run.model_sha256)
    assert isinstance(model, LinearModel)
    assert [path.name for path in run.path.parent.iterdir()] == [run.path.name]


def test_the_manifest_says_what_the_candidate_was_made_of(tmp_path: Path) -> None:
    """Whoever signs must be able to tell which data, which code and which options."""
    found = kept(tmp_path).manifest
    assert found["data"]["content_hash"] == content_hash(small_bars())
    assert found["experiment_sha256"] == small_experiment().digest()
    assert found["experiment"]["walk_forward"]["train"] == 150
    assert len(found["folds"]) == 4
    assert found["lineage"]["reason"] == "test"
    assert set(found["metrics"]) >= {"information_coefficient", "rows"}
    assert found["created_at"] == "2024-05-06T07:08:09+00:00"
    assert set(environment()) >= {"python", "numpy", "scikit-learn"}


def test_two_runs_of_one_second_both_stay(tmp_path: Path) -> None:
    """A run folder that is overwritten takes the evidence of a decision with it."""
    first, second = kept(tmp_path), kept(tmp_path)
    assert second.path.name == f"{first.path.name}-2"
    assert first.model_sha256 == second.model_sha256
    assert first.manifest_sha256 == second.manifest_sha256


@pytest.mark.parametrize("name", [CANDIDATE, PREDICTIONS, MANIFEST, "experiment.json", "training/metrics.json"])
def test_one_changed_byte_anywhere_in_a_run_is_found(tmp_path: Path, name: str) -> None:
    """A decision binds bytes; after a change it is a decision about something else."""
    run = kept(tmp_path)
    path = run.path / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Conflict, match="changed after the evaluation"):
        verify_run(run.path, run.manifest_sha256)
    path.unlink()
    with pytest.raises(NoData, match="moved or cleaned"):
        verify_run(run.path, run.manifest_sha256)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "C:\\x"])
def test_a_manifest_cannot_name_files_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    """A manifest is input too: it must not make us read what is not ours."""
    (tmp_path / MANIFEST).write_text(json.dumps({"schema_version": 1, "files": {name: "0" * 64}}))
    with pytest.raises(BadInput, match="outside of its folder"):
        verify_run(tmp_path)


def test_a_training_that_was_killed_leaves_nothing_behind_for_long(tmp_path: Path) -> None:
    """Half a candidate must not look like one, nor fill the disk."""
    stale = tmp_path / ".999999999.abcd.tmp"
    stale.mkdir()
    run = kept(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [run.path.name]


def test_predictions_are_the_same_bytes_each_time() -> None:
    """A digest over a file that changes with the clock binds nothing."""
    rows = small_training().predictions
    assert predictions_bytes(rows) == predictions_bytes(replace(rows))


def test_numbers_that_json_does_not_know_become_unknown() -> None:
    """The source wrote bare NaN and Infinity, which no strict reader accepts."""
    assert plain({"a": float("nan"), "b": [np.float64("inf"), np.int64(3)], "c": (1.5,)}) == {
        "a": None,
        "b": [None, 3],
        "c": [1.5],
    }
