"""From the receipts to a candidate of the family `estimates`, and from its champion to the forecast of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Conflict, NoData
from plms_pipeline.estimates.actions.calibration import scan_start
from plms_pipeline.estimates.store import receipts as books
from plms_pipeline.estimates.store.outlooks import kinds_since
from plms_pipeline.measures import BASES, MEASURES, Basis, Measure
from plms_pipeline.models.actions.candidates import Trained, register, trials_of
from plms_pipeline.models.estimating import documents
from plms_pipeline.models.estimating.book import Book, book_of
from plms_pipeline.models.estimating.experiment import EstimatesExperiment
from plms_pipeline.models.estimating.files import SNAPSHOTS, load_estimates, snapshot, write_estimates
from plms_pipeline.models.estimating.forecasting import Task, TaskForecast, forecast
from plms_pipeline.models.estimating.history import History
from plms_pipeline.models.estimating.judging import Judgement, blocking, judge
from plms_pipeline.models.estimating.model import EstimatesModel, untrusting
from plms_pipeline.models.estimating.walkforward import FEWEST_ROWS, Walked, walk_forward
from plms_pipeline.models.evaluation.files import write_evaluation
from plms_pipeline.models.files.candidate import SUMMARY_FILE, folder_of
from plms_pipeline.models.files.reading import sha256_of
from plms_pipeline.models.records import ESTIMATES, Bytes, Candidate, Champion
from plms_pipeline.models.store import candidates, champions
from plms_pipeline.models.training.files import CANDIDATE, RUNS, RunFolder, environment
from plms_pipeline.models.training.manifest import Kept, Lineage, Origin
from plms_pipeline.models.training.trials import trial
from plms_pipeline.registry.engine import Registry

# Hears the name of a stage as it begins, and what it works on.
Told = Callable[[str, str], None]
CHAMPION, PRIORS = "champion", "priors"
NO_RECEIPTS: Final = "No receipt is in the books yet; `plms import` brings them in."


@dataclass(frozen=True, slots=True)
class EstimatesRequest:
    """What is to be trained, by whom, and why."""

    experiment: EstimatesExperiment = field(default_factory=EstimatesExperiment)
    requested_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class EstimatesTrained:
    """A training as it came out: its folder, what was judged, and what keeps it from being promoted, if anything."""

    run: RunFolder
    data_sha256: str
    judged: tuple[Judgement, ...]
    trials: int = 1

    @property
    def blocking(self) -> tuple[str, ...]:
        """Gates that do not pass."""
        return blocking(self.judged)


def receipts_book(registry: Registry, *, until: datetime) -> Book:
    """The newest receipts that were completed by a moment: as many whole days as the priors' own scan walks.

    Raises:
        NoData: there are none (`no_receipts`).
    """
    with registry.reading() as session:
        first = scan_start(books.receipt_counts(session, until=until.date()))
        if first is None:
            raise NoData(NO_RECEIPTS, code="no_receipts")
        return book_of(books.receipts_since(session, first, until=until), kinds_since(session, first))


def require_enough(book: Book, measures: Sequence[Measure]) -> dict[Measure, int]:
    """How many receipts know each measure, when at least one of them is known by enough.

    Raises:
        NoData: none is (`too_few_receipts`).
    """
    known = {measure: len(book.history(measure)) for measure in measures}
    if max(known.values()) < FEWEST_ROWS:
        told = ", ".join(f"{n} know their {measure}" for measure, n in known.items())
        raise NoData(
            f"{len(book)} receipts are in the books, {told}; a model of estimates needs {FEWEST_ROWS}. Import more (`plms "
            "import`), or name another measure (--measure).",
            code="too_few_receipts",
        )
    return known


def retrain_estimates(
    registry: Registry, asked: EstimatesRequest, *, root: Path, clock: Clock, run_id: str, code_version: str,
    told: Told = lambda _stage, _what: None,
) -> EstimatesTrained:  # fmt: skip
    """Train on the receipts in the books, judge walk-forward against the priors, keep all of it as a run.

    Args:
        root: the data folder.

    Raises:
        NoData: there are too few receipts that know any of the measures (`no_receipts`, `too_few_receipts`).
    """
    now = clock.now()
    told("dataset", "the receipts in the books")
    book = receipts_book(registry, until=now)
    require_enough(book, asked.experiment.measures)
    kept = snapshot(root / SNAPSHOTS, book)
    origin = Origin(
        run_id, now.replace(microsecond=0), code_version, environment(), Lineage(None, asked.requested_by, asked.reason),
        Kept(f"{SNAPSHOTS}/{kept.name}", sha256_of(kept)),
    )  # fmt: skip
    told("training", f"{len(book)} receipts")
    walked = walked_measures(book, asked.experiment, told=told)
    told(
        "evaluation", f"{sum(len(one.value) for w in walked.values() for one in w.forecasts.values())} later forecasts"
    )
    digest = book.digest()
    trials = trials_of(registry, ESTIMATES, digest, [trial(asked.experiment.digest())])
    judged = judged_parts(walked, asked.experiment, trials=trials)
    serves = frozenset((one.measure, one.basis) for one in judged if one.passed)
    model = EstimatesModel({measure: one.part for measure, one in walked.items()}, serves)
    metrics = documents.metrics(judged)
    run = write_estimates(
        root / RUNS, book, asked.experiment, model, walked, origin, metrics,
        finish=partial(
            write_evaluation, summary=documents.summary(judged, run_id=run_id), metrics=metrics, gates=documents.gates(judged)
        ),
    )  # fmt: skip
    return EstimatesTrained(run, digest, judged, trials)


def walked_measures(
    book: Book, asked: EstimatesExperiment, *, told: Told = lambda _stage, _what: None
) -> dict[Measure, Walked]:
    """The walk of every measure that enough receipts know.

    Raises:
        NoData: of no measure there are enough (`too_few_receipts`).
    """
    found: dict[Measure, Walked] = {}
    refused: NoData | None = None
    for measure in asked.measures:
        try:
            found[measure] = walk_forward(
                book.history(measure), asked.plan,
                heard=partial(_heard, told, measure),
            )  # fmt: skip
        except NoData as error:
            refused = error
    if not found and refused is not None:
        raise refused
    return found


def _heard(told: Told, measure: Measure, done: int, of: int) -> None:
    told("training", f"{measure}: block {done} of {of}")


def judged_parts(
    walked: Mapping[Measure, Walked], asked: EstimatesExperiment, *, trials: int = 1
) -> tuple[Judgement, ...]:
    """Every (measure, basis) judged; the more experiments were tried on the same receipts, the surer it must be."""
    return tuple(judge(one.forecasts[basis], asked.limits, trials=trials) for one in walked.values() for basis in BASES)


def trained_estimates(done: EstimatesTrained, root: Path) -> Trained:
    """What a training of estimates tells of itself to whoever registers it.

    Raises:
        BadInput: its folder lies outside of the data folder (`outside_of_data`).
    """
    document = done.run.manifest
    return Trained(
        str(document["run_id"]), ESTIMATES, folder_of(root, done.run.path),
        Bytes(
            done.run.model_sha256, sha256_of(done.run.path / SUMMARY_FILE), done.data_sha256, done.run.manifest_sha256,
            str(document["experiment_sha256"]),
        ),
        trials=done.trials, alerts=(), blocking=done.blocking, reason=document["lineage"].get("reason"),
    )  # fmt: skip


def estimates_candidate(
    registry: Registry, asked: EstimatesRequest, *, candidate_id: str, root: Path, actor: Actor, clock: Clock,
    expiry: timedelta, code_version: str, told: Told = lambda _stage, _what: None,
) -> Candidate:  # fmt: skip
    """Train a candidate and let it wait; the one with this id, if there is one already.

    Args:
        candidate_id: validated.
        root: the data folder.
        actor: who launched it, and so can never sign it.
        expiry: how long it waits.

    Raises:
        NoData: as `retrain_estimates`.
    """
    with registry.reading() as session:
        known = candidates.find(session, candidate_id)
    if known is not None:
        return known
    done = retrain_estimates(
        registry, asked, root=root, clock=clock, run_id=candidate_id, code_version=code_version, told=told
    )
    return register(registry, trained_estimates(done, root), actor=actor, clock=clock, expiry=expiry)


def nothing_new(registry: Registry, *, until: datetime, asked: EstimatesExperiment | None = None) -> str | None:
    """Why there is nothing to train on: no or too few receipts, or those of the newest candidate; None when there is."""
    try:
        book = receipts_book(registry, until=until)
        require_enough(book, (asked or EstimatesExperiment()).measures)
    except NoData as error:
        return error.message
    digest = book.digest()
    with registry.reading() as session:
        newest = candidates.listed(session, family=ESTIMATES, limit=1)
    is_known = bool(newest) and newest[0].bytes.data == digest
    return "the receipts are those of the newest candidate" if is_known else None


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """The forecast of one measure on one basis; `by` says whose it is, and `why` what keeps the champion from being heard."""

    measure: Measure
    basis: Basis
    by: str
    why: str
    found: TaskForecast

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"measure": self.measure, "basis": self.basis, "by": self.by, "why": self.why, **self.found.as_json()}


def forecast_task(
    registry: Registry, task: Task, *, root: Path, at: datetime
) -> tuple[Champion | None, list[TaskAnswer]]:
    """What a task takes that begins now: by the champion where it beat the priors, by the priors alone everywhere else.

    Args:
        root: the data folder.

    Raises:
        NoData: there are no receipts (`no_receipts`).
    """
    with registry.reading() as session:
        champion = champions.current(session, ESTIMATES)
    model, why = EstimatesModel({}), "no model of estimates was promoted"
    if champion is not None:
        why = "the champion did not beat the priors here"
        try:
            model = load_estimates(root / champion.folder / CANDIDATE, champion.model_sha256)
        except (NoData, Conflict, BadInput) as error:
            why = f"the champion cannot be heard: {error.message}"
    book = receipts_book(registry, until=at)
    answers = [
        _answer(book.history(measure), basis, model, task, at=at, why=why)
        for measure in MEASURES
        if len(book.history(measure))
        for basis in BASES
    ]
    return champion, answers


def _answer(history: History, basis: Basis, model: EstimatesModel, task: Task, *, at: datetime, why: str) -> TaskAnswer:
    measure = history.measure
    if model.may_serve(measure, basis):
        found = forecast(history, basis, model.parts[measure], task, at=at)
        return TaskAnswer(measure, basis, CHAMPION, "", found)
    return TaskAnswer(measure, basis, PRIORS, why, forecast(history, basis, untrusting(measure), task, at=at))
