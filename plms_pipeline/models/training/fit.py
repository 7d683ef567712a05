"""How does an experiment become a candidate and the evidence about it?

Features and target once; then, for each walk-forward split, a model fitted on the past alone, and its predictions of the
block that follows. Only these reach the evidence. A row teaches only if its target was known before the test began: with
holes in a symbol's history that is more than purging so many bars. The candidate itself is fitted last, on the newest
training window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import Bars, Flags, Floats, Instants, Ints, select
from plms_pipeline.models.training.costs import changes, positions, realised
from plms_pipeline.models.training.experiment import Experiment, RidgeSection
from plms_pipeline.models.training.features import (
    WARM_UP,
    FeatureFunction,
    Features,
    backward_features,
    features,
    following,
)
from plms_pipeline.models.training.linear import LinearModel, fit_linear
from plms_pipeline.models.training.predictions import Predictions, information_coefficient, skill
from plms_pipeline.models.training.starting import Checkpoint, Start, Warmth
from plms_pipeline.models.training.trees import TreesModel, fit_trees
from plms_pipeline.models.training.walkforward import Split, leaks, members, splits
from plms_pipeline.models.training.weighing import Weighed, Weighing, weighing_of

Model: TypeAlias = LinearModel | TreesModel
FEWEST_ROWS: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Bars with features and targets, row by row.

    `target` is the log return over the horizon in units of `unit` (its deviation), NaN where the future is unknown;
    `known_at` the timestamp at which it is known; `next_return` the simple return to the next bar; `calendar` the distinct
    timestamps with features.
    """

    bars: Bars
    features: Features
    target: Floats
    unit: Floats
    known_at: Instants
    next_return: Floats
    benchmark_return: Floats
    calendar: Instants

    @property
    def teachable(self) -> Flags:
        """Rows with features and a known target."""
        return np.asarray(self.features.usable & np.isfinite(self.target))


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One split: who was trained on how much, and how it did on what followed.

    `known_to` is the newest bar that the model, or whoever it started from, was taught; `start` the weights that it started
    from, None where it started cold.
    """

    split: Split
    train_from: np.datetime64
    train_to: np.datetime64
    test_from: np.datetime64
    test_to: np.datetime64
    train_rows: int
    test_rows: int
    model: Model
    information_coefficient: float | None
    known_to: np.datetime64
    start: Checkpoint | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A candidate, the folds that judged its kind, and their predictions.

    `known_to` is the newest bar that the candidate, or whoever it started from, was taught. `left_out` are symbols of which no
    bar could be judged: too young, or without a signal that the features need; `warmth` is what came of the candidate that it
    started from, if any.
    """

    candidate: Model
    known_to: np.datetime64
    trained_from: np.datetime64
    trained_to: np.datetime64
    folds: tuple[Fold, ...]
    predictions: Predictions
    metrics: dict[str, float | int | None]
    left_out: tuple[str, ...] = ()
    warmth: Warmth | None = None


def matrix(bars: Bars, asked: Experiment, function: FeatureFunction = backward_features) -> Matrix:
    """Features and targets of the bars that an experiment asks for; `function` computes the features.

    Raises:
        BadInput: it asks for a symbol or a feature that is not there.
        NoData: the history is too short.
    """
    chosen = bars if asked.data.symbols is None else select(bars, asked.data.symbols)
    found = features(chosen, function, names=asked.data.features)
    horizon = asked.target.horizon
    ahead, known_at = following(chosen, horizon)
    one_ahead, _ = following(chosen, 1)
    unit = found.volatility * np.sqrt(horizon)
    target = np.full(chosen.count, np.nan)
    np.divide(ahead, unit, out=target, where=found.usable)
    next_return = np.expm1(one_ahead)
    calendar = np.unique(chosen.timestamp[found.usable])
    return Matrix(chosen, found, target, unit, known_at, next_return, _benchmark(chosen, next_return), calendar)


