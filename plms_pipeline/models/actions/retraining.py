"""What lies between a file of prices and a verdict about the model that was trained on them?

The stages of the source's retraining, with their names: `dataset` reads, checks and keeps what is trained on by its content;
`training` walks forward, so that every prediction is of a time that its model had not seen; `evaluation` turns them into
figures, limits that were broken, and the verdict of the gates; `report` writes what a person reads of them. Nothing here
promotes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput
from plms_pipeline.models.annotations.rules import Annotation
from plms_pipeline.models.annotations.weights import Weighted, weighted
from plms_pipeline.models.evaluation import gates, sanity
from plms_pipeline.models.evaluation.files import write_evaluation
from plms_pipeline.models.evaluation.gates import GateConfig, GateVerdict
from plms_pipeline.models.evaluation.guardrails import Guarded, GuardrailConfig, Violation, guard
from plms_pipeline.models.evaluation.summary import SummaryInput, evaluated, operations_summary
from plms_pipeline.models.evaluation.thresholds import Alert, OperationsThresholds
from plms_pipeline.models.files import sha256_of
from plms_pipeline.models.market.bars import Bars, content_hash, select
from plms_pipeline.models.market.checks import Examination, examine
from plms_pipeline.models.market.files.keeping import snapshot, write_rejected
from plms_pipeline.models.market.files.reading import read_prices
from plms_pipeline.models.market.findings import Finding, insist
from plms_pipeline.models.reporting.actions import report_run
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.features import FeatureFunction, backward_features
from plms_pipeline.models.training.files import RUNS, RunFolder, environment, write_run
from plms_pipeline.models.training.fit import train
from plms_pipeline.models.training.manifest import Kept, Lineage, Origin
from plms_pipeline.models.training.predictions import Predictions
from plms_pipeline.models.training.starting import Start
from plms_pipeline.models.training.trials import Trial, trial

if TYPE_CHECKING:
    import pandas as pd

SNAPSHOTS: Final = "market_snapshots"
REJECTED: Final = "rejected_rows.csv"
# Hears the name of a stage as it begins, and what it works on.
Told = Callable[[str, str], None]
# Content hash of the data, what this training tries → how many were tried on these data and over the lineage, these included.
Counted = Callable[[str, Collection[Trial]], int]
# Symbols → what people said about trades of them.
Said = Callable[[Sequence[str]], Sequence[Annotation]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be trained, on what, by whom.

    `trials`: how many candidates were tried on these data at least, this one included; the luck of the best of them is taken
    off. The registry counts those that it knows (`retrain`'s `trials_of`); this may only raise it. `thresholds`: limits that
    go before those of the experiment. `has_report`: whether report.html and report.md are written, too. `start`: the candidate
    that it starts from, of whose experiment this one is a branch.
    """

    dataset: Path
    experiment: Experiment
    strict: bool = False
    symbol: str | None = None
    trials: int = 1
    thresholds: OperationsThresholds = field(default_factory=OperationsThresholds)
    gates: GateConfig = field(default_factory=GateConfig)
    requested_by: str | None = None
    reason: str | None = None
    has_report: bool = True
    start: Start | None = None

    @property
    def limits(self) -> OperationsThresholds:
        """The limits of the experiment, but for those that the request names itself."""
        named = {name: limit for name, limit in self.thresholds.as_document().items() if limit is not None}
        return replace(self.experiment.thresholds.limits, **named)


