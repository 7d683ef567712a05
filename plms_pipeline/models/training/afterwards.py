"""What does a model say of the bars that came after everything it knows?

The source scored its whole dataset, the rows that had taught the model included. Here a bar is scored only if it lies after the
newest one that the model, or whoever it started from, may have seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import Bars, select
from plms_pipeline.models.training.experiment import Experiment, branch
from plms_pipeline.models.training.fit import matrix, predictions_of
from plms_pipeline.models.training.predictions import Predictions
from plms_pipeline.models.training.starting import known_to
from plms_pipeline.models.training.stored import Model


def of_any_symbols(asked: Experiment) -> Experiment:
    """The same experiment, whatever the symbols."""
    return branch(asked, {"data": {"symbols": None, "strict_validation": False}})


def predicted_afterwards(bars: Bars, model: Model, asked: Experiment, manifest: Mapping[str, Any]) -> Predictions:
    """Predictions of the bars after what a model knows, with what came of them.

    Args:
        bars: the bars that it is asked about, with enough history before them for its features.
        asked: its experiment.
        manifest: of its run.

    Raises:
        BadInput: none of its symbols is there (`other_symbols`), or they lack a signal that it was taught (`other_features`).
        NoData: no bar lies after what it knows and has a known outcome.
    """
    known = known_to(manifest)
    left_out = set(manifest.get("symbols_left_out") or ())
    taught = set(manifest["data"]["symbols"] if asked.data.symbols is None else asked.data.symbols) - left_out
    there = tuple(name for name in bars.symbols if name in taught)
    if not there:
        raise BadInput(
            f"The prices hold none of the model's symbols ({', '.join(sorted(taught)[:8])}); give prices of these.",
            code="other_symbols",
        )
    rows = matrix(select(bars, there), of_any_symbols(asked))
    if rows.features.names != model.features:
        raise BadInput(
            "The prices give other features than the model was taught; give prices with the same further signals.",
            code="other_features",
        )
    judged = np.flatnonzero(rows.teachable & (rows.bars.timestamp > known))
    if not judged.size:
        raise NoData(
            f"No bar after {str(known)[:19]}, up to which the model knows everything, has features and a known outcome; "
            "import newer prices, or leave --dataset out: then what it said out of sample is evaluated again.",
            code="nothing_newer",
        )
    scores, number = np.full(rows.bars.count, np.nan), np.full(rows.bars.count, -1, dtype=np.int64)
    scores[judged] = model.predict(rows.features.values[judged])
    number[judged] = 0
    return predictions_of(rows, scores, number, asked)
