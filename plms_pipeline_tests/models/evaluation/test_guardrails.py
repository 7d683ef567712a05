"""Guardrails: hand-worked books, each defect of the sources, and that a clipped book is a kept one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.books import Columns
from plms_pipeline.models.evaluation.guardrails import (
    METRICS,
    Guarded,
    GuardrailConfig,
    exceeds,
    guard,
    guardrail_metrics,
    with_caps,
)
from plms_pipeline_tests.models.evaluation.books_at_random import random_book


def book(*rows: tuple[Any, ...], columns: str = "timestamp symbol notional pnl") -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=columns.split())


def limits(**given_: Any) -> GuardrailConfig:
    return GuardrailConfig(enabled=True, **given_)


def false_violations(frame: pd.DataFrame, config: GuardrailConfig) -> list[str]:
    """What a clipped book is said to break. A floor may stay broken where no cut can mend it: not here, it is negative."""
    return [violation.name for violation in guard(frame, config).violations]


def test_the_nine_figures_by_hand() -> None:
    """Two moments, two symbols, a capital of 100: every figure worked out on paper."""
    frame = book((1, "A", 50, 4), (1, "B", -30, -10), (2, "A", 20, 1), (2, "A", 20, 1), (3, "B", 10, 3))
    found = guardrail_metrics(frame, limits(capital_base=100, tail_percentile=50, min_tail_return=0))
    assert found == pytest.approx(
        {
            "gross_exposure_peak": 0.8, "gross_exposure_mean": 1.3 / 3, "net_exposure_mean": 0.7 / 3,
            "net_exposure_peak": 0.4,
            # A 50 → 40, B -30 → 0; then A 40 → 0, B 0 → 10.
            "turnover_rate": (0.1 + 0.3 + 0.4 + 0.1) / 3,
            # -6, 2 and 3.
            "tail_return_quantile": 2.0, "tail_return_mean": -2.0, "tail_event_frequency": 1 / 3,
            "max_symbol_exposure": 0.5,
        }
    )  # fmt: skip
    assert tuple(found) == METRICS


def test_three_positions_of_a_tenth_in_one_sector_are_three_tenths() -> None:
    """The sources took the largest row, so any number of small positions kept every sector cap."""
    frame = book(*((1, s, 10, "tech") for s in "ABC"), columns="timestamp symbol notional sector")
    found = guard(frame, limits(capital_base=100, sector_caps={"tech": 0.2}, enforcement="warn"))
    assert found.exposures["sector"] == pytest.approx({"tech": 0.3})
    assert [violation.name for violation in found.violations] == ["sector_exposure:tech"]
    cut = guard(frame, limits(capital_base=100, sector_caps={"tech": 0.2}))
    assert cut.exposures["sector"]["tech"] == pytest.approx(0.2)
    assert not cut.violations


def test_rows_of_one_symbol_at_one_moment_add_up() -> None:
    """Two orders of 60 % are a position of 120 %; the same at two moments are not."""
    config = limits(max_symbol_exposure=1.0, enforcement="warn")
    together = book((1, "A", 0.6, 0), (1, "A", 0.6, 0))
    apart = book((1, "A", 0.6, 0), (2, "A", 0.6, 0))
    assert [v.name for v in guard(together, config).violations] == ["symbol_exposure:A"]
    assert not guard(apart, config).violations


def test_swapping_one_symbol_for_another_is_turnover() -> None:
    """The sources compared the sum of the book: 100 of A for 100 of B was nothing."""
    found = guardrail_metrics(book((1, "A", 100, 0), (2, "B", 100, 0)), limits())
    assert found["turnover_rate"] == pytest.approx((100 + 100) / 2)


def test_a_symbol_that_pauses_is_sold_and_bought() -> None:
    """Held, gone, held again: two moves of its size."""
    frame = book((1, "A", 10, 0), (1, "B", 1, 0), (2, "B", 1, 0), (3, "A", 10, 0), (3, "B", 1, 0))
    assert guardrail_metrics(frame, limits())["turnover_rate"] == pytest.approx(20 / 3)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ABC"), st.floats(-100, 100)), min_size=1, max_size=25))
@settings(max_examples=15)
def test_turnover_is_that_of_the_full_table(rows: list[tuple[int, str, float]]) -> None:
    """Only what is held is stored; a table of every symbol at every moment says the same."""
    frame = book(*rows, columns="timestamp symbol notional")
    table = frame.pivot_table(index="timestamp", columns="symbol", values="notional", aggfunc="sum", fill_value=0.0)
    expected = table.diff().iloc[1:].abs().to_numpy().sum() / len(table)
    assert guardrail_metrics(frame, limits())["turnover_rate"] == pytest.approx(expected, abs=1e-9)


def test_the_share_of_tail_events_is_counted_below_the_floor() -> None:
    """The share below one's own quantile is that quantile's share, whatever happens."""
    calm = book(*((t, "A", 1, -1.0 if t == 0 else 1.0) for t in range(20)))
    wild = book(*((t, "A", 1, -1.0 if t < 10 else 1.0) for t in range(20)))
    shares = [guardrail_metrics(frame, limits(min_tail_return=-0.5))["tail_event_frequency"] for frame in (calm, wild)]
    assert shares == [0.05, 0.5]
    assert guardrail_metrics(calm, limits())["tail_event_frequency"] is None
    with pytest.raises(BadInput, match="min_tail_return"):
        limits(max_tail_frequency=0.1)
    found = guard(wild, limits(min_tail_return=-2.0, max_tail_frequency=0.1, enforcement="warn"))
    assert not found.violations


def test_limits_are_kept_in_their_order() -> None:
    """Symbol, sector, gross, net, turnover, tail: each worked out by hand on one book."""
    frame = book(
        (1, "A", 80, "tech", -8), (1, "B", 20, "tech", 0), (1, "C", -20, "energy", 0),
        columns="timestamp symbol notional sector pnl",
    )  # fmt: skip
    steps: list[tuple[dict[str, Any], list[float]]] = [
        ({"max_symbol_exposure": 0.4}, [40, 20, -20]),
        ({"max_symbol_exposure": 0.4, "sector_caps": {"tech": 0.3}}, [20, 10, -20]),
        ({"max_symbol_exposure": 0.4, "sector_caps": {"tech": 0.3}, "max_gross_exposure": 0.25}, [10, 5, -10]),
        ({"max_net_exposure": 0.4}, [40, 10, -10]),
        ({"min_tail_return": -2.0}, [20, 5, -5]),
    ]
    for given_, expected in steps:
        found = guard(frame, limits(capital_base=100, **given_))
        assert found.trades["notional"].tolist() == pytest.approx(expected)
        assert found.scaled
        assert not found.violations


def test_clipping_scales_position_and_return_but_never_the_price() -> None:
    """A price is a fact of the market."""
    frame = book((1, "A", 10.0, 10.0, -4.0), columns="timestamp symbol position price pnl")
    row = guard(frame, limits(max_gross_exposure=25)).trades.iloc[0]
    assert [row["notional"], row["position"], row["price"], row["pnl"]] == pytest.approx([25, 2.5, 10, -1])


def test_a_book_that_was_cut_to_a_limit_keeps_it() -> None:
    """The sources' own example: 0.5000000000000001 was reported as above 0.5."""
    assert not exceeds(0.5000000000000001, 0.5)
    assert exceeds(0.500001, 0.5)
    assert not any(false_violations(*random_book(seed)) for seed in range(5))


