"""What does the operations summary of a candidate say?

The document that people sign and programs read: the sources' keys (`risk`, `guardrails`, `triggered`), and beside them what
makes it evidence: schema version, run, limits, alerts with stable codes, how sure the figures are, and why some are null. It is
valid JSON: a bare NaN or Infinity is not, and half of all parsers refuse it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.bootstrap import RESAMPLES, SEED, Resampled, bootstrap
from plms_pipeline.models.evaluation.deflated_sharpe import DeflatedSharpe, deflated_sharpe
from plms_pipeline.models.evaluation.guardrails import GuardrailConfig, guardrail_metrics
from plms_pipeline.models.evaluation.returns import (
    TRADING_DAYS,
    Floats,
    ReturnKind,
    Returns,
    Weighting,
    paired,
    portfolio_path,
    returns_of,
)
from plms_pipeline.models.evaluation.risk import Figures, risk_figures
from plms_pipeline.models.evaluation.thresholds import Alert, OperationsThresholds, alerts_of

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class SummaryInput:
    """What a summary is made of, and how its columns are to be read.

    Attributes:
        run_id: of the evaluation.
        kind: what the return columns hold.
        weighting: how symbols of one moment make a portfolio.
        timestamp: column of moments of the predictions.
        trials: how many candidates were tried, this one included.
        trial_variance: of their Sharpe ratios per period, if known.
        guardrails: capital base, tail and column names by which trades are measured; its limits are not asked.
    """

    run_id: str
    kind: ReturnKind = "simple"
    weighting: Weighting = "mean"
    return_column: str = "realised_return"
    benchmark_column: str | None = None
    timestamp: str = "timestamp"
    periods_per_year: float = TRADING_DAYS
    trials: int = 1
    trial_variance: float | None = None
    resamples: int = RESAMPLES
    seed: int = SEED
    thresholds: OperationsThresholds = field(default_factory=OperationsThresholds)
    guardrails: GuardrailConfig = field(default_factory=GuardrailConfig)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Everything that a summary says, as values."""

    returns: Returns
    first: str
    last: str
    figures: Figures
    intervals: Resampled
    deflated: DeflatedSharpe | None
    guardrails: Mapping[str, float | None] | None
    alerts: tuple[Alert, ...]


def evaluated(predictions: pd.DataFrame, trades: pd.DataFrame | None, given: SummaryInput) -> Evaluated:
    """The figures of predictions and, if there are any, trades.

    Args:
        predictions: one row per symbol and moment with the realised returns.
        trades: one row per position and moment; None or empty: no guardrail figures.

    Raises:
        BadInput: a column is missing, or what should be returns cannot be.
        NoData: there are no predictions.
    """
    ours, theirs, moments = _paths(predictions, given)
    figures = risk_figures(ours, theirs)
    rails = None
    if trades is not None and not trades.empty:
        rails = guardrail_metrics(trades, _measuring(given))
    alerts = alerts_of(given.thresholds, risk=figures.values, guardrails=rails)
    intervals = bootstrap(ours, resamples=given.resamples, seed=given.seed)
    deflated = deflated_sharpe(ours.values, trials=given.trials, variance=given.trial_variance)
    return Evaluated(ours, moments[0], moments[1], figures, intervals, deflated, rails, alerts)


def operations_summary(found: Evaluated, given: SummaryInput) -> dict[str, Any]:
    """The document; `guardrails` is left out where there were no trades, as in the sources."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": given.run_id,
        "returns": {
            "column": given.return_column,
            "benchmark_column": given.benchmark_column,
            "kind": given.kind,
            "weighting": given.weighting,
            "periods": int(found.returns.values.size),
            "periods_per_year": given.periods_per_year,
            "dropped": found.returns.dropped,
            "first": found.first,
            "last": found.last,
        },
        "risk": found.figures.as_document(),
        "reasons": dict(found.figures.reasons),
        "uncertainty": found.intervals.as_document(),
        "deflated_sharpe": None if found.deflated is None else _deflated(found.deflated, given.trials),
        "thresholds": given.thresholds.as_document(),
        "alerts": [alert.as_document() for alert in found.alerts],
        "triggered": [alert.message for alert in found.alerts],
    }
    if found.guardrails is not None:
        document["guardrails"] = dict(found.guardrails)
    return document


def to_json(document: Mapping[str, Any]) -> str:
    """The document as text: sorted, indented by two, ending in a line feed.

    Raises:
        BadInput: a value is not finite, and so no JSON; the message says where it stands.
    """
    for path, value in _leaves(document, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise BadInput(f"`{path}` is {value}, which JSON does not know; a figure that is unknown is null.")
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _paths(predictions: pd.DataFrame, given: SummaryInput) -> tuple[Returns, Returns | None, tuple[str, str]]:
    path = portfolio_path(
        predictions, given.return_column, timestamp=given.timestamp, kind=given.kind, weighting=given.weighting
    )
    if not path.notna().any():
        raise NoData(f"Not one value of `{given.return_column}` is known; evaluate the candidate again.")
    moments = (_moment(path.index[0]), _moment(path.index[-1]))
    if given.benchmark_column is None:
        return returns_of(path, kind="simple", periods_per_year=given.periods_per_year), None, moments
    # The benchmark is repeated beside every symbol, so its rows of one moment are averaged whatever the weighting.
    against = portfolio_path(predictions, given.benchmark_column, timestamp=given.timestamp, kind=given.kind)
    ours, theirs = paired(path, against, kind="simple", periods_per_year=given.periods_per_year)
    return ours, theirs, moments


def _measuring(given: SummaryInput) -> GuardrailConfig:
    """How trades are measured: the floor of a tail event is the threshold's, so that its share says something."""
    rails = given.guardrails
    floor = rails.min_tail_return if given.thresholds.min_tail_return is None else given.thresholds.min_tail_return
    return GuardrailConfig(
        capital_base=rails.capital_base,
        tail_percentile=rails.tail_percentile,
        min_tail_return=floor,
        columns=rails.columns,
    )


def _deflated(found: DeflatedSharpe, trials: int) -> dict[str, Any]:
    return {
        "trials": trials,
        "sharpe_per_period": found.sharpe,
        "probabilistic": found.probabilistic,
        "expected_best_per_period": found.expected_best,
        "deflated": found.deflated,
    }


def _moment(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list | tuple):
        return [leaf for number, inner in enumerate(value) for leaf in _leaves(inner, f"{path}[{number}]")]
    return [(path, value)]


def path_of(predictions: pd.DataFrame, given: SummaryInput) -> Floats:
    """The portfolio's simple returns in the order of time, without unknown ones: (n,)."""
    return np.asarray(_paths(predictions, given)[0].values)
