"""Has something of the future, or the wrong order of time, found its way into what is evaluated?

Such mistakes do not look like mistakes but like skill, so each is looked for by what it cannot avoid doing, and whoever trains
is refused by the name of the check. A feature that sees the future changes when the future does. Prices whose days were
shuffled jump back and forth: two neighbouring returns share one price, with opposite signs, so they correlate at about -1/2,
which no market does. Price levels that stand where returns should be never change sign. An outcome that was known before its
prediction is no prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.returns import Floats, follows_itself
from plms_pipeline.models.market.bars import Bars, select
from plms_pipeline.models.market.findings import Finding
from plms_pipeline.models.market.suspicions import levels_as_returns, returns_as_prices, shuffled_time
from plms_pipeline.models.training.features import FeatureFunction, look_ahead

# A market's returns hardly follow each other; those of shuffled prices, at -1/2 ± 1/√n, are told apart from 100 on.
_SHUFFLED: Final = -0.3
_FEWEST: Final = 100
# All symbols share the code of the features: some of them say what all would.
_LOOKED_AT: Final = 4
_RETURNS: Final = ("realised_return", "next_return", "benchmark_return")


def is_shuffled(prices: Floats) -> bool:
    """Whether prices stand in an order that time never had; False where there are too few to say.

    Args:
        prices: (n,) of one symbol, above 0, in the order that is claimed to be that of time.
    """
    known = prices[np.isfinite(prices) & (prices > 0)]
    return known.size >= _FEWEST and follows_itself(np.diff(np.log(known))) < _SHUFFLED


def refuse_shuffled(bars: Bars) -> None:
    """Raises an error that names the symbols whose bars are not in the order of time.

    Raises:
        BadInput: with the code `shuffled_time`.
    """
    wrong = [symbol for symbol, rows in bars.slices() if is_shuffled(bars.close[rows])]
    if wrong:
        raise BadInput(
            f"shuffled_time: prices of {', '.join(wrong)} jump back and forth as shuffled days do; import them with the "
            "timestamps that belong to them.",
            code="shuffled_time",
        )
    _refuse(shuffled_time(bars))


def refuse_returns_as_prices(bars: Bars) -> None:
    """Raises an error that names the symbols whose closes are returns or growth factors.

    Raises:
        BadInput: with the code `returns_as_prices`.
    """
    _refuse(returns_as_prices(bars))


def refuse_look_ahead(bars: Bars, function: FeatureFunction, names: tuple[str, ...] | None = None) -> None:
    """Raises an error that names the features that change when only later bars do.

    Args:
        bars: what the features are made of; some of the symbols are looked at.
        function: what computes the features.
        names: those that are used; all of them when omitted.

    Raises:
        BadInput: with the code `look_ahead_features`.
    """

    def used(some: Bars, rows: slice) -> Mapping[str, Floats]:
        found = function(some, rows)
        return found if names is None else {name: found[name] for name in names if name in found}

    step = max(len(bars.symbols) // _LOOKED_AT, 1)
    _refuse(look_ahead(select(bars, bars.symbols[::step][:_LOOKED_AT]), used))


def refuse_levels(predictions: pd.DataFrame) -> None:
    """Raises an error that names the column of returns that holds price levels.

    Args:
        predictions: rows with the columns of `Predictions.frame`.

    Raises:
        BadInput: with the code `levels_as_returns`.
    """
    for name in _RETURNS:
        _refuse(levels_as_returns(predictions[name].to_numpy(dtype=np.float64, na_value=np.nan), name))


def refuse_early_outcomes(predictions: pd.DataFrame, *, made_at: str, known_at: str) -> None:
    """Raises an error that counts the predictions whose outcome was known when they were made.

    Args:
        made_at, known_at: columns of the moment of each prediction, and of its outcome.

    Raises:
        BadInput: with the code `outcome_before_prediction`.
    """
    early = int((predictions[known_at] <= predictions[made_at]).sum())
    if early:
        raise BadInput(
            f"{early} predictions were made (`{made_at}`) when their outcome was known (`{known_at}`); the horizon is at "
            "least one period.",
            code="outcome_before_prediction",
        )


def _refuse(found: Finding | None) -> None:
    if found is not None:
        raise BadInput(found.sentence, code=found.name)
