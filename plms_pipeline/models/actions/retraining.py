"""What lies between a file of prices and a verdict about the model that was trained on them?

The stages of the source's retraining, with their names: `dataset` reads, checks and keeps what is trained on by its content;
`training` walks forward, so that every prediction is of a time that its model had not seen; `evaluation` turns them into
figures, limits that were broken, and the verdict of the gates; `report` writes what a person reads of them. Nothing here
promotes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from plms_pipeline.clock import Clock
from plms_pipeline.models.actions.evaluating import judged
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.succession import around
from plms_pipeline.models.annotations.hearing import Hearing
from plms_pipeline.models.annotations.rules import Annotation
from plms_pipeline.models.evaluation import sanity
from plms_pipeline.models.evaluation.comparing import Compared
from plms_pipeline.models.evaluation.files import write_evaluation
from plms_pipeline.models.evaluation.gates import GateVerdict
from plms_pipeline.models.files.reading import sha256_of
from plms_pipeline.models.market.bars import Bars, content_hash, select
from plms_pipeline.models.market.checks import Examination, examine
from plms_pipeline.models.market.files.keeping import snapshot, write_rejected
from plms_pipeline.models.market.files.reading import read_prices
from plms_pipeline.models.market.findings import Finding, insist
from plms_pipeline.models.market.regimes import NAME, Regimes, volatility_regimes
from plms_pipeline.models.reporting.actions import report_run
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.features import FeatureFunction, backward_features
from plms_pipeline.models.training.files import RUNS, RunFolder, environment, model_sha256, write_run
from plms_pipeline.models.training.fit import Training
from plms_pipeline.models.training.manifest import Kept, Lineage, Origin
from plms_pipeline.models.training.successive import TRAINING, trained_in_turn
from plms_pipeline.models.training.trials import Trial

SNAPSHOTS: Final = "market_snapshots"
REJECTED: Final = "rejected_rows.csv"
# Hears the name of a stage as it begins, and what it works on.
Told = Callable[[str, str], None]
# Content hash of the data, what this training tries → how many were tried on these data and over the lineage, these included.
Counted = Callable[[str, Collection[Trial]], int]
# Symbols → what people said about trades of them.
Said = Callable[[Sequence[str]], Sequence[Annotation]]


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
    comparison: Compared | None = None


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
    if asked.is_strict:
        insist(found.findings, str(asked.dataset))
    for one in asked.experiments:
        if one.data.symbols is not None:
            select(found.bars, one.data.symbols)
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
    for one in asked.experiments:
        refuse_what_deceives(bars, one, function)
    kept, _ = snapshot(root / SNAPSHOTS, bars)
    labels = _regimes(bars, asked, told)
    spoken = None if said is None else tuple(said(bars.symbols))
    hearing = Hearing(bars, spoken)
    found = trained_in_turn(
        bars, asked.succession, weigh=hearing.weigh, digest=model_sha256, told=told, function=function
    )
    heard = hearing.stages[asked.succession.stages.index(TRAINING)]
    if heard.weighing is not None:
        told("annotations", heard.sentence)
    trained = found.training if labels is None else _labelled(found.training, labels)
    counted = len(found.tried) if trials_of is None else trials_of(data.digest, found.tried)
    asked = replace(asked, trials=max(asked.trials, counted))
    told("evaluation", f"{trained.predictions.count} predictions out of sample")
    summary, verdict = judged(trained.predictions, asked, run_id=run_id)
    beside = around(asked.succession, found, labels, resamples=asked.gates.resamples)
    origin = Origin(
        run_id, _second(clock.now()), code_version, environment(), _lineage(asked),
        Kept(f"{SNAPSHOTS}/{kept.name}", sha256_of(kept)),
        heard.document, beside.facts,
    )  # fmt: skip

    def finish(folder: Path) -> None:
        write_evaluation(folder, summary=summary, metrics=trained.metrics, gates=verdict.as_document())
        if data.rejected:
            write_rejected(folder / REJECTED, data.examination.rejected)
        if asked.has_report:
            told("report", "a page and Markdown")
            report_run(folder, annotations=None if spoken is None else [one.as_document() for one in spoken])

    run = write_run(root / RUNS, bars, asked.experiment, trained, origin, beside.files, finish)
    return Retrained(run, data, dict(trained.metrics), summary, verdict, asked.trials, found.tried, beside.comparison)


def _regimes(bars: Bars, asked: Request, told: Told) -> Regimes | None:
    if not asked.has_regimes:
        return None
    labels = volatility_regimes(bars)
    told("regimes", f"{labels.count} labels of volatility")
    return labels


def _labelled(trained: Training, labels: Regimes) -> Training:
    """The training whose predictions say in which regime each was made."""
    rows = trained.predictions
    named = labels.of(np.array(rows.symbols, dtype=object)[rows.codes], rows.window_end)
    return replace(trained, predictions=replace(rows, regimes={NAME: named}))


def _lineage(asked: Request) -> Lineage:
    if asked.start is None:
        return Lineage(None, asked.requested_by, asked.reason)
    return Lineage(asked.start.model_sha256, asked.requested_by, asked.reason, asked.start.candidate_id)


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