def planned(bars: Bars, asked: Experiment, function: FeatureFunction = backward_features) -> tuple[Split, ...]:
    """The walk-forward splits that a training would make, without training; a dry run refuses what `train` would refuse.

    Raises:
        BadInput, NoData: as `matrix`; the history is too short for one split.
    """
    return splits(matrix(bars, asked, function).calendar.size, asked.plan)


def _benchmark(bars: Bars, next_return: Floats) -> Floats:
    """The mean over all symbols of what follows the same timestamp; 0 where no symbol has a next bar."""
    _, place = np.unique(bars.timestamp, return_inverse=True)
    known = np.isfinite(next_return)
    totals = np.bincount(place[known], weights=next_return[known], minlength=int(place.max()) + 1)
    counts = np.bincount(place[known], minlength=totals.size)
    return np.asarray((totals / np.maximum(counts, 1))[place])


def train(
    bars: Bars, asked: Experiment, *, weights: Floats | Weighing | None = None, start: Start | None = None,
    function: FeatureFunction = backward_features,
) -> Training:  # fmt: skip
    """Train and judge walk-forward.

    Args:
        bars: canonical bars.
        asked: the experiment.
        weights: how much each bar of `bars` teaches, 0 or more, or what tells that of each fold's time; all alike when omitted.
        start: the candidate to start from; where its weights fit, each fold uses those that saw nothing of its test.
        function: what computes the features.

    Raises:
        BadInput: weights do not fit the bars.
        NoData: the history is too short, or a split has too few rows to learn from.
    """
    weighing = weighing_of(bars, asked, weights)
    rows = matrix(bars, asked, function)
    why_cold = None if start is None else start.why_cold(asked, rows.features.names)
    warm = start if why_cold is None else None
    plan = asked.plan
    found = splits(rows.calendar.size, plan)
    wrong = leaks(found, rows.calendar, plan)
    if wrong:
        raise BadInput(" ".join(one.sentence for one in wrong), code="leaking_splits")
    folds, warm_folds = [], 0
    scores = np.full(rows.bars.count, np.nan)
    number = np.full(rows.bars.count, -1, dtype=np.int64)
    for split in found:
        fold, judged = _fold(rows, split, asked, weighing, warm)
        warm_folds += fold.start is not None
        folds.append(fold)
        scores[judged] = fold.model.predict(rows.features.values[judged])
        number[judged] = split.number
    predictions = predictions_of(rows, scores, number, asked)
    last = found[-1]
    end = rows.calendar.size
    first = 0 if plan.expanding else max(end - plan.train, 0)
    newest = rows.teachable & members(rows.bars.timestamp, rows.calendar, first, end)
    weighed = None if weighing is None else weighing(None)
    candidate = _fit(rows, newest, asked, weighed, None if warm is None else warm.model, last.number + 1)
    taught = rows.bars.timestamp[newest]
    judged_codes = set(predictions.codes.tolist())
    left_out = tuple(name for code, name in enumerate(rows.bars.symbols) if code not in judged_codes)
    warmth = None
    if start is not None:
        warmth = Warmth(
            start.candidate_id, start.model_sha256, why_cold, start.known_to, warm_folds, len(folds) - warm_folds
        )
    known = _known_to(rows, newest, None if warm is None else warm.newest, weighed)
    return Training(
        candidate, known, taught.min(), taught.max(), tuple(folds), predictions, skill(predictions), left_out, warmth
    )


def parent_of(trained: Training, asked: Experiment, *, name: str, sha256: str) -> Start:
    """What a training leaves to one that starts from it; `sha256` is that of its model's file."""
    folds = tuple(Checkpoint(one.split.number, one.model, one.known_to) for one in trained.folds)
    return Start(name, sha256, trained.candidate, asked, trained.known_to, folds)


