"""What do predictions out of sample say of the model that made them?

Refused when they are none; otherwise the operations summary that people sign, and the verdict of the gates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.evaluation import gates, sanity
from plms_pipeline.models.evaluation.gates import GateVerdict
from plms_pipeline.models.evaluation.guardrails import Violation, guard
from plms_pipeline.models.evaluation.summary import SummaryInput, evaluated, operations_summary
from plms_pipeline.models.evaluation.thresholds import Alert
from plms_pipeline.models.training.predictions import Predictions

if TYPE_CHECKING:
    import pandas as pd


def judged(rows: Predictions, asked: Request, *, run_id: str) -> tuple[dict[str, Any], GateVerdict]:
    """The operations summary of predictions out of sample, and the verdict of the gates.

    Raises:
        BadInput: the predictions are none: `outcome_before_prediction`, `levels_as_returns`.
    """
    frame = rows.frame()
    sanity.refuse_early_outcomes(frame, made_at="window_end", known_at="target_timestamp_1")
    sanity.refuse_levels(frame)
    book = book_of(frame)
    given = SummaryInput(
        run_id,
        benchmark_column="benchmark_return",
        timestamp="window_end",
        trials=asked.trials,
        thresholds=asked.limits,
        guardrails=asked.experiment.guardrails.config,
    )
    summary, alerts = summarised(frame, book, given)
    evidence = gates.evidence_of(_evidence(frame), trials=asked.trials, config=asked.gates)
    return summary, gates.judge(evidence, asked.gates, alerts=alerts)


def summarised(
    frame: pd.DataFrame, book: pd.DataFrame, given: SummaryInput
) -> tuple[dict[str, Any], tuple[Alert, ...]]:
    """The operations summary of predictions and a book, what the guardrails made of the book, and every broken limit.

    Args:
        book: positions; one without a column of sectors or factors is under no caps of those, which bind what is served.

    Raises:
        BadInput: a column is missing, or what should be returns cannot be.
        NoData: there are no predictions.
    """
    rails = given.guardrails
    found = evaluated(frame, book, given)
    if rails.columns.sector not in book.columns:
        rails = replace(rails, sector_caps={})
    if rails.columns.factor not in book.columns:
        rails = replace(rails, factor_caps={})
    guarded = guard(book, rails)
    found = replace(found, alerts=(*found.alerts, *(_broken(one) for one in guarded.violations)))
    summary = operations_summary(found, given)
    if rails.enabled:
        summary["enforcement"] = {
            "kind": rails.enforcement,
            "scaled": guarded.scaled,
            "violations": [one.as_document() for one in guarded.violations],
        }
    return summary, found.alerts


def _broken(one: Violation) -> Alert:
    # Names of symbols are data, and codes are stable.
    kind = one.name.partition(":")[0]
    return Alert(f"guardrail_{kind}_broken", one.name, one.value, one.threshold, f"Guardrails: {one.message}.")


def book_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Positions as the guardrails read them: of a capital of one, shared evenly by the symbols of a moment."""
    symbols = frame.groupby("window_end")["symbol"].transform("size")
    return frame.assign(
        timestamp=frame["window_end"], notional=frame["position"] / symbols, pnl=frame["realised_return"] / symbols
    )[["timestamp", "symbol", "notional", "pnl"]]


def _evidence(frame: pd.DataFrame) -> pd.DataFrame:
    names = {"window_end": gates.TIMESTAMP, "pred_step_1": gates.PREDICTED, "actual_return_step_1": gates.ACTUAL}
    return frame.rename(columns=names)[[gates.TIMESTAMP, gates.SYMBOL, gates.PREDICTED, gates.ACTUAL, gates.RETURN]]
