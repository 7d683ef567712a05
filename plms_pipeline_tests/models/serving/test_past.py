"""Are answers from what was looked at before those that the bars themselves would give?"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.errors import Unprocessable
from plms_pipeline.models.market.bars import Bars, RawBars, canonical, merge, select
from plms_pipeline.models.serving import rows
from plms_pipeline.models.serving.past import MOST_LATER, later, newest, past_of
from plms_pipeline.models.serving.rows import Scored
from plms_pipeline.models.serving.served import Entry, History, Served, Version
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline.models.training.features import backward_features
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline_tests.models.serving.worlds import AT
from plms_pipeline_tests.models.worlds import small_bars

SYMBOLS, KNOWN = 4, 260


@cache
def market() -> Bars:
    """Bars with one extra signal; the last symbol stands still at the end, and one more is too young to be scored."""
    bars = small_bars(symbols=SYMBOLS, bars=KNOWN + MOST_LATER + 20)
    raw = bars.raw()
    still = (raw.symbol == bars.symbols[-1]) & (raw.timestamp > bars.calendar()[KNOWN - 30])
    numbers = {name: np.where(still, 7.0, values) for name, values in raw.numbers.items()}
    young = (raw.symbol == bars.symbols[0]) & (raw.timestamp > bars.calendar()[KNOWN - 50])
    changed = replace(raw, numbers=numbers)
    other = replace(changed.take(young), symbol=np.full(int(young.sum()), "YOUNG", dtype=object))
    return merge(canonical(changed), canonical(other))


@cache
def served() -> tuple[Served, History]:
    bars = market()
    history = select(bars, until=select(bars, bars.symbols[:1]).timestamp[KNOWN - 1])
    names = tuple(backward_features(bars, slice(0, 200)))
    rng = np.random.default_rng(5)
    model = LinearModel(
        names, rng.normal(size=len(names)), rng.uniform(0.5, 2, len(names)), rng.normal(size=len(names)), 0.1
    )
    entry = Entry(Version("c", "p", "m"), 1, "f", "x", "y", "z", {}, AT)
    found = Served(entry, model, experiment({}), history, {}, past_of(history, names))
    assert found.past is not None
    return found, History(history, found.past)


def told(found: Scored) -> tuple[Any, ...]:
    scores = found.scores
    return (
        scores.symbols, scores.window_end.tolist(), scores.score.tolist(), scores.predicted_return.tolist(),
        scores.position.tolist(), scores.volatility.tolist(), dict(found.unscored),
    )  # fmt: skip


def both_ways(sent: Bars | None, symbols: list[str] | None, last: int) -> tuple[Any, Any]:
    """What is answered, and what a look at all bars answers; a refusal as its code."""
    champion, known = served()
    answers: list[Any] = []
    for history in (known, History(known.bars, None)):
        try:
            answers.append(told(rows.answered(champion, history, sent, symbols, last=last)))
        except Unprocessable as error:
            answers.append((error.code, error.message))
    return answers[0], answers[1]


def cut(name: str, first: int, count: int) -> RawBars:
    """Bars of a symbol, counted from the first that the history does not have."""
    bars, (_, known) = market(), served()
    assert known.bars is not None
    last = known.bars.timestamp[dict(known.bars.slices())[name].stop - 1]
    places = dict(bars.slices())[name]
    begin = int(np.searchsorted(bars.timestamp[places], last, side="right")) + first
    return bars.raw().take(np.arange(places.start + begin, places.start + begin + count))


def joined(parts: list[RawBars]) -> Bars:
    return canonical(
        RawBars(
            np.concatenate([part.timestamp for part in parts]), np.concatenate([part.symbol for part in parts]),
            {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers},
            {name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras},
        )
    )  # fmt: skip


@settings(max_examples=80)
@given(data=st.data(), last=st.sampled_from([1, 2, 7, 40, 1000]))
def test_later_bars_are_scored_as_a_look_at_all_bars_scores_them(data: st.DataObject, last: int) -> None:
    """To the bit, with the same words about who has no score: what is quicker must not be another model."""
    names = data.draw(st.lists(st.sampled_from([*market().symbols]), min_size=1, max_size=SYMBOLS + 1, unique=True))
    counts = st.sampled_from([1, 1, 2, 5, MOST_LATER, MOST_LATER + 1])
    # A bar before the first new one corrects the past.
    firsts = st.sampled_from([0, 0, 0, 3, -1, -20])
    sent = joined([cut(name, data.draw(firsts), data.draw(counts)) for name in names])
    if data.draw(st.booleans()):
        sent = replace(
            sent, extras={name: np.where(values > 0, np.nan, values) for name, values in sent.extras.items()}
        )
    quick, slow = both_ways(sent, None, last)
    assert quick == slow


@given(
    symbols=st.none() | st.lists(st.sampled_from(["SIM000", "SIM002", "SIM003", "YOUNG", "NOBODY"]), min_size=1),
    last=st.sampled_from([1, 3, 1000]),
)
def test_the_newest_bars_of_the_history_need_no_second_look(symbols: list[str] | None, last: int) -> None:
    """The most frequent question of all: its answer is known before it is asked."""
    quick, slow = both_ways(None, symbols, last)
    assert quick == slow


def test_what_is_quick_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the two tests above compare one way with itself."""
    champion, known = served()

    def looked(*_: object, **__: object) -> Any:
        raise AssertionError("it looked at all bars again")

    monkeypatch.setattr(rows, "scored", looked)
    sent = joined([cut("SIM000", 0, 1), cut("SIM001", 0, 3)])
    assert rows.answered(champion, known, sent, None, last=1).scores.symbols == ("SIM000", "SIM001")
    assert len(rows.answered(champion, known, None, None, last=1).scores.symbols) == SYMBOLS - 1


def test_a_correction_of_the_past_is_not_answered_from_memory() -> None:
    """What is remembered is about the bars that the vendor took back."""
    _, known = served()
    assert known.past is not None
    assert later(known.past, canonical(cut("SIM000", -1, 2)), 1) is None
    assert later(known.past, canonical(cut("SIM000", 0, MOST_LATER + 1)), 1) is None
    assert later(known.past, canonical(cut("YOUNG", 0, 1)), 1) is None
    assert newest(known.past, ["NOBODY"], 1) is None


def test_a_history_without_the_features_is_not_remembered() -> None:
    """Whoever asks hears what is missing from whoever looks at the bars."""
    _, known = served()
    assert known.bars is not None
    assert past_of(known.bars, ("extra_nothing",)) is None
    assert past_of(select(known.bars, ["YOUNG"]), ("rsi_14",)) is None


def test_a_hole_between_history_and_what_was_sent_is_told() -> None:
    """Who sends only today's bar, weeks after the training, had it scored as if it followed the last one that is known."""
    _, known = served()
    assert known.bars is not None
    whole = joined([cut("SIM000", 0, 3), cut("SIM001", 0, 1)])
    assert rows.gaps(known, whole) == {}
    told = rows.gaps(known, joined([cut("SIM000", 40, 2), cut("SIM001", 0, 1)]))
    assert list(told) == ["SIM000"]
    end = known.bars.timestamp[dict(known.bars.slices())["SIM000"].stop - 1]
    assert str(end)[:10] in told["SIM000"]
    assert "send what lies between" in told["SIM000"]
    # A hole inside of what was sent is one as well; a correction of the past is none.
    assert list(rows.gaps(known, joined([cut("SIM001", 0, 1), cut("SIM001", 40, 1)]))) == ["SIM001"]
    assert rows.gaps(known, joined([cut("SIM000", -20, 1)])) == {}
    assert rows.gaps(known, None) == {}