@pytest.mark.live
def test_hundreds_of_clipped_books_report_nothing() -> None:
    """Three in a hundred did in the sources: people learn to ignore an alarm that lies. `make prove-gates` takes 2 000."""
    made = [guard(*random_book(seed)) for seed in range(400)]
    assert [(seed, found.violations) for seed, found in enumerate(made) if found.violations] == []
    assert sum(found.scaled for found in made) > 360


def test_longs_and_shorts_that_nearly_cancel_are_clipped_without_a_word() -> None:
    """A net of a millionth of the gross is mostly rounding after the first cut."""
    frame = book((1, "A", 1e9 + 1e-3, 0), (1, "B", -1e9, 0))
    assert not guard(frame, limits(max_net_exposure=1e-4)).violations


def test_a_limit_of_zero_admits_nothing() -> None:
    """A sector that is forbidden is sold, not reported for ever."""
    frame = book((1, "A", 10, "tobacco"), (1, "B", 10, "tech"), columns="timestamp symbol notional sector")
    found = guard(frame, limits(sector_caps={"tobacco": 0.0}))
    assert found.trades["notional"].tolist() == [0, 10]
    assert not found.violations


def test_a_floor_that_no_cut_can_mend_is_a_violation() -> None:
    """A book that must earn cannot be shrunk into earning."""
    found = guard(book((1, "A", 10, -1.0)), limits(min_tail_return=1.0))
    assert [(v.name, v.value, v.threshold) for v in found.violations] == [("tail_return_quantile", -1.0, 1.0)]
    assert not found.scaled


