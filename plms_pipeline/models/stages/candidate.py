"""What is told of a candidate: its model, its predictions out of sample, the verdict about them, and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.sanity import refuse_early_outcomes
from plms_pipeline.models.market.suspicions import levels_as_returns
from plms_pipeline.models.stages.names import (
    CANDIDATE_EVALUATION,
    CANDIDATE_MODEL,
    CANDIDATE_PREDICTIONS,
    FILES_UNCHANGED,
    GATES,
    NO_LEVELS,
    NO_LIMIT_BROKEN,
    OPERATIONS_SUMMARY,
    OUT_OF_SAMPLE,
    OUTCOMES_LATER,
    SUMMARY_UNCHANGED,
)
from plms_pipeline.models.stages.stage import Check, Fact, Stage, figure, shown, table

if TYPE_CHECKING:
    import pandas as pd

LIMIT: Final = "limit:"
_MADE, _KNOWN, _SPLIT, _RETURN = "window_end", "target_timestamp_1", "split", "realised_return"
_HEADLINES: Final = (
    "sharpe", "sortino", "max_drawdown", "total_return", "annualised_return", "volatility", "hit_rate", "information_ratio",
)  # fmt: skip


def model_stage(manifest: Mapping[str, Any], *, model_sha256: str, folder: str, altered: str = "") -> Stage:
    """The model and where it comes from.

    Args:
        manifest: of its run.
        altered: what is wrong with the files of the run, "" if they are as they were trained.
    """
    made, data = manifest["candidate"], manifest["data"]
    facts: dict[str, Fact] = {
        "kind": made["kind"], "features": len(made["features"]), "trained_from": made["trained_from"],
        "trained_to": made["trained_to"], "folds": len(manifest["folds"]), "symbols": len(data["symbols"]),
        "model_sha256": model_sha256, "data_sha256": data["content_hash"],
        "experiment_sha256": manifest["experiment_sha256"], "code_version": manifest["code_version"],
        "requested_by": manifest["lineage"]["requested_by"], "reason": manifest["lineage"]["reason"],
    }  # fmt: skip
    warm = manifest.get("warm_start") or {}
    if warm:
        facts |= {"starts_from": warm.get("from"), "warm_folds": warm["warm_folds"], "cold_folds": warm["cold_folds"]}
    lines = ["| fold | trained | judged | rows | information coefficient | starts |", "|--:|---|---|--:|--:|---|"]
    lines += [
        f"| {one['number']} | {one['train_from'][:10]} – {one['train_to'][:10]} | {one['test_from'][:10]} – "
        f"{one['test_to'][:10]} | {one['test_rows']} | {figure(one['information_coefficient'])} | {_started(one)} |"
        for one in manifest["folds"]
    ]
    check = Check(FILES_UNCHANGED, not altered, altered)
    return Stage(CANDIDATE_MODEL, facts, (check,), {"folds_table": "\n".join(lines)}, {"folder": folder})


def _started(fold: Mapping[str, Any]) -> str:
    """From which weights a fold started."""
    start = fold.get("start")
    if not start:
        return "cold"
    whose = "the parent" if start["parent_fold"] is None else f"fold {start['parent_fold']} of the parent"
    return f"from {whose}, taught up to {start['known_to'][:10]}"


def predictions_stage(frame: pd.DataFrame, metrics: Mapping[str, Any], folds: Sequence[Mapping[str, Any]]) -> Stage:
    """The predictions out of sample, and whether they can be believed to be that.

    Args:
        frame: the rows of `predictions.parquet`.
        metrics: how good they were.
        folds: of the manifest.
    """
    facts: dict[str, Fact] = {"dagster/row_count": len(frame), **{name: metrics.get(name) for name in sorted(metrics)}}
    returns = np.asarray(frame[_RETURN], dtype=np.float64)
    wrong = levels_as_returns(returns, _RETURN)
    early = _refusal(frame)
    inside = _inside(frame, folds)
    checks = (
        Check(OUTCOMES_LATER, not early, early),
        Check(OUT_OF_SAMPLE, not inside, inside),
        Check(NO_LEVELS, wrong is None, "" if wrong is None else wrong.sentence),
    )
    return Stage(CANDIDATE_PREDICTIONS, facts, checks, {"skill": table(metrics)})


def _refusal(frame: pd.DataFrame) -> str:
    try:
        refuse_early_outcomes(frame, made_at=_MADE, known_at=_KNOWN)
    except BadInput as error:
        return error.message
    return ""


def _inside(frame: pd.DataFrame, folds: Sequence[Mapping[str, Any]]) -> str:
    """Which predictions lie in what their own model was trained on, or in no fold at all."""
    spans = {int(one["number"]): one for one in folds}
    wrong = []
    for number in sorted({int(one) for one in frame[_SPLIT]}):
        rows, fold = frame.loc[frame[_SPLIT] == number, _MADE], spans.get(number)
        first, last = rows.min(), rows.max()
        if fold is None:
            wrong.append(f"fold {number} is unknown")
        elif first.tz_localize(None) <= np.datetime64(_known_to(fold).removesuffix("Z")):
            wrong.append(f"fold {number} predicts {str(first)[:19]}, and knows everything up to {_known_to(fold)}")
        elif last.tz_localize(None) > np.datetime64(fold["test_to"].removesuffix("Z")):
            wrong.append(f"fold {number} predicts {str(last)[:19]}, behind its last moment {fold['test_to']}")
    return f"{'; '.join(wrong)}: train again." if wrong else ""


def _known_to(fold: Mapping[str, Any]) -> str:
    """Up to where the model of a fold, and whoever it started from, was taught."""
    return max(str(fold["train_to"]), str(fold.get("known_to") or ""))


def evaluation_stage(gates: Sequence[Mapping[str, Any]]) -> Stage:
    """The verdict of the gates, each a sentence; one that is not in the file has not been passed."""
    found = {str(one["name"]): one for one in gates}
    checks = tuple(_gate(name, found.get(name)) for name in GATES)
    limits = [one for one in gates if str(one["name"]).startswith(LIMIT)]
    failed = [one for one in gates if not one["passed"]]
    facts: dict[str, Fact] = {
        "passed": not failed and bool(gates), "gates": len(gates), "gates_failed": len(failed), "limits_broken": len(limits),
    }  # fmt: skip
    lines = ["| gate | passed | value | needed | why not |", "|---|---|--:|--:|---|"]
    lines += [
        f"| {shown(one['name'])} | {'yes' if one['passed'] else '**no**'} | {figure(one['value'])} | "
        f"{figure(one['threshold'])} | {shown(one['reason'])} |"
        for one in gates
    ]
    return Stage(CANDIDATE_EVALUATION, facts, checks, {"verdict": "\n".join(lines)})


def _gate(name: str, found: Mapping[str, Any] | None) -> Check:
    if found is None:
        return Check(name, passed=False, why="The evaluation does not say; evaluate the candidate again.")
    return Check(
        name, bool(found["passed"]), str(found["reason"]), {"value": found["value"], "threshold": found["threshold"]}
    )


def summary_stage(summary: Mapping[str, Any], *, sha256: str, path: str, altered: str = "") -> Stage:
    """The operations summary: headline figures, and which of its limits are broken.

    Args:
        sha256: of the file.
        altered: what is wrong with the file, "" if it is the registered one.
    """
    risk, alerts = summary["risk"], summary["alerts"]
    deflated = summary.get("deflated_sharpe") or {}
    facts: dict[str, Fact] = {
        **{name: risk.get(name) for name in _HEADLINES}, "deflated_sharpe": deflated.get("deflated"),
        "trials": deflated.get("trials"), "periods": summary["returns"]["periods"], "first": summary["returns"]["first"],
        "last": summary["returns"]["last"], "alerts": len(alerts), "evaluation_sha256": sha256,
    }  # fmt: skip
    why = " ".join(str(one["message"]) for one in alerts)
    checks = (
        Check(NO_LIMIT_BROKEN, not alerts, why, {str(one["code"]): one["value"] for one in alerts}),
        Check(SUMMARY_UNCHANGED, not altered, altered),
    )
    texts = {"risk": table(risk)}
    if summary.get("guardrails"):
        texts["guardrails"] = table(summary["guardrails"])
    return Stage(OPERATIONS_SUMMARY, facts, checks, texts, {"summary": path})