@dataclass(frozen=True, slots=True)
class Data:
    """What a file of prices holds: its bars and what speaks against them; `digest` is that of their content."""

    examination: Examination
    digest: str

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, errors and warnings."""
        return self.examination.findings

    @property
    def rejected(self) -> int:
        """How many rows were taken out."""
        return self.examination.rejected.rows.count


@dataclass(frozen=True, slots=True)
class Retrained:
    """A training as it came out: its folder, what was measured, and what keeps it from being promoted, if anything."""

    run: RunFolder
    data: Data
    metrics: dict[str, Any]
    summary: dict[str, Any]
    verdict: GateVerdict
    trials: int = 1
    tried: tuple[Trial, ...] = ()


def dataset(asked: Request, *, as_of: datetime | None = None) -> Data:
    """Read and check the prices of a request; writes nothing.

    Args:
        as_of: the present, aware; with it rows of the future are taken out, and symbols without a recent bar are found.

    Raises:
        BadInput: the file is none of prices.
        NoData: no row can be used, or a symbol that was asked for is not there.
        VerdictNo: the check is strict, and something is wrong (`data_not_valid`).
    """
    present = None if as_of is None else np.datetime64(as_of.astimezone(UTC).replace(tzinfo=None), "us")
    found = examine(read_prices(asked.dataset, symbol=asked.symbol), as_of=present)
    if asked.strict or asked.experiment.data.strict_validation:
        insist(found.findings, str(asked.dataset))
    if asked.experiment.data.symbols is not None:
        select(found.bars, asked.experiment.data.symbols)
    return Data(found, content_hash(found.bars))


def refuse_what_deceives(bars: Bars, asked: Experiment, function: FeatureFunction = backward_features) -> None:
    """What looks like skill and is none is refused before anything is trained on it.

    Args:
        bars: of all symbols; those of the experiment are looked at.
        function: what computes the features.

    Raises:
        BadInput: `shuffled_time`, `returns_as_prices` or `look_ahead_features`; the message names symbols or features.
    """
    chosen = bars if asked.data.symbols is None else select(bars, asked.data.symbols)
    # Returns in place of prices are out of order besides: what they are comes first.
    sanity.refuse_returns_as_prices(chosen)
    sanity.refuse_shuffled(chosen)
    sanity.refuse_look_ahead(chosen, function, asked.data.features)


def retrain(
    asked: Request, *, root: Path, clock: Clock, run_id: str, code_version: str, told: Told = lambda _stage, _what: None,
    trials_of: Counted | None = None, function: FeatureFunction = backward_features, said: Said | None = None,
) -> Retrained:  # fmt: skip
    """Train a candidate and evaluate it.

    Args:
        root: below it lie snapshots and `automation_runs`.
        told: hears the name of each stage as it begins, and what it works on.
        trials_of: how many were tried on data of this content hash, and over the lineage; None: only what the request says.
        function: what computes the features.
        said: what people said about trades of these symbols: shown in the report, and weighed as the experiment says.

    Raises:
        BadInput, NoData, VerdictNo: as `dataset`, `refuse_what_deceives` and `judged`; there are too few bars, or a feature is
            unknown. Nothing is left behind but the snapshot of what was to be trained on.
    """
    told("dataset", str(asked.dataset))
    data = dataset(asked)
    bars = data.examination.bars
    refuse_what_deceives(bars, asked.experiment, function)
    kept, _ = snapshot(root / SNAPSHOTS, bars)
    told("training", f"{len(bars.symbols)} symbols, {bars.timestamp.size} bars")
    spoken = None if said is None else tuple(said(bars.symbols))
    weight = _weighted(bars, asked.experiment, spoken)
    trained = train(
        bars, asked.experiment, weights=None if weight is None else weight.weights, start=asked.start, function=function
    )
    if trained.warmth is not None:
        told("start", trained.warmth.sentence)
    tried = (trial(asked.experiment.digest(), None if trained.warmth is None else trained.warmth.weights_sha256),)
    if trials_of is not None:
        asked = replace(asked, trials=max(asked.trials, trials_of(data.digest, tried)))
    told("evaluation", f"{trained.predictions.count} predictions out of sample")
    summary, verdict = judged(trained.predictions, asked, run_id=run_id)
    origin = Origin(
        run_id, _second(clock.now()), code_version, environment(), _lineage(asked),
        Kept(f"{SNAPSHOTS}/{kept.name}", sha256_of(kept)),
        None if weight is None else weight.as_document(asked.experiment.annotations.by_word),
    )  # fmt: skip
    run = write_run(root / RUNS, bars, asked.experiment, trained, origin)
    write_evaluation(run.path, summary=summary, metrics=trained.metrics, gates=verdict.as_document())
    if data.rejected:
        write_rejected(run.path / REJECTED, data.examination.rejected)
    if asked.has_report:
        told("report", str(run.path))
        report_run(run.path, annotations=None if spoken is None else [one.as_document() for one in spoken])
    return Retrained(run, data, dict(trained.metrics), summary, verdict, asked.trials, tried)


def _lineage(asked: Request) -> Lineage:
    if asked.start is None:
        return Lineage(None, asked.requested_by, asked.reason)
    return Lineage(asked.start.model_sha256, asked.requested_by, asked.reason, asked.start.candidate_id)


def _weighted(bars: Bars, asked: Experiment, spoken: Sequence[Annotation] | None) -> Weighted | None:
    """What annotations make each bar weigh; None where the experiment weighs none."""
    if asked.annotations.weights and spoken is None:
        raise BadInput(
            "The experiment weighs annotations, which are in the registry; train without --output-dir, or without "
            "annotations.weights.",
            code="no_annotations",
        )
    return weighted(bars, spoken or (), asked.annotations.by_word)


def judged(rows: Predictions, asked: Request, *, run_id: str) -> tuple[dict[str, Any], GateVerdict]:
    """The operations summary of predictions out of sample, and the verdict of the gates.

    Raises:
        BadInput: the predictions are none: `outcome_before_prediction`, `levels_as_returns`.
    """
    frame = rows.frame()
    sanity.refuse_early_outcomes(frame, made_at="window_end", known_at="target_timestamp_1")
    sanity.refuse_levels(frame)
    rails = asked.experiment.guardrails.config
    book = _book(frame)
    given = SummaryInput(
        run_id,
        benchmark_column="benchmark_return",
        timestamp="window_end",
        trials=asked.trials,
        thresholds=asked.limits,
        guardrails=rails,
    )
    found = evaluated(frame, book, given)
    guarded = _guarded(book, rails)
    found = replace(found, alerts=(*found.alerts, *(_broken(one) for one in guarded.violations)))
    evidence = gates.evidence_of(_evidence(frame), trials=asked.trials, config=asked.gates)
    summary = operations_summary(found, given)
    if rails.enabled:
        summary["enforcement"] = {
            "kind": rails.enforcement,
            "scaled": guarded.scaled,
            "violations": [one.as_document() for one in guarded.violations],
        }
    return summary, gates.judge(evidence, asked.gates, alerts=found.alerts)


def _guarded(book: pd.DataFrame, rails: GuardrailConfig) -> Guarded:
    """The book under the guardrails of the experiment; bars have no sectors and factors: those caps bind what is served."""
    return guard(book, replace(rails, sector_caps={}, factor_caps={}))


def _broken(one: Violation) -> Alert:
    # Names of symbols are data, and codes are stable.
    kind = one.name.partition(":")[0]
    return Alert(f"guardrail_{kind}_broken", one.name, one.value, one.threshold, f"Guardrails: {one.message}.")


def _book(frame: pd.DataFrame) -> pd.DataFrame:
    """Positions as the guardrails read them: of a capital of one, shared evenly by the symbols of a moment."""
    symbols = frame.groupby("window_end")["symbol"].transform("size")
    return frame.assign(
        timestamp=frame["window_end"], notional=frame["position"] / symbols, pnl=frame["realised_return"] / symbols
    )[["timestamp", "symbol", "notional", "pnl"]]


def _evidence(frame: pd.DataFrame) -> pd.DataFrame:
    names = {"window_end": gates.TIMESTAMP, "pred_step_1": gates.PREDICTED, "actual_return_step_1": gates.ACTUAL}
    return frame.rename(columns=names)[[gates.TIMESTAMP, gates.SYMBOL, gates.PREDICTED, gates.ACTUAL, gates.RETURN]]


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
