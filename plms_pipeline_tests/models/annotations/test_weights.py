"""Do annotations weigh exactly the bars that they speak about?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.annotations.rules import Annotation
from plms_pipeline.models.annotations.weights import weighted
from plms_pipeline.models.market.bars import NUMBERS, Bars, RawBars, canonical
from plms_pipeline.models.training.experiment import experiment

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def bars() -> Bars:
    times = np.array([np.datetime64("2024-01-01", "us") + np.timedelta64(day, "D") for day in range(5)] * 2)
    symbols = np.array(["A"] * 5 + ["B"] * 5, dtype=object)
    return canonical(RawBars(times, symbols, dict.fromkeys(NUMBERS, np.ones(10))))


def said(
    decision: str, at: float | None = None, *, number: int = 1, symbol: str = "A", first: float | None = None,
    last: float | None = None,
) -> Annotation:  # fmt: skip
    def moment(days: float | None) -> datetime | None:
        return None if days is None else DAY + timedelta(days=days)

    return Annotation(
        number, 1, symbol, moment(at), decision, "r", None, (), "a", DAY + timedelta(days=100 + number), None,
        moment(first), moment(last),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (said("reject", 2), [1, 1, 0, 1, 1]),
        # Between two bars: the one on which the trade was decided.
        (said("reject", 2.7), [1, 1, 0, 1, 1]),
        (said("reject", -1), [1, 1, 1, 1, 1]),
        (said("reject", 2, first=1, last=3), [1, 0, 0, 0, 1]),
        (said("reject", 3, first=1), [1, 0, 0, 0, 1]),
        (said("reject", 1, last=3), [1, 0, 0, 0, 1]),
        (said("reject", None, last=1), [0, 0, 1, 1, 1]),
        (said("reject", None), [1, 1, 1, 1, 1]),
        (said("flag", 2), [1, 1, 0.5, 1, 1]),
        (said("approve", 2), [1, 1, 1, 1, 1]),
        (said("reject", 2, symbol="C"), [1, 1, 1, 1, 1]),
    ],
)
def test_an_annotation_speaks_about_its_bars(one: Annotation, expected: list[float]) -> None:
    """A word about one trade must not silence the whole symbol, nor another one."""
    found = weighted(bars(), [one], {"reject": 0.0, "flag": 0.5})
    assert found is not None
    assert found.weights.tolist() == [*expected, 1, 1, 1, 1, 1]


def test_the_newest_word_about_a_bar_stands() -> None:
    """Whoever looked again and approved is not overruled by what was said before, in whichever order rows come."""
    words = [said("approve", 2, number=2), said("reject", 2, number=1, first=1, last=3)]
    for order in (words, words[::-1]):
        found = weighted(bars(), order, {"reject": 0.0})
        assert found is not None
        assert found.weights.tolist()[:5] == [1, 0, 1, 0, 1]
        assert (dict(found.bars), found.spoken) == ({"approve": 1, "reject": 2}, 2)


def test_a_word_counts_from_the_moment_on_at_which_it_was_said() -> None:
    """Weights of 2026 about a bar of 2020 made a fold look skilful that was judged on 2021."""
    words = [said("reject", 2, number=1), said("approve", 2, number=2), said("reject", 4, number=3)]
    seen = []
    for day in (101, 102, 103, 104):
        before = np.datetime64("2024-01-01", "us") + np.timedelta64(day, "D")
        found = weighted(bars(), words, {"reject": 0.0}, before=before)
        assert found is not None
        seen.append((found.spoken, found.weights.tolist()[:5]))
    assert seen == [(0, [1, 1, 1, 1, 1]), (1, [1, 1, 0, 1, 1]), (2, [1, 1, 1, 1, 1]), (3, [1, 1, 1, 1, 0])]
    everything = weighted(bars(), words, {"reject": 0.0})
    assert everything is not None
    assert everything.newest == np.datetime64("2024-04-13", "us")
    assert everything.as_document({"reject": 0.0}, [0, 3])["newest"] == "2024-04-13T00:00:00Z"


def test_no_weights_are_no_weights() -> None:
    """The default trains as if nobody had spoken: the same bytes as before."""
    assert weighted(bars(), [said("reject", 2)], {}) is None


def test_another_rationale_is_another_training() -> None:
    """The manifest's digest says whether the words were those of today."""
    one, other = said("reject", 2), said("reject", 3)
    digests = {weighted(bars(), [each], {"reject": 0.0}).digest for each in (one, other)}  # type: ignore[union-attr]
    assert len(digests) == 2


def test_a_word_that_nobody_knows_is_refused_in_the_experiment() -> None:
    """`rejected: 0` would weigh nothing, quietly."""
    with pytest.raises(BadInput, match="annotations"):
        experiment({"annotations": {"weights": {"rejected": 0.0}}})
    with pytest.raises(BadInput, match="annotations"):
        experiment({"annotations": {"weights": {"reject": -1.0}}})
