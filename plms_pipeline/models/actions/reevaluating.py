"""How is a run that is there evaluated again?

What its model said out of sample, or what it says of newer bars, under other limits, columns and trades. The files of the run
are those that people decide about: they are compared with their manifest before anything is read, and never written again. What
comes out lies elsewhere, says which bytes it is about, and is no candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, NotFound
from plms_pipeline.models.actions.evaluating import book_of, summarised
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.retraining import dataset
from plms_pipeline.models.evaluation.books import Columns
from plms_pipeline.models.evaluation.books import book_of as book_of_positions
from plms_pipeline.models.evaluation.files import (
    METRICS,
    document_bytes,
    refuse_inside_a_run,
    table_bytes,
    write_all,
)
from plms_pipeline.models.evaluation.summary import SummaryInput
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.layout import EVALUATION, SUMMARY
from plms_pipeline.models.reporting.actions import Sources, report_model
from plms_pipeline.models.reporting.composing import Asked
from plms_pipeline.models.reporting.files import HTML, MARKDOWN, read_document, read_predictions
from plms_pipeline.models.reporting.reading import moments_of
from plms_pipeline.models.training.afterwards import of_any_symbols, predicted_afterwards
from plms_pipeline.models.training.experiment import Experiment, branch, experiment
from plms_pipeline.models.training.files import CANDIDATE, PREDICTIONS, RunFolder, load_model, verify_run
from plms_pipeline.models.training.manifest import FAMILY
from plms_pipeline.models.training.predictions import COLUMNS, skill

if TYPE_CHECKING:
    import pandas as pd

EVALUATIONS: Final = "evaluations"
RECORD: Final = "evaluation.json"
RETURNS, BENCHMARK = "realised_return", "benchmark_return"
_JUDGES: Final = ("thresholds", "guardrails")


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where an evaluation goes; a relative path lies in the folder."""

    folder: Path
    predictions: Path = Path("predictions.parquet")
    metrics: Path = Path(METRICS)
    operations: Path = Path(SUMMARY)

    @property
    def named(self) -> dict[str, Path]:
        """The files by the option that names them."""
        return {
            "--eval-predictions": self.folder / self.predictions,
            "--eval-metrics": self.folder / self.metrics,
            "--eval-operations": self.folder / self.operations,
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is to be evaluated, and how.

    Attributes:
        run: folder of the run, or the file of its model.
        manifest_sha256: what the registry says of the manifest; None: nobody said.
        dataset: prices whose bars after the model's are scored; None: what was predicted out of sample.
        changes: a document with `thresholds` and `guardrails`, in place of those of the experiment.
        thresholds: limits that go before both.
        trades: a log of positions to hold against the limits; None: the book that the predictions make.
        columns: what its columns are called.
    """

    run: Path
    outputs: Outputs
    manifest_sha256: str | None = None
    dataset: Path | None = None
    symbol: str | None = None
    is_strict: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    thresholds: OperationsThresholds = field(default_factory=OperationsThresholds)
    return_column: str = RETURNS
    benchmark_column: str | None = None
    trades: Path | None = None
    columns: Columns = field(default_factory=Columns)
    capital_base: float | None = None
    tail_percentile: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """An evaluation as it came out; nothing is written yet."""

    asked: Evaluation
    run: RunFolder
    frame: pd.DataFrame
    summary: dict[str, Any]
    metrics: dict[str, Any]
    trades_rows: int | None
    data_sha256: str | None

    def as_document(self) -> dict[str, Any]:
        """For machines, with the artefact keys of the source."""
        named = self.asked.outputs.named
        document = {
            "run": str(self.run.path), "run_id": self.run.manifest["run_id"], "rows": len(self.frame),
            "predictions_path": str(named["--eval-predictions"]), "metrics": self.metrics,
            "metrics_path": str(named["--eval-metrics"]), "operations_summary": self.summary,
            "operations_summary_path": str(named["--eval-operations"]),
        }  # fmt: skip
        return document if self.trades_rows is None else document | {"trades_rows": self.trades_rows}


def run_folder(path: Path) -> Path:
    """The run that a path names: its folder, or the file of its model.

    Raises:
        NotFound: there is nothing of that name. BadInput: it is another file (`not_a_run`).
    """
    if path.is_dir():
        return path
    if not path.exists():
        raise NotFound(
            f"There is no run {path}; name a folder below automation_runs/, its {CANDIDATE}, or a candidate's id.",
            code="file_missing",
        )
    folder = path.resolve().parents[2] if len(path.resolve().parents) > 2 else path.parent
    if path.resolve() != folder / CANDIDATE:
        raise BadInput(f"{path} is not the model of a run; name the folder, or its {CANDIDATE}.", code="not_a_run")
    return folder


def evaluate(asked: Evaluation) -> Evaluated:
    """Evaluate a run again; writes nothing.

    Raises:
        NotFound, NoData: the run, a file of it or the trades are gone, or there is no bar after what the model knows.
        Conflict: a file of the run was changed.
        BadInput: a place lies in a run, a column is missing, or limits cannot be compared.
    """
    places(asked.outputs)
    run = verify_run(run_folder(asked.run), asked.manifest_sha256)
    if run.manifest.get("family") != FAMILY:
        raise BadInput(f"{run.path} is no run on prices; its report is all there is of it.", code="other_family")
    kept = experiment(run.manifest["experiment"], f"The experiment of {run.path}")
    given = replace(reading(asked, kept), run_id=str(run.manifest["run_id"]), trials=_trials(run))
    frame, metrics, digest = _predictions(asked, run, kept)
    require(frame.columns, given)
    if asked.trades is None:
        summary, _ = summarised(frame, book_of(frame), given)
        return Evaluated(asked, run, frame, summary, metrics, None, digest)
    book = trades_of(asked.trades, asked.columns)
    summary, _ = summarised(frame, book, given)
    return Evaluated(asked, run, frame, summary, metrics, len(book), digest)


def refuse_beforehand(asked: Evaluation, kept: Experiment) -> None:
    """Refuse what is wrong with an evaluation whatever the model will be: told after a training it comes an hour too late.

    Args:
        kept: the experiment of the training.

    Raises:
        BadInput: as `evaluate`.
    """
    places(asked.outputs)
    require(COLUMNS, reading(asked, kept))
    if asked.trades is not None:
        book_of_positions(trades_of(asked.trades, asked.columns), asked.columns)


def reading(asked: Evaluation, kept: Experiment) -> SummaryInput:
    """How an evaluation reads predictions and positions, and by which limits; of no run and one try.

    Raises:
        BadInput: limits cannot be compared, or `changes` is of a training (`not_of_an_evaluation`).
    """
    judging = judged_by(kept, asked.changes)
    own = asked.return_column == RETURNS and asked.benchmark_column is None
    rails = judging.guardrails.config
    if asked.capital_base is not None:
        rails = replace(rails, capital_base=asked.capital_base)
    if asked.tail_percentile is not None:
        rails = replace(rails, tail_percentile=asked.tail_percentile)
    if asked.trades is not None:
        rails = replace(rails, columns=asked.columns)
    limits = {name: one for name, one in asked.thresholds.as_document().items() if one is not None}
    return SummaryInput(
        "", return_column=asked.return_column, benchmark_column=BENCHMARK if own else asked.benchmark_column,
        timestamp="window_end", thresholds=replace(judging.thresholds.limits, **limits), guardrails=rails,
    )  # fmt: skip


def write(done: Evaluated, *, clock: Clock) -> tuple[Path, Path]:
    """Write an evaluation and the report about it; the folder and the page."""
    named, folder = done.asked.outputs.named, done.asked.outputs.folder
    predictions, metrics, operations = named.values()
    content = {
        predictions: table_bytes(done.frame, predictions),
        metrics: document_bytes(done.metrics),
        operations: document_bytes(done.summary),
    }
    digests = write_all(content)
    record = {
        "schema_version": 1,
        "evaluated_at": clock.now().replace(microsecond=0).isoformat(),
        "run_id": done.run.manifest["run_id"],
        "manifest_sha256": done.run.manifest_sha256,
        "model_sha256": done.run.model_sha256,
        "data_sha256": done.data_sha256,
        "trades_rows": done.trades_rows,
        "files": {path.name: digest for path, digest in digests.items()},
    }
    write_all({folder / RECORD: document_bytes(record)})
    sources = Sources(predictions, summary=operations)
    page = report_model(sources, folder / HTML, Asked(), columns={"timestamp": "window_end"})
    report_model(sources, folder / MARKDOWN, Asked(), columns={"timestamp": "window_end"})
    return folder, page.path


def places(outputs: Outputs) -> None:
    """Refuse places that lie in a run, whose bytes people decide about; raises BadInput (`inside_a_run`)."""
    for flag, path in {"--eval-output": outputs.folder, **outputs.named}.items():
        refuse_inside_a_run(path, flag)


def judged_by(kept: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """The experiment with the limits of an evaluation; raises BadInput for anything else (`not_of_an_evaluation`)."""
    other = sorted(set(changes) - set(_JUDGES))
    if other:
        raise BadInput(
            f"--eval-config names {', '.join(other)}; an evaluation judges what was trained, by {' and '.join(_JUDGES)} only. "
            "Train with the others.",
            code="not_of_an_evaluation",
        )
    return branch(kept, changes, "The experiment with --eval-config")


def _predictions(
    asked: Evaluation, run: RunFolder, kept: Experiment
) -> tuple[pd.DataFrame, dict[str, Any], str | None]:
    if asked.dataset is None:
        return read_predictions(run.path / PREDICTIONS), dict(run.manifest["metrics"]), None
    data = dataset(Request(asked.dataset, of_any_symbols(kept), strict=asked.is_strict, symbol=asked.symbol))
    model = load_model(run.path / CANDIDATE, run.model_sha256)
    rows = predicted_afterwards(data.examination.bars, model, kept, run.manifest)
    return rows.frame(), dict(skill(rows)), data.digest


def require(columns: Iterable[str], given: SummaryInput) -> None:
    """Raises BadInput for a column that predictions do not have (`missing_column`)."""
    there = [str(name) for name in columns]
    for flag, name in (("--eval-return-col", given.return_column), ("--eval-benchmark-col", given.benchmark_column)):
        if name is not None and name not in there:
            raise BadInput(
                f"The predictions have no column `{name}`; name one of {', '.join(there)} with {flag}.",
                code="missing_column",
            )


def trades_of(path: Path, columns: Columns) -> pd.DataFrame:
    """A log of positions; raises BadInput where it is none, or has no readable moments."""
    found = read_predictions(path)
    moments = moments_of(found, columns.timestamp, what="trades", flag="--eval-trade-timestamp-col")
    return found.reset_index(drop=True).assign(**{columns.timestamp: moments})


def _trials(run: RunFolder) -> int:
    """With how many tries the run was judged; 1 where its summary does not say."""
    path = run.path / EVALUATION / SUMMARY
    if not path.is_file():
        return 1
    said = read_document(path, "operations summary").get("deflated_sharpe") or {}
    return max(int(said.get("trials") or 1), 1)