def test_warning_leaves_the_book_alone() -> None:
    """What is only watched must not trade less."""
    frame = book((1, "A", 10, 0))
    found = guard(frame, limits(max_gross_exposure=1, enforcement="warn"))
    assert (found.scaled, found.trades["notional"].tolist(), len(found.violations)) == (False, [10], 1)


def test_guardrails_that_are_off_still_measure() -> None:
    """The figures are wanted before anybody dares to switch them on."""
    found = guard(book((1, "A", 10, 0)), GuardrailConfig(max_gross_exposure=1))
    assert (found.metrics["gross_exposure_peak"], found.violations, found.scaled) == (10, (), False)


def refused(frame: pd.DataFrame, config: GuardrailConfig) -> str:
    with pytest.raises(BadInput) as caught:
        guard(frame, config)
    return str(caught.value)


def test_a_missing_column_is_an_error_that_names_it() -> None:
    """The sources filled in an empty column: exposure 0, no violation, positions null."""
    no_notional = book((1, "A", 5.0), columns="timestamp symbol price")
    assert "`notional`" in refused(no_notional, limits())
    half = book((1, "A", 5.0, 2.0), (1, "B", np.nan, 2.0), columns="timestamp symbol position price")
    assert "1 rows have no `notional`, and not both `position` and `price`" in refused(half, limits())
    frame = book((1, "A", 10, 0))
    assert "`sector`" in refused(frame, limits(sector_caps={"tech": 0.1}))
    assert "`style`" in refused(frame, limits(factor_caps={"value": 0.1}, columns=Columns(factor="style")))
    assert "`pnl`" in refused(frame.drop(columns="pnl"), limits(min_tail_return=-1))
    assert "`symbol`" in refused(frame.drop(columns="symbol"), limits())
    assert "`timestamp`" in refused(book((None, "A", 10, 0)), limits())


def test_a_row_without_a_sector_is_an_error_under_sector_caps() -> None:
    """One unlabelled position is outside of every cap."""
    frame = book((1, "A", 10, "tech"), (1, "B", 10, None), columns="timestamp symbol notional sector")
    assert "1 rows have no `sector`" in refused(frame, limits(sector_caps={"tech": 0.1}))
    assert guard(frame, limits()).exposures["sector"] == {"tech": 10.0}


def test_a_row_without_notional_takes_position_times_price() -> None:
    """Row by row: one venue sends the one, another the two."""
    frame = book(
        (1, "A", 7.0, np.nan, np.nan), (1, "B", np.nan, -2.0, 5.0), columns="timestamp symbol notional position price"
    )
    assert guard(frame, limits()).trades["notional"].tolist() == [7, -10]


