"""What does a model say about the newest bars?

The same features and the same arithmetic as in training, on bars whose future nobody knows yet: `/predict` and the live monitor
call this, so that what serves cannot differ from what was judged. A model that was trained on features that the bars do not
give is refused instead of being fed zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import Bars, Floats, Instants
from plms_pipeline.models.training.costs import positions
from plms_pipeline.models.training.features import backward_features, features
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline.models.training.trees import TreesModel

Model: TypeAlias = LinearModel | TreesModel


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One row per scored bar, sorted by symbol and time: score in deviations of the target, log return, position, deviation."""

    symbols: tuple[str, ...]
    window_end: Instants
    score: Floats
    predicted_return: Floats
    position: Floats
    volatility: Floats


def score(model: Model, bars: Bars, *, k: float, horizon: int = 1, last: int | None = 1) -> Scores:
    """Score bars.

    Args:
        model: the fitted model.
        bars: canonical bars with at least the history that the features look back on.
        k: steepness of the position, as in the experiment.
        horizon: bars that the target reached ahead, as in the experiment.
        last: how many of the newest bars of each symbol; all with features when None.

    Raises:
        BadInput: the bars lack a signal that the model was trained on, or `last` is under 1.
        NoData: no symbol has enough history, or the asked-for bars have no features.
    """
    if last is not None and last < 1:
        raise BadInput(f"last is {last}; ask for at least one bar per symbol.", code="bad_last")
    _, rows = next(bars.slices(), ("", slice(0, 0)))
    known = backward_features(bars, slice(rows.start, min(rows.stop, rows.start + 1))) if bars.count else {}
    missing = [name for name in model.features if name not in known]
    if bars.count and missing:
        raise BadInput(
            f"The model was trained on {', '.join(missing)}, which these bars do not have; give bars with these signals, or "
            "a model without them.",
            code="other_features",
        )
    found = features(bars, names=model.features)
    chosen = found.usable.copy()
    if last is not None:
        for _, rows in bars.slices():
            chosen[rows.start : max(rows.stop - last, rows.start)] = False
    places = np.flatnonzero(chosen)
    if not places.size:
        raise NoData(
            "None of the newest bars has features: a gap, or a feed that stands still.", code="nothing_to_score"
        )
    names = np.array(bars.symbols, dtype=object)[bars.codes[places]]
    return scores_of(
        model, tuple(names.tolist()), bars.timestamp[places], found.values[places], found.volatility[places], k=k,
        horizon=horizon,
    )  # fmt: skip


def scores_of(
    model: Model,
    symbols: tuple[str, ...],
    window_end: Instants,
    values: Floats,
    volatility: Floats,
    *,
    k: float,
    horizon: int,
) -> Scores:
    """Score bars whose features are known.

    Args:
        model: the fitted model.
        symbols, window_end: of each bar.
        values: its features, in the model's order; all of them finite.
        volatility: realised deviation per bar.
        k, horizon: as in the experiment.
    """
    scores = model.predict(values)
    unit = volatility * np.sqrt(horizon)
    return Scores(symbols, window_end, scores, scores * unit, positions(scores, k), volatility)
