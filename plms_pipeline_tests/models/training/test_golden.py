"""What a model said at its training is what it says when it is read back, or it does not go live."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import Bars, select
from plms_pipeline.models.training.golden import ROWS, disagreements, golden
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline_tests.models.worlds import small_bars, small_experiment, small_training

ASKED = small_experiment()


def kept() -> dict[str, Any]:
    """As it comes back from its file."""
    document: dict[str, Any] = json.loads(json.dumps(golden(small_training().candidate, small_bars(), ASKED)))
    return document


def told(document: dict[str, Any], bars: Bars | None = None) -> tuple[str, ...]:
    return disagreements(document, small_training().candidate, small_bars() if bars is None else bars, ASKED)


def test_a_model_agrees_with_itself() -> None:
    """Also after JSON: a figure that loses a digit on the way would refuse every promotion."""
    document = kept()
    assert len(document["rows"]) == ROWS * len(small_bars().symbols)
    assert told(document) == ()


@pytest.mark.parametrize("name", ["score", "position"])
def test_a_figure_that_moved_is_named_with_its_row(name: str) -> None:
    """Another processor rounds its last digits otherwise, and that is no other model."""
    document = kept()
    row = document["rows"][1]
    was = row[name]
    row[name] = was * (1 + 1e-10)
    assert told(document) == ()
    row[name] = was * (1 + 1e-8)
    [sentence] = told(document)
    assert sentence == f"{row['symbol']} at {row['window_end']}: {name} was {row[name]!r} and is {was!r}"


def test_another_model_disagrees() -> None:
    """The whole purpose."""
    model = small_training().candidate
    assert isinstance(model, LinearModel)
    other = replace(model, intercept=model.intercept + 0.01)
    assert len(disagreements(kept(), other, small_bars(), ASKED)) == 2 * len(kept()["rows"])


def test_rows_that_are_gone_or_others_agree_with_nothing() -> None:
    """Nothing compared is nothing verified."""
    document = kept()
    assert told({**document, "rows": document["rows"][1:]}) == ("1 rows are not the same ones",)
    assert told({**document, "rows": []}) == (f"{len(document['rows'])} rows are not the same ones",)
    assert told(document, select(small_bars(), small_bars().symbols[:1])) != ()


def test_only_the_symbols_of_the_experiment_are_compared() -> None:
    """A symbol that was imported later is none of the model's."""
    only = small_bars().symbols[1]
    asked = small_experiment(data={"symbols": [only]})
    document = golden(small_training().candidate, small_bars(), asked)
    assert {row["symbol"] for row in document["rows"]} == {only}
    assert disagreements(document, small_training().candidate, small_bars(), asked) == ()


def test_a_feed_that_stands_still_at_its_end_is_compared_before_it() -> None:
    """Otherwise a candidate of last week's data could never be promoted after a holiday."""
    bars = small_bars()
    close = bars.close.copy()
    for _, rows in bars.slices():
        close[rows.stop - 60 : rows.stop] = close[rows.stop - 61]
    still = replace(bars, close=close)
    document = golden(small_training().candidate, still, ASKED)
    ends = {row["window_end"] for row in document["rows"]}
    assert len(ends) > ROWS
    assert max(ends) < max(row["window_end"] for row in kept()["rows"])
    assert told(document, still) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2}, {"rows": None}, {"rows": [{}]}, {"rows": [1]},
        {"rows": [{"symbol": "A", "window_end": "x", "score": None, "position": 1.0}]},
        {"rows": [{"symbol": [], "window_end": "x", "score": 1.0, "position": 1.0}]},
    ],
)  # fmt: skip
def test_what_are_no_golden_rows_is_one_error(change: dict[str, Any]) -> None:
    """A row without its figure was a KeyError in the middle of a promotion."""
    with pytest.raises(BadInput, match="none of version 1") as refused:
        told({**kept(), **change})
    assert refused.value.code == "bad_golden"
