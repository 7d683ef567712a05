"""Where does an evaluation lie? Beside the predictions of its run, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.models.evaluation.summary import to_json
from plms_pipeline.models.layout import EVALUATION, SUMMARY

METRICS: Final = "metrics.json"
GATES: Final = "gates.json"


def write_evaluation(
    run: Path, *, summary: Mapping[str, Any], metrics: Mapping[str, Any], gates: Mapping[str, Any]
) -> Path:
    """Write the three documents of an evaluation into the folder of a run; the folder.

    Args:
        run: the folder that `training.files.write_run` made.
        summary: `operations_summary`.
        metrics: how good the predictions were, apart from what trading made of them.
        gates: the verdict, with every gate.
    """
    folder = run / EVALUATION
    for name, document in ((METRICS, metrics), (GATES, gates), (SUMMARY, summary)):
        with replacing(folder / name) as file:
            file.write(to_json(document).encode("utf-8"))
    return folder
