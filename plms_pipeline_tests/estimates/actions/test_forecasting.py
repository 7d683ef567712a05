from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from plms_pipeline.errors import NoData
from plms_pipeline.estimates.actions.calibration import run_backtest
from plms_pipeline.estimates.actions.forecasting import Forecast, forecasts
from plms_pipeline.estimates.plan import Work
from plms_pipeline_tests.estimates.conftest import NOON, Book

LATER = NOON + timedelta(days=30)


def ask(book: Book, *plan: Work, quantile: float = 0.95) -> Forecast:
    return forecasts(book.registry, [plan], quantile=quantile, as_of=LATER, alpha=0.3, last_night={})[0]


@pytest.fixture
def filled(sqlite_book: Book) -> Book:
    rng = np.random.default_rng(2)
    for i in range(40):
        provider, price = (("dear", 4.0), ("cheap", 0.1))[i % 2]
        book_cost = f"{price * np.exp(0.3 * rng.standard_normal()):.6f}"
        sqlite_book.add(
            provider, book_cost, at=NOON + timedelta(minutes=i), validation="failed" if i % 5 == 0 else "passed"
        )
    return sqlite_book


def test_an_empty_registry_says_that_there_is_nothing_to_forecast_from(sqlite_book: Book) -> None:
    """A number out of nothing, read as a forecast, is worse than none."""
    with pytest.raises(NoData, match="plms import"):
        ask(sqlite_book, Work(4200, "m", 1))


def test_a_forecast_names_what_it_rests_on_at_each_level(filled: Book) -> None:
    """An interval from 16 receipts of this provider is another thing than one from strangers."""
    grounds = {
        (lane, provider): next(
            line.ground for line in ask(filled, Work(lane, provider, 1)).lines if line.basis == "effort"
        )
        for lane, provider in ((4200, "dear"), (4201, "dear"), (4200, "new"), (4201, "new"))
    }
    assert (grounds[4200, "dear"].level, grounds[4200, "dear"].n) == ("lane and provider", 16)
    assert grounds[4201, "dear"].level == "the provider"
    assert grounds[4200, "new"].level == "the lane"
    assert (grounds[4201, "new"].level, grounds[4201, "new"].n) == ("all lanes and providers", 32)


def test_an_unknown_provider_is_forecast_and_said_to_be_unknown(filled: Book) -> None:
    """People plan with models that are not in the books yet; a typing error must still be seen."""
    found = ask(filled, Work(4200, "nobody", 1))
    assert "'nobody'" in found.notes[0]
    known = ask(filled, Work(4200, "cheap", 1))
    assert known.notes == []
    wide, tight = (next(line.total for line in one.lines if line.basis == "spend") for one in (found, known))
    assert wide.high / wide.low > 3 * tight.high / tight.low


def test_the_same_work_costs_more_with_the_dear_provider(filled: Book) -> None:
    """`--compare` exists for this one question."""
    budgets = [
        next(line.total.budget for line in one.lines if (line.basis, line.measure) == ("spend", "cost_usd"))
        for one in forecasts(
            filled.registry, [[Work(4200, name, 10)] for name in ("dear", "cheap")], quantile=0.9, as_of=LATER,
            alpha=0.3, last_night={},
        )
    ]  # fmt: skip
    assert budgets[0] > 10 * budgets[1]


def test_last_nights_coverage_is_that_of_the_lane_and_provider(filled: Book) -> None:
    """How far the interval can be trusted belongs beside it."""
    night = run_backtest(filled.registry, as_of=LATER, alpha=0.3).document()
    found = forecasts(
        filled.registry, [[Work(4200, "cheap", 1)], [Work(4201, "new", 1)]], quantile=0.95, as_of=LATER, alpha=0.3,
        last_night=night,
    )  # fmt: skip
    own, overall = (next(line for line in one.lines if line.basis == "effort") for one in found)
    cells = {cell["provider"]: cell for cell in night["calibration"]["cost_usd"]["cells"]}
    assert (own.coverage_90, own.coverage_n) == (cells["cheap"]["coverage_90"], cells["cheap"]["n"])
    assert overall.coverage_n == night["calibration"]["cost_usd"]["overall"]["n"]


@pytest.mark.parametrize(
    ("plan", "n"),
    [
        ([(4200, "cheap"), (4200, "dear")], 32),
        ([(4200, "new"), (4200, "newer")], 32),
        ([(4200, "cheap"), (4200, "new")], 32),
        ([(4201, "new"), (4202, "new"), (4200, "cheap")], 32),
        ([(4200, "cheap")], 16),
    ],
)
def test_a_forecast_of_last_night_is_counted_once_in_a_mixed_plan(
    filled: Book, plan: list[tuple[int, str]], n: int
) -> None:
    """Two new models in one lane both lean on the lane: its forecasts were counted twice, and looked like twice the proof."""
    night = run_backtest(filled.registry, as_of=LATER, alpha=0.3).document()
    work = [Work(lane, provider, 1) for lane, provider in plan]
    (found,) = forecasts(filled.registry, [work], quantile=0.95, as_of=LATER, alpha=0.3, last_night=night)
    line = next(line for line in found.lines if (line.basis, line.measure) == ("effort", "cost_usd"))
    assert line.coverage_n == n
    assert line.coverage_90 is not None
    assert 0.0 <= line.coverage_90 <= 1.0
