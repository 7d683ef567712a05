"""From what was a candidate made, and which files are its?

One JSON document per run folder: the hash of the bars, the experiment with every default, code and environment, folds and
metrics, the model that it started from, and the SHA-256 of each file beside it. Whoever decides about the candidate decides
about these bytes; whoever promotes it compares them again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np

from plms_pipeline.models.layout import SCHEMA_VERSION
from plms_pipeline.models.market.bars import Bars, content_hash
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.fit import Fold, Training
from plms_pipeline.models.training.starting import Checkpoint

FAMILY: Final = "market"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a candidate comes from: the SHA-256 of the model file that it started from, who asked, why it was trained, and the
    candidate whose that model is.
    """

    started_from_sha256: str | None = None
    requested_by: str | None = None
    reason: str | None = None
    started_from: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored file: its path relative to the data folder, and the SHA-256 of its bytes."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Origin:
    """What the training could not know by itself: run, moment (UTC), version of the code, environment, lineage,
    where the bars were kept, what annotations weighed, and what the stages around the training were.
    """

    run_id: str
    created_at: datetime
    code_version: str
    environment: Mapping[str, str]
    lineage: Lineage = field(default_factory=Lineage)
    snapshot: Kept | None = None
    annotations: Mapping[str, Any] | None = None
    stages: Mapping[str, Any] = field(default_factory=dict)


def instant(moment: np.datetime64) -> str:
    """ISO 8601 with Z, to the second."""
    return f"{np.datetime_as_string(moment.astype('datetime64[s]'))}Z"


def plain(value: Any) -> Any:
    """The value as valid JSON can hold it: NaN and infinities are unknown (None), numpy scalars Python's."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def document_text(document: Mapping[str, Any]) -> str:
    """Valid JSON for people and programs: indented, sorted, with a newline at the end."""
    return json.dumps(plain(document), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def manifest(
    bars: Bars, asked: Experiment, trained: Training, origin: Origin, files: Mapping[str, str]
) -> dict[str, Any]:
    """The document.

    Args:
        bars: what was trained on.
        asked: the experiment.
        trained: what came out.
        origin: what surrounds the training.
        files: SHA-256 by path relative to the run folder.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "family": FAMILY,
        "run_id": origin.run_id,
        "created_at": origin.created_at.isoformat(),
        "code_version": origin.code_version,
        "environment": dict(origin.environment),
        "lineage": {
            "started_from": origin.lineage.started_from,
            "started_from_sha256": origin.lineage.started_from_sha256,
            "requested_by": origin.lineage.requested_by,
            "reason": origin.lineage.reason,
        },
        "data": data_facts(bars) | _snapshot_facts(origin.snapshot),
        "experiment": json.loads(asked.canonical()),
        "experiment_sha256": asked.digest(),
        "candidate": {
            "kind": trained.candidate.kind,
            "features": list(trained.candidate.features),
            "trained_from": instant(trained.trained_from),
            "trained_to": instant(trained.trained_to),
        },
        "folds": [fold_facts(one) for one in trained.folds],
        "metrics": dict(trained.metrics),
        "warm_start": None if trained.warmth is None else trained.warmth.as_document(),
        "stages": dict(origin.stages),
        "symbols_left_out": list(trained.left_out),
        "annotations": None if origin.annotations is None else dict(origin.annotations),
        "files": dict(sorted(files.items())),
    }


def data_facts(bars: Bars) -> dict[str, Any]:
    """Content hash, symbols, count and span of bars."""
    return {
        "content_hash": content_hash(bars),
        "symbols": list(bars.symbols),
        "bars": bars.count,
        "first": instant(bars.timestamp.min()),
        "last": instant(bars.timestamp.max()),
        "extras": sorted(bars.extras),
    }


def _snapshot_facts(kept: Kept | None) -> dict[str, Any]:
    return {} if kept is None else {"snapshot": kept.path, "snapshot_sha256": kept.sha256}


def fold_facts(fold: Fold) -> dict[str, Any]:
    """One split: spans, rows, information coefficient, and the weights that it started from (None: cold)."""
    return {
        "number": fold.split.number,
        "train_from": instant(fold.train_from),
        "train_to": instant(fold.train_to),
        "test_from": instant(fold.test_from),
        "test_to": instant(fold.test_to),
        "train_rows": fold.train_rows,
        "test_rows": fold.test_rows,
        "information_coefficient": fold.information_coefficient,
        "known_to": instant(fold.known_to),
        "start": None if fold.start is None else _start_facts(fold.start),
    }


def _start_facts(start: Checkpoint) -> dict[str, Any]:
    """The weights that a fold started from: the parent's own fold, or None for its candidate; all before the fold's test."""
    return {"parent_fold": start.fold, "known_to": instant(start.known_to)}