def _fold(
    rows: Matrix, split: Split, asked: Experiment, weighing: Weighing | None, parent: Start | None
) -> tuple[Fold, Ints]:
    times, calendar = rows.bars.timestamp, rows.calendar
    tested_from = calendar[split.test_first - asked.walk_forward.embargo]
    start = None if parent is None else parent.before(tested_from)
    teaching = rows.teachable & members(times, calendar, split.train_first, split.train_end)
    # A hole in a symbol's history stretches its target over more than `purge` timestamps.
    teaching &= rows.known_at < tested_from
    judged = np.flatnonzero(rows.teachable & members(times, calendar, split.test_first, split.test_end))
    # What was said of these bars after the test began is not known to a model of that time.
    weighed = None if weighing is None else weighing(tested_from)
    model = _fit(rows, teaching, asked, weighed, None if start is None else start.model, split.number)
    score = model.predict(rows.features.values[judged])
    fold = Fold(
        split,
        calendar[split.train_first],
        calendar[split.train_end - 1],
        calendar[split.test_first],
        calendar[split.test_end - 1],
        int(teaching.sum()),
        int(judged.size),
        model,
        information_coefficient(score, rows.target[judged]),
        _known_to(rows, teaching, start, weighed),
        start,
    )
    return fold, judged.astype(np.int64)


def _known_to(rows: Matrix, teaching: Flags, start: Checkpoint | None, weighed: Weighed | None) -> np.datetime64:
    """The newest that a model was told: of bars, by whoever it started from, by what people said of them."""
    moments = [rows.known_at[teaching].max()]
    if start is not None:
        moments.append(start.known_to)
    if weighed is not None and weighed.newest is not None:
        moments.append(weighed.newest)
    return max(moments)


def _fit(
    rows: Matrix, teaching: Flags, asked: Experiment, weighed: Weighed | None, start: Model | None, number: int
) -> Model:
    # Where nobody has spoken yet the bytes are those of a training without weights.
    weights = None if weighed is None or (weighed.values == 1.0).all() else weighed.values
    counted = teaching if weights is None else teaching & (weights > 0.0)
    if int(counted.sum()) < FEWEST_ROWS:
        raise NoData(
            f"Split {number} has {int(counted.sum())} rows to learn from, and needs {FEWEST_ROWS}; import a longer history or "
            "lengthen walk_forward.train.",
            code="too_few_rows",
        )
    values = rows.features.values[counted]
    goal = np.clip(rows.target[counted], -asked.target.clip, asked.target.clip)
    weight = None if weights is None else weights[counted]
    names, section = rows.features.names, asked.model
    if isinstance(section, RidgeSection):
        linear = start if isinstance(start, LinearModel) else None
        return fit_linear(names, values, goal, alpha=section.alpha, weights=weight, start=linear)
    return fit_trees(
        names, values, goal, iterations=section.iterations, learning_rate=section.learning_rate, leaves=section.leaves,
        leaf_rows=section.leaf_rows, seed=asked.seed, weights=weight,
    )  # fmt: skip


def predictions_of(rows: Matrix, scores: Floats, number: Ints, asked: Experiment) -> Predictions:
    """What was said of rows, and what came of it.

    Args:
        scores: one for each bar; NaN where nothing was said.
        number: the fold that said it.
    """
    judged = np.flatnonzero(np.isfinite(scores))
    codes = rows.bars.codes[judged]
    position = positions(scores[judged], asked.trading.k)
    returns = rows.next_return[judged]
    return Predictions(
        rows.bars.symbols,
        codes,
        rows.bars.timestamp[judged],
        judged - rows.bars.starts[codes] - (WARM_UP - 1),
        rows.known_at[judged],
        scores[judged],
        rows.target[judged],
        scores[judged] * rows.unit[judged],
        position,
        changes(position, codes),
        returns,
        rows.benchmark_return[judged],
        realised(position, returns, codes, asked.costs),
        number[judged],
    )
