"""What tasks and projects are estimated to take, against the forecasts that the terminal gives for the same work."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.estimates.actions.believing import beliefs_at
from plms_pipeline.estimates.actions.forecasting import forecasts
from plms_pipeline.estimates.beliefs import beliefs_of
from plms_pipeline.estimates.plan import Work
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.money import cap_of, expected_usd
from plms_pipeline.runs.pricing import QUANTILE, prices
from plms_pipeline_tests.estimates.conftest import NOON, Book

NOTHING = beliefs_of([], forgetting=0.995)


@pytest.fixture
def taught(sqlite_registry: Registry) -> Registry:
    """Sixty receipts of two models in two lanes, costs and durations known, tokens never."""
    book = Book(sqlite_registry)
    for number in range(60):
        book.add(
            f"m{number % 2}", str(Decimal("0.10") * (1 + number % 7)), lane=(4200, 4202)[number % 3 == 0],
            at=NOON - timedelta(minutes=number), took=timedelta(minutes=2 + number % 5),
        )  # fmt: skip
    return sqlite_registry


def test_estimates_are_the_forecasts_of_the_terminal(taught: Registry) -> None:
    """`plms forecast` and `plms project estimate` must not tell two stories about the same work."""
    cells = [(4200, "m0")] * 3 + [(4202, "m1")] + [(4200, "m1")] * 2
    with taught.reading() as session:
        found = prices(beliefs_at(session, NOON, alpha=0.3), {}, cells, as_of="now")
    work = [[Work(4200, "m0", 1)], [Work(4200, "m0", 3), Work(4200, "m1", 2), Work(4202, "m1", 1)]]
    one, whole = forecasts(taught, work, quantile=QUANTILE, as_of=NOON, alpha=0.3, last_night={})
    for estimate, forecast in ((found.cells[4200, "m0"], one), (found.total, whole)):
        assert {line.measure for line in forecast.lines} == {"duration_ms", "cost_usd"}
        for line in forecast.lines:
            cell = estimate.forecast[line.basis][line.measure]
            for name in ("median", "mean", "low", "high", "budget"):
                assert math.isclose(cell[name], getattr(line.total, name), rel_tol=1e-6, abs_tol=1), (line, name)
    assert found.total.cost_usd == Decimal(str(found.total.forecast["effort"]["cost_usd"]["median"]))


def test_a_measure_that_no_receipt_knows_is_the_factory_default_times_the_tasks(taught: Registry) -> None:
    """Three thousand tokens a task, as the guide says, and an interval that says how little is known."""
    with taught.reading() as session:
        found = prices(beliefs_at(session, NOON, alpha=0.3), {}, [(4200, "m0")] * 4, as_of="now")
    tokens = found.total.forecast["effort"]["tokens"]
    assert (found.total.tokens, tokens["median"], tokens["n"]) == (12_000, 12_000, 0)
    assert tokens["high"] > 10 * tokens["low"]
    assert found.total.forecast["effort"]["cost_usd"]["n"] > 0


@settings(max_examples=25)  # four prices there can be, in any number
@given(st.lists(st.tuples(st.sampled_from([4200, 6101]), st.sampled_from(["a", "b"])), min_size=1, max_size=40))
def test_without_any_receipt_every_task_has_a_price(cells: list[tuple[int, str]]) -> None:
    """The first project of a new installation."""
    found = prices(NOTHING, {}, cells, as_of="now")
    assert set(found.cells) == set(cells)
    assert found.total.tokens == 3000 * len(cells)
    assert found.total.minutes == 5 * len(cells)
    assert found.total.cost_usd == Decimal("0.18") * len(cells)


def test_a_huge_project_still_fits_into_its_columns() -> None:
    """Ignorance times ten thousand is more than an INTEGER holds."""
    found = prices(NOTHING, {}, [(4200, "a")] * 10_000, as_of="now")
    for basis in ("effort", "spend"):
        assert found.total.forecast[basis]["tokens"]["high"] <= 2**31 - 1
        assert found.total.forecast[basis]["cost_usd"]["high"] < 10**8


def test_cards_are_capped_by_what_is_stored_here() -> None:
    """The dispatcher reads the upper end of what an attempt spends from the task's forecast."""
    forecast = prices(NOTHING, {}, [(4200, "a")], as_of="now").cells[4200, "a"].forecast
    cap = cap_of(forecast)
    assert cap is not None
    assert float(cap) == forecast["spend"]["cost_usd"]["high"]
    assert expected_usd([]) == 0
