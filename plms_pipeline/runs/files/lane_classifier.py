"""Where is what the corrections of lanes taught? In the document of the asset `lane_classifier`: JSON, never a pickle."""

from __future__ import annotations

import json
from pathlib import Path

from plms_pipeline.runs.lane_classifier import LaneModel, model_of, suggesting
from plms_pipeline.runs.lanes import Suggest

MAX_BYTES = 64 * 1024 * 1024


def learnt_model(data_dir: Path) -> LaneModel | None:
    """The model of the last night; None when no night has trained one here, or the document is not one."""
    path = data_dir / "documents" / "lane_classifier.json"
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        return model_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def learnt_lanes(data_dir: Path) -> Suggest | None:
    """What suggests lanes from the last night's model; None when it has learnt too little."""
    model = learnt_model(data_dir)
    return None if model is None else suggesting(model)