@pytest.mark.parametrize("amount", ["many", np.inf])
def test_an_amount_is_a_finite_number(amount: object) -> None:
    """Infinite exposure cannot be cut to anything."""
    assert "`notional`" in refused(book((1, "A", amount, 0)), limits())


def test_an_empty_book_is_exposed_to_nothing() -> None:
    """Nine zeros, as in the sources, and no error."""
    empty = book(columns="timestamp symbol notional pnl")
    found = guard(empty, limits(max_gross_exposure=1, sector_caps={"tech": 1}, min_tail_return=-1))
    assert set(found.metrics.values()) == {0.0}
    assert not found.violations


@pytest.mark.parametrize("column", ["notional", "pnl"])
def test_an_amount_beyond_all_money_is_refused(column: str) -> None:
    """Two of the largest numbers add up to infinity, which passes no limit, cannot be cut, and is no JSON."""
    frame = book((1, "A", 1.0, 1.0), (1, "B", 1.0, 1.0)).assign(**{column: 1e308})
    assert f"`{column}`" in refused(frame, limits(max_gross_exposure=1))


def test_position_times_price_is_money_too() -> None:
    """Each is a number, and their product is none."""
    frame = book((1, "A", 1.0, 1.0)).drop(columns="notional").assign(position=1e200, price=1e200)
    assert "`notional`" in refused(frame, limits(max_gross_exposure=1))


def test_one_unknown_return_under_a_tail_limit_is_an_error() -> None:
    """Whoever left out the return of a loss took its whole moment out of the tail."""
    frame = book((1, "A", 1.0, -9.0), (1, "B", 1.0, np.nan), (2, "A", 1.0, 0.1))
    assert "1 rows have no `pnl`" in refused(frame, limits(min_tail_return=-1))


def test_unknown_returns_leave_the_tail_unknown() -> None:
    """Trades that are only proposed have earned nothing yet, which is not 0."""
    found: Guarded = guard(book((1, "A", 10), columns="timestamp symbol notional"), limits())
    assert found.metrics["tail_return_quantile"] is None


@pytest.mark.parametrize(
    "given_",
    [
        {"enforcement": "clp"}, {"capital_base": 0.0}, {"tail_percentile": 0.0}, {"max_turnover": -1.0},
        {"sector_caps": {"tech": float("nan")}}, {"min_tail_return": float("-inf")},
    ],
)  # fmt: skip
def test_limits_that_nothing_can_be_compared_with_are_refused(given_: dict[str, Any]) -> None:
    """A misspelt `clip` must not become "only warn"."""
    with pytest.raises(BadInput, match=next(iter(given_))):
        limits(**given_)


def test_caps_of_an_approval_only_tighten() -> None:
    """Approved with caps means less than without them, whatever was configured."""
    config = limits(max_gross_exposure=0.5, min_tail_return=-5.0, sector_caps={"tech": 0.2})
    found = with_caps(
        config,
        {
            "max_gross_exposure": 0.8,
            "max_turnover": 0.3,
            "min_tail_return": -2.0,
            "sector:tech": 0.1,
            "factor:value": 0.4,
        },
    )
    assert (found.max_gross_exposure, found.max_turnover, found.min_tail_return) == (0.5, 0.3, -2.0)
    assert (found.sector_caps, found.factor_caps, found.enabled) == ({"tech": 0.1}, {"value": 0.4}, True)
    assert config.sector_caps == {"tech": 0.2}


@pytest.mark.parametrize("caps", [{"gross": 0.5}, {"sector:": 0.5}, {"max_turnover": -1.0}])
def test_a_cap_that_would_cap_nothing_is_refused(caps: dict[str, float]) -> None:
    """A misspelt cap would be an approval without it."""
    with pytest.raises(BadInput):
        with_caps(limits(), caps)
