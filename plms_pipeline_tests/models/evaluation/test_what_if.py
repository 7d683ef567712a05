"""Other costs and caps: by hand, and the laws that the risk lead relies on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.what_if import what_if


def rows(*values: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(values), columns=["timestamp", "symbol", "position", "outcome"])


BOOK = rows((2, "A", -1.0, 0.1), (1, "A", 1.0, 0.1), (1, "B", 0.5, -0.2), (2, "B", 0.5, 0.0))


def test_two_moments_by_hand() -> None:
    """Held 1 and 0.5, then -1 and 0.5; a percent of what is traded; then everything cut to 0.5."""
    free, capped, paid, both = what_if(BOOK, costs=[0.0, 0.01], caps=[None, 0.5])
    assert free.total_return == pytest.approx(1.0 * 0.95 - 1)
    assert capped.total_return == pytest.approx(0.975 * 0.975 - 1)
    assert paid.total_return == pytest.approx((1 - 0.0075) * (0.95 - 0.01) - 1)
    assert [free.turnover, both.turnover] == pytest.approx([3.5 / 4, 2.0 / 4])


def test_more_costs_never_earn_more() -> None:
    """And a cap of nothing earns nothing."""
    chance = np.random.default_rng(1)
    at = np.repeat(np.arange(100), 3)
    book = pd.DataFrame(
        {
            "timestamp": at,
            "symbol": np.tile(list("ABC"), 100),
            "position": chance.normal(size=300),
            "outcome": chance.normal(0, 0.01, 300),
        }
    )
    earned = [scenario.total_return for scenario in what_if(book, costs=[0.0, 1e-4, 1e-3], caps=[None])]
    assert earned == sorted(earned, reverse=True)
    nothing = what_if(book, costs=[1e-3], caps=[0.0])[0]
    assert (nothing.total_return, nothing.sharpe, nothing.turnover) == (0.0, None, 0.0)


@pytest.mark.parametrize(
    ("frame", "costs", "error", "words"),
    [
        (BOOK, [-0.1], BadInput, "negative"),
        (BOOK.drop(columns="outcome"), [0.0], BadInput, "no column `outcome`"),
        (BOOK.head(0), [0.0], NoData, "no positions"),
        (rows((1, "A", None, 0.1)), [0.0], BadInput, "1 rows have no `position`"),
        (pd.concat([BOOK, BOOK]), [0.0], BadInput, "repeat"),
    ],
)
def test_what_cannot_be_asked_is_refused(frame: pd.DataFrame, costs: list[float], error: type, words: str) -> None:
    """The message names the column."""
    with pytest.raises(error, match=words):
        what_if(frame, costs=costs, caps=[None])
