"""What does somebody ask for who fills in a form? Names of files below the data folder, presets, limits."""

from __future__ import annotations

from pathlib import Path

from plms_pipeline.errors import BadInput
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.starting import branch_of
from plms_pipeline.models.dataset.files import current_path
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.stages.files import inside
from plms_pipeline.models.training.experiment import Experiment, experiment
from plms_pipeline.models.training.files import read_experiment
from plms_pipeline.models.training.starting import Start

PRESETS = ("ridge", "boosting")


def experiment_of(preset: str, file: str, *, data_dir: Path, start: Start | None = None) -> Experiment:
    """A preset, or the experiment in a file below the data folder, which replaces it; with a candidate to start from its own
    experiment, with the keys of the file in place of its.

    Raises:
        BadInput: there is no such preset or file, it lies elsewhere, or it is no experiment.
    """
    if start is not None:
        return branch_of(start, inside(data_dir, file) if file.strip() else None)
    if file.strip():
        return read_experiment(inside(data_dir, file))
    if preset not in PRESETS:
        raise BadInput(f"{preset[:40]!r} is no preset; there are {', '.join(PRESETS)}.", code="bad_experiment")
    return experiment({"name": preset, "model": {"kind": preset}})


def request_of(
    dataset: str, symbol: str, experiment: Experiment, *, data_dir: Path, strict: bool = False, trials: int = 1,
    thresholds: OperationsThresholds | None = None, requested_by: str | None = None, reason: str | None = None,
    start: Start | None = None,
) -> Request:  # fmt: skip
    """What is to be trained, from the words of a form.

    Args:
        dataset: a file below the data folder; empty: what was imported.
        trials: how many candidates were tried on these data, this one included.
        start: the candidate to start from.

    Raises:
        BadInput: the file lies elsewhere.
        NoData: nothing was imported (`no_bars`).
    """
    return Request(
        inside(data_dir, dataset) if dataset.strip() else current_path(data_dir), experiment, strict=strict or None,
        symbol=symbol.strip() or None, trials=trials, thresholds=thresholds or OperationsThresholds(),
        requested_by=requested_by, reason=(reason or "").strip() or None, start=start,
    )  # fmt: skip
