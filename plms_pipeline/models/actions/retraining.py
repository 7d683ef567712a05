"""What lies between a file of prices and a verdict about the model that was trained on them?

The stages of the source's retraining, with their names: `dataset` reads, checks and keeps what is trained on by its content;
`training` walks forward, so that every prediction is of a time that its model had not seen; `evaluation` turns them into
figures, limits that were broken, and the verdict of the gates; `report` writes what a person reads of them. Nothing here
promotes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from plms_pipeline.clock import Clock
from plms_pipeline.models.evaluation import gates
from plms_pipeline.models.evaluation.files import write_evaluation
from plms_pipeline.models.evaluation.gates import GateConfig, GateVerdict
from plms_pipeline.models.evaluation.summary import SummaryInput, evaluated, operations_summary
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.files import sha256_of
from plms_pipeline.models.market.bars import content_hash, select
from plms_pipeline.models.market.checks import Examination, examine
from plms_pipeline.models.market.files.keeping import snapshot, write_rejected
from plms_pipeline.models.market.files.reading import read_prices
from plms_pipeline.models.market.findings import Finding, insist
from plms_pipeline.models.reporting.actions import report_run
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.files import RUNS, RunFolder, environment, write_run
from plms_pipeline.models.training.fit import train
from plms_pipeline.models.training.manifest import Kept, Lineage, Origin
from plms_pipeline.models.training.predictions import Predictions

if TYPE_CHECKING:
    import pandas as pd

SNAPSHOTS: Final = "market_snapshots"
REJECTED: Final = "rejected_rows.csv"
# Hears the name of a stage as it begins, and what it works on.
Told = Callable[[str, str], None]
# Content hash of the data and digest of the experiment → how many experiments were tried on these data, this one included.
Counted = Callable[[str, str], int]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be trained, on what, by whom.

    `trials`: how many candidates were tried on these data at least, this one included; the luck of the best of them is taken
    off. The registry counts those that it knows (`retrain`'s `trials_of`); this may only raise it. `has_report`: whether
    report.html and report.md are written, too.
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


def retrain(
    asked: Request, *, root: Path, clock: Clock, run_id: str, code_version: str, told: Told = lambda _stage, _what: None,
    trials_of: Counted | None = None,
) -> Retrained:  # fmt: skip
    """Train a candidate and evaluate it.

    Args:
        root: below it lie snapshots and `automation_runs`.
        told: hears the name of each stage as it begins, and what it works on.
        trials_of: how many experiments were tried on data of this content hash, one of this digest included; None: only
            what the request says.

    Raises:
        BadInput, NoData, VerdictNo: as `dataset`; there are too few bars, or a feature is unknown. Nothing is left behind.
    """
    told("dataset", str(asked.dataset))
    data = dataset(asked)
    bars = data.examination.bars
    kept, _ = snapshot(root / SNAPSHOTS, bars)
    if trials_of is not None:
        asked = replace(asked, trials=max(asked.trials, trials_of(data.digest, asked.experiment.digest())))
    told("training", f"{len(bars.symbols)} symbols, {bars.timestamp.size} bars")
    trained = train(bars, asked.experiment)
    told("evaluation", f"{trained.predictions.count} predictions out of sample")
    summary, verdict = judged(trained.predictions, asked, run_id=run_id)
    origin = Origin(
        run_id, _second(clock.now()), code_version, environment(), Lineage(None, asked.requested_by, asked.reason),
        Kept(f"{SNAPSHOTS}/{kept.name}", sha256_of(kept)),
    )  # fmt: skip
    run = write_run(root / RUNS, bars, asked.experiment, trained, origin)
    write_evaluation(run.path, summary=summary, metrics=trained.metrics, gates=verdict.as_document())
    if data.rejected:
        write_rejected(run.path / REJECTED, data.examination.rejected)
    if asked.has_report:
        told("report", str(run.path))
        report_run(run.path)
    return Retrained(run, data, dict(trained.metrics), summary, verdict, asked.trials)


def judged(rows: Predictions, asked: Request, *, run_id: str) -> tuple[dict[str, Any], GateVerdict]:
    """The operations summary of predictions out of sample, and the verdict of the gates."""
    frame = rows.frame()
    given = SummaryInput(
        run_id,
        benchmark_column="benchmark_return",
        timestamp="window_end",
        trials=asked.trials,
        thresholds=asked.thresholds,
    )
    found = evaluated(frame, _book(frame), given)
    evidence = gates.evidence_of(_evidence(frame), trials=asked.trials, config=asked.gates)
    return operations_summary(found, given), gates.judge(evidence, asked.gates, alerts=found.alerts)


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
