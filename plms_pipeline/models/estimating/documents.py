"""What is written of a training of estimates: manifest, summary, metrics, gates, and the judged forecasts?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from plms_pipeline.measures import UNITS, Measure
from plms_pipeline.models.estimating.book import Book
from plms_pipeline.models.estimating.experiment import EstimatesExperiment
from plms_pipeline.models.estimating.judging import Judgement, blocking
from plms_pipeline.models.estimating.model import EstimatesModel, Part
from plms_pipeline.models.estimating.walkforward import Walked
from plms_pipeline.models.layout import SCHEMA_VERSION
from plms_pipeline.models.records import ESTIMATES
from plms_pipeline.models.training.manifest import Origin


def manifest(
    book: Book, asked: EstimatesExperiment, model: EstimatesModel, walked: Mapping[Measure, Walked], origin: Origin,
    files: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """The document that vouches for a run's files.

    Args:
        origin: what surrounds the training; it knows where the receipts were kept.
        files: SHA-256 by path relative to the run folder.
    """
    kept = origin.snapshot
    ended = book.columns["completed_ms"]
    return {
        "schema_version": SCHEMA_VERSION, "family": ESTIMATES, "run_id": origin.run_id,
        "created_at": origin.created_at.isoformat(), "code_version": origin.code_version,
        "environment": dict(origin.environment),
        "lineage": {
            "started_from_sha256": origin.lineage.started_from_sha256, "requested_by": origin.lineage.requested_by,
            "reason": origin.lineage.reason,
        },
        "data": {
            "content_hash": book.digest(), "receipts": len(book), "first": _moment(ended.min()), "last": _moment(ended.max()),
            **({} if kept is None else {"snapshot": kept.path, "snapshot_sha256": kept.sha256}),
        },
        "experiment": json.loads(asked.canonical()), "experiment_sha256": asked.digest(),
        "candidate": {
            "kind": "mixed_effects_on_priors", "serves": sorted([list(pair) for pair in model.serves]),
            "parts": {measure: _part(part) for measure, part in model.parts.items()},
        },
        "folds": {
            measure: [{"number": place, "train_rows": rows, **_part(part)} for place, (rows, part) in enumerate(one.fits)]
            for measure, one in walked.items()
        },
        "files": dict(sorted(files.items())),
    }  # fmt: skip


def _moment(at_ms: float) -> str:
    return datetime.fromtimestamp(int(at_ms) / 1000, UTC).isoformat()


def _part(part: Part) -> dict[str, Any]:
    return {
        "variances": list(part.scatter.variances), "noise": part.scatter.noise,
        "trust": {basis: {"share": one.share, "by_slope": one.by_slope} for basis, one in part.trust.items()},
    }  # fmt: skip


def summary(judged: Sequence[Judgement], *, run_id: str) -> dict[str, Any]:
    """What people sign: per measure and basis the figures beside those of the priors, and where the model is heard."""
    return {
        "schema_version": SCHEMA_VERSION, "run_id": run_id, "family": ESTIMATES, "alerts": [], "triggered": [],
        "estimates": [{"unit": UNITS[one.measure], **one.as_document()} for one in judged],
        "served": [[one.measure, one.basis] for one in judged if one.passed],
        "left_to_the_priors": [
            {"measure": one.measure, "basis": one.basis,
             "because": [condition.reason for condition in one.conditions if not condition.passed]}
            for one in judged if not one.passed
        ],
    }  # fmt: skip


def metrics(judged: Sequence[Judgement]) -> dict[str, Any]:
    """The headline figures by `measure.basis`."""
    return {
        f"{one.measure}.{one.basis}": {
            name: value for name, value in one.figures.items() if isinstance(value, int | float) or value is None
        }
        for one in judged
    }


def gates(judged: Sequence[Judgement]) -> dict[str, Any]:
    """Every condition as a gate; what fails in one part alone leaves that part to the priors and blocks nothing."""
    blocked = blocking(judged)
    overall = {
        "name": "beats_the_priors_somewhere", "passed": not blocked, "value": float(sum(one.passed for one in judged)),
        "threshold": 1.0, "reason": "it beats the priors nowhere by enough" if blocked else "",
    }  # fmt: skip
    return {
        "passed": not blocked,
        "gates": [
            overall,
            *(
                {**condition.as_document(), "name": f"{one.measure}.{one.basis}.{condition.name}"}
                for one in judged
                for condition in one.conditions
            ),
        ],
    }


def predictions(walked: Mapping[Measure, Walked]) -> pd.DataFrame:
    """The judged forecasts of all measures and bases beside those of the priors, one row each."""
    frames = []
    for measure, one in walked.items():
        for basis, found in one.forecasts.items():
            seen = found.history
            frames.append(pd.DataFrame({
                "measure": measure, "basis": basis, "lane_id": seen.lane_id, "provider": seen.provider.astype(str),
                "task": seen.task.astype(str), "kind": seen.kind.astype(str), "complexity": seen.complexity.astype(str),
                "made_at": pd.to_datetime(seen.started_ms, unit="ms", utc=True),
                "ended_at": pd.to_datetime(seen.completed_ms, unit="ms", utc=True), "actual": seen.value,
                **{name: found.quantiles[:, place] for name, place in _ENDS.items()},
                **{f"prior_{name}": found.prior[:, place] for name, place in _ENDS.items()},
            }))  # fmt: skip
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


_ENDS = {"low": 1, "median": 19, "high": 37}
