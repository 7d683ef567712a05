"""Does each sentence about bars and features become untrue when it should, and only then?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plms_pipeline.models.market.bars import RawBars, content_hash
from plms_pipeline.models.market.checks import ROW_RULES, examine
from plms_pipeline.models.market.generator import Fault, World, generate
from plms_pipeline.models.stages import data as stages
from plms_pipeline.models.stages.data import bars_stage, features_stage, snapshot_stage
from plms_pipeline.models.stages.names import BAR_FINDINGS, STRICT
from plms_pipeline.models.stages.stage import Stage
from plms_pipeline.models.training.features import backward_features
from plms_pipeline_tests.models.worlds import small_bars, small_experiment


def raw(*faults: Fault) -> RawBars:
    return generate(World(symbols=2, bars=300, faults=faults), 3).raw


def told(rows: RawBars, as_of: str | None = None) -> Stage:
    found = examine(rows, as_of=None if as_of is None else np.datetime64(as_of, "us"))
    return bars_stage(found, content_hash(found.bars), source="market.csv")


def untrue(stage: Stage) -> set[str]:
    return {one.name for one in stage.checks if not one.passed}


def spoilt(name: str, value: float) -> RawBars:
    rows = raw()
    numbers = {column: values.copy() for column, values in rows.numbers.items()}
    numbers[name][7] = value
    return replace(rows, numbers=numbers)


def test_a_clean_market_makes_every_sentence_true() -> None:
    """A check that is always red is looked at by nobody."""
    assert untrue(told(raw())) == set()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (spoilt("close", float("nan")), "every_row_can_be_read"),
        (spoilt("low", -1.0), "prices_are_above_zero"),
        (spoilt("high", 1e-3), "no_high_is_below_its_low"),
        (spoilt("volume", -5.0), "no_volume_is_negative"),
        (raw(Fault("duplicate_rows", bars=5)), "no_bar_is_there_twice"),
        (raw(Fault("gap", bars=40)), "no_bar_is_missing"),
        (raw(Fault("stale_feed", bars=20)), "the_feed_does_not_stand_still"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_each_defect_is_named_by_its_own_sentence(rows: RawBars, sentence: str) -> None:
    """Whoever reads `data_not_valid` has to look for what is wrong; whoever reads the sentence does not."""
    assert untrue(told(rows)) == {sentence, STRICT}


def test_bars_of_the_future_and_a_feed_that_ended_are_told_by_the_present() -> None:
    """Without the present nobody can know."""
    assert untrue(told(raw(), "2000-06-01")) == {"no_bar_is_of_the_future", STRICT}
    assert untrue(told(raw(), "2020-01-01")) == {"the_last_bar_is_recent", STRICT}


def test_shuffled_time_and_returns_in_place_of_prices_are_told() -> None:
    """Both look like skill or like nothing at all, and never like mistakes."""
    rows = raw()
    order = np.random.default_rng(1).permutation(300)
    numbers = {name: np.concatenate([values[:300][order], values[300:]]) for name, values in rows.numbers.items()}
    assert "time_is_not_shuffled" in untrue(told(replace(rows, numbers=numbers)))
    close = np.abs(np.random.default_rng(2).normal(0.0, 0.01, 600)) + 1e-4
    assert "prices_are_no_returns" in untrue(told(replace(rows, numbers={**dict.fromkeys(rows.numbers, close)})))


def test_every_finding_that_a_file_can_have_belongs_to_one_sentence() -> None:
    """A finding that no check tells is seen by nobody who looks at checks."""
    known = [name for found in BAR_FINDINGS.values() for name in found]
    assert len(known) == len(set(known))
    assert {name for name, *_ in ROW_RULES} <= set(known)


def test_features_that_see_the_future_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ahead is the one mistake that makes every other figure worthless."""
    honest = features_stage(small_bars(), small_experiment())
    assert untrue(honest) == set()
    assert honest.facts["features"] == len(backward_features(small_bars(), slice(0, 400)))

    def ahead(bars: object) -> object:
        from plms_pipeline.models.training.features import look_ahead

        return look_ahead(bars, lambda own, rows: {"tomorrow": np.append(own.close[rows][1:], 0.0)})  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "look_ahead", ahead)
    cheating = features_stage(small_bars(), small_experiment())
    assert untrue(cheating) == {"no_feature_sees_the_future"}
    assert "tomorrow" in cheating.checks[0].why


def test_a_snapshot_that_was_changed_is_told() -> None:
    """What a training used must be found and compared for ever."""
    assert untrue(snapshot_stage(small_bars(), "a" * 64, "x.parquet")) == set()
    assert untrue(snapshot_stage(small_bars(), "a" * 64, "x.parquet", altered="it was changed")) != set()
