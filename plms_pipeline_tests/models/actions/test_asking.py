"""What a form asks for: files lie below the data folder, and words mean something or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.actions.asking import PRESETS, experiment_of, request_of
from plms_pipeline.models.training.experiment import experiment


def test_a_preset_is_taken_where_no_file_is_named(tmp_path: Path) -> None:
    """Spaces in an empty field of a form name no file."""
    for preset in PRESETS:
        assert experiment_of(preset, " ", data_dir=tmp_path).model.kind == preset
    (tmp_path / "own.yaml").write_text("seed: 3\n")
    assert experiment_of("boosting", "own.yaml", data_dir=tmp_path) == experiment({"seed": 3})


def test_an_unknown_preset_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'linear' is no preset; there are ridge, boosting"):
        experiment_of("linear", "", data_dir=tmp_path)


def test_a_form_reads_nothing_outside_of_the_data_folder(tmp_path: Path) -> None:
    """Who may launch a job could otherwise have any file of the machine told in an error."""
    root = tmp_path / "data"
    root.mkdir()
    (tmp_path / "secret.yaml").write_text("seed: 3\n")
    for outside in ("../secret.yaml", str(tmp_path / "secret.yaml")):
        with pytest.raises(BadInput) as refused:
            experiment_of("ridge", outside, data_dir=root)
        assert refused.value.code == "path_outside"
        with pytest.raises(BadInput) as refused:
            request_of(outside, "", experiment({}), data_dir=root)
        assert refused.value.code == "path_outside"
    (root / "bars.parquet").touch()
    asked = request_of(" bars.parquet ", " SPX ", experiment({}), data_dir=root, reason=" weekly ")
    assert (asked.dataset, asked.symbol, asked.reason) == (root / "bars.parquet", "SPX", "weekly")
    asked = request_of("bars.parquet", " ", experiment({}), data_dir=root, reason=" ")
    assert (asked.symbol, asked.reason, asked.strict) == (None, None, None)
