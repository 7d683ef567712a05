"""Has something of the future, or the wrong order of time, found its way into what is evaluated?

Such mistakes do not look like mistakes but like skill, so each is looked for by what it cannot avoid doing. A feature that
sees the future changes when the future is cut off. Prices whose days were shuffled jump back and forth: two neighbouring
returns share one price, with opposite signs, so they correlate at about -1/2, which no market does. An outcome that was known
before its prediction is no prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.returns import Floats, follows_itself

# A market's returns hardly follow each other; those of shuffled prices, at -1/2 ± 1/√n, are told apart from 100 on.
_SHUFFLED: Final = -0.3
_FEWEST: Final = 100
_SAME: Final = 1e-9


def is_shuffled(prices: Floats) -> bool:
    """Whether prices stand in an order that time never had; False where there are too few to say.

    Args:
        prices: (n,) of one symbol, above 0, in the order that is claimed to be that of time.
    """
    known = prices[np.isfinite(prices) & (prices > 0)]
    return known.size >= _FEWEST and follows_itself(np.diff(np.log(known))) < _SHUFFLED


def refuse_shuffled(bars: pd.DataFrame, *, symbol: str = "symbol", price: str = "close") -> None:
    """Raises an error that names the symbols whose rows are not in the order of time.

    Args:
        bars: rows of each symbol in the order in which they will be used.

    Raises:
        BadInput: with the code `shuffled_time`.
    """
    wrong = [
        str(name)
        for name, rows in bars.groupby(symbol, sort=True)
        if is_shuffled(rows[price].to_numpy(dtype=np.float64, na_value=np.nan))
    ]
    if wrong:
        raise BadInput(
            f"Prices of {', '.join(wrong)} jump back and forth as shuffled days do; sort the rows by time.",
            code="shuffled_time",
        )


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


def leaking_features(
    build: Callable[[pd.DataFrame], pd.DataFrame], bars: pd.DataFrame, *, timestamp: str, cuts: Sequence[object]
) -> tuple[str, ...]:
    """Features that change for moments up to a cut when what comes after it is taken away.

    Args:
        build: the features of bars, with the index of the bars that they belong to.
        bars: rows of all symbols, uniquely indexed.
        timestamp: the column of moments.
        cuts: moments of `bars`; a few that lie apart are enough.

    Returns:
        The names of the features that see the future, in the order of their columns; () where none does.
    """
    whole = build(bars)
    leaking: set[str] = set()
    for cut in cuts:
        past = bars[bars[timestamp] <= cut]
        again = build(past)
        for name in whole.columns:
            if name not in again.columns:
                leaking.add(str(name))
                continue
            now = again[name].to_numpy(dtype=np.float64, na_value=np.nan)
            then = whole[name].reindex(again.index).to_numpy(dtype=np.float64, na_value=np.nan)
            if not np.allclose(now, then, rtol=_SAME, atol=_SAME, equal_nan=True):
                leaking.add(str(name))
    return tuple(str(name) for name in whole.columns if str(name) in leaking)
