"""What is kept of the stages around a training: pretraining, challenger, regimes?

Each in its folder of the run, as the source laid them out, and every file vouched for by the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from plms_pipeline.models.evaluation.comparing import Compared, Judged, compared
from plms_pipeline.models.market import regimes as rule
from plms_pipeline.models.market.regimes import Regimes
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.files import frame_bytes, model_bytes, models_of_folds, predictions_bytes
from plms_pipeline.models.training.fit import Training
from plms_pipeline.models.training.manifest import document_text, fold_facts
from plms_pipeline.models.training.predictions import Predictions
from plms_pipeline.models.training.successive import HONESTLY, PRETRAINING, REINFORCEMENT, Succession, Trained

REGIMES: Final = "regimes/regimes.parquet"
COMPARISON: Final = "evaluation_metrics.json"


@dataclass(frozen=True, slots=True)
class Around:
    """What is kept besides the training: files by their path in the run, what the manifest says, and the comparison."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    comparison: Compared | None = None


def around(asked: Succession, trained: Trained, labels: Regimes | None, *, resamples: int) -> Around:
    """What is kept of the stages that ran.

    Args:
        labels: the regimes that were told anew; None: none.
        resamples: how many paths the comparison draws.
    """
    files: dict[str, bytes] = {}
    facts: dict[str, Any] = {"names": list(asked.stages), "warm_start": asked.warm_start}
    if trained.pretraining is not None and asked.pretraining is not None:
        files |= _stage(PRETRAINING, asked.pretraining, trained.pretraining)
        facts[PRETRAINING] = _facts(asked.pretraining, trained.pretraining)
    comparison = None
    if trained.challenger is not None and asked.challenger is not None:
        rows = trained.challenger.predictions
        comparison = compared(_judged(rows), _judged(trained.training.predictions), resamples=resamples)
        document = comparison.as_document(HONESTLY)
        files |= _stage(REINFORCEMENT, asked.challenger, trained.challenger) | {
            f"{REINFORCEMENT}/predictions.parquet": predictions_bytes(rows),
            f"{REINFORCEMENT}/{COMPARISON}": document_text(document).encode("utf-8"),
        }
        facts[REINFORCEMENT] = _facts(asked.challenger, trained.challenger) | {"comparison": document}
    if labels is not None:
        facts["names"].insert(0, "regimes")
        files[REGIMES] = frame_bytes(labels.frame())
        facts["regimes"] = {"name": rule.NAME, "row_count": labels.count, "looks_back": rule.AMONG + rule.BARS}
    return Around(files, facts, comparison)


def _stage(name: str, asked: Experiment, trained: Training) -> dict[str, bytes]:
    return {
        f"{name}/experiment.json": (asked.canonical() + "\n").encode("utf-8"),
        f"{name}/metrics.json": document_text(trained.metrics).encode("utf-8"),
        f"{name}/checkpoints/candidate.npz": model_bytes(trained.candidate),
        **models_of_folds(f"{name}/checkpoints/folds.npz", trained),
    }


def _facts(asked: Experiment, trained: Training) -> dict[str, Any]:
    return {
        "experiment_sha256": asked.digest(),
        "kind": trained.candidate.kind,
        "metrics": dict(trained.metrics),
        "warm_start": None if trained.warmth is None else trained.warmth.as_document(),
        "folds": [fold_facts(one) for one in trained.folds],
    }


def _judged(rows: Predictions) -> Judged:
    moments, values = rows.portfolio()
    # A moment is judged by one fold, whatever the symbol.
    found, first = np.unique(rows.window_end, return_index=True)
    return Judged(moments, values, rows.split[first[np.searchsorted(found, moments)]])
