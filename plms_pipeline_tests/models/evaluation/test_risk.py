"""Risk figures: hand-worked cases, laws, and what cannot be said."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.returns import Returns
from plms_pipeline.models.evaluation.risk import risk_figures

SOURCES = {
    "sharpe", "sortino", "downside_deviation", "max_drawdown", "ulcer_index", "calmar", "volatility", "hit_rate",
    "value_at_risk", "expected_shortfall", "omega_ratio", "profit_factor", "cumulative_return", "total_return",
    "return_multiple", "average_return", "annualised_return",
}  # fmt: skip
AGAINST_BENCHMARK = {
    "benchmark_average_return", "benchmark_annualised_return", "average_excess_return", "annualised_excess_return",
    "tracking_error", "information_ratio", "beta", "alpha", "benchmark_correlation",
}  # fmt: skip


def path(*values: float, a_year: float = 252.0) -> Returns:
    return Returns(np.array(values, dtype=np.float64), a_year)


def test_the_keys_of_the_sources_are_kept() -> None:
    """Dashboards and scripts of the operations team read these names."""
    r = path(0.01, -0.02, 0.03)
    assert set(risk_figures(r).values) >= SOURCES | {"roi"}
    assert set(risk_figures(r, r).values) >= SOURCES | AGAINST_BENCHMARK


def test_figures_of_four_periods_by_hand() -> None:
    """+10 %, -50 %, +20 %, 0 %: every figure worked out on paper, four periods a year."""
    found = risk_figures(path(0.1, -0.5, 0.2, 0.0, a_year=4.0))
    spread = math.sqrt((0.15**2 + 0.45**2 + 0.25**2 + 0.05**2) / 3)
    downside = math.sqrt(0.25 / 4)
    expected = {
        "average_return": -0.05, "annualised_average_return": -0.2, "total_return": -0.34, "roi": -0.34,
        "cumulative_return": -0.34, "return_multiple": 0.66, "annualised_return": -0.34, "max_drawdown": -0.5,
        "ulcer_index": math.sqrt((0.5**2 + 0.4**2 + 0.4**2) / 4), "calmar": -0.68, "hit_rate": 0.5,
        "volatility_per_period": spread, "volatility": 2 * spread, "sharpe_per_period": -0.05 / spread,
        "sharpe": -0.1 / spread, "sharpe_annualised": -0.1 / spread, "downside_deviation_per_period": downside,
        "downside_deviation": 2 * downside, "sortino_per_period": -0.2, "sortino": -0.4, "value_at_risk": -0.425,
        "expected_shortfall": -0.5, "omega_ratio": 0.6, "profit_factor": 0.6,
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert not found.reasons


def test_figures_against_a_benchmark_by_hand() -> None:
    """Twice the benchmark plus one percent has beta 2, correlation 1 and that percent as alpha."""
    b = np.array([0.01, -0.02, 0.04])
    found = risk_figures(Returns(2 * b + 0.01, 4.0), Returns(b, 4.0))
    difference = b + 0.01
    expected = {
        "beta": 2.0, "benchmark_correlation": 1.0, "alpha_per_period": 0.01, "alpha": 1.01**4 - 1,
        "average_excess_return": 0.02, "annualised_excess_return": 0.08, "benchmark_average_return": 0.01,
        "tracking_error": 2 * difference.std(ddof=1), "information_ratio": 0.04 / difference.std(ddof=1),
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize(
    ("values", "name", "reason"),
    [
        ([], "sharpe", "no_returns"),
        ([], "total_return", "no_returns"),
        ([0.01], "sharpe", "too_few_returns"),
        ([0.01, 0.01, 0.01], "sharpe", "no_variation"),
        ([0.01, 0.02], "calmar", "no_drawdown"),
        ([0.01, 0.02], "omega_ratio", "no_losses"),
        ([0.01, 0.02], "sortino", "no_losses"),
        ([10.0] * 400, "total_return", "not_finite"),
    ],
)
def test_what_cannot_be_said_is_null_with_a_reason(values: list[float], name: str, reason: str) -> None:
    """Infinity and a ratio of 2e16 read like a triumph; 0 reads like a measurement."""
    found = risk_figures(path(*values))
    assert (found[name], found.reasons[name]) == (None, reason)


def test_a_benchmark_that_never_moves_has_no_beta() -> None:
    """Dividing by its variance would say that we move with cash."""
    found = risk_figures(path(0.01, 0.02, -0.01), path(0.001, 0.001, 0.001))
    assert (found["beta"], found.reasons["alpha"]) == (None, "no_benchmark_variation")
    assert found["tracking_error"] is not None


def test_a_benchmark_of_other_periods_is_refused() -> None:
    """Comparing different days is worse than comparing none."""
    with pytest.raises(BadInput, match="other periods"):
        risk_figures(path(0.01, 0.02), path(0.01))


def test_losing_everything_is_a_drawdown_of_one() -> None:
    """The sources' additive equity fell below zero, to drawdowns of 256 %."""
    found = risk_figures(path(0.1, -1.0, 0.5))
    assert (found["max_drawdown"], found["total_return"], found["annualised_return"]) == (-1.0, -1.0, -1.0)


def test_calmar_asks_how_many_periods_a_year_has() -> None:
    """252 was hard-wired: bars of an hour had the growth of a day."""
    days, hours = (risk_figures(path(0.01, -0.02, 0.015, a_year=n))["calmar"] for n in (252.0, 1764.0))
    assert days != pytest.approx(hours)


@given(st.lists(st.floats(-1.0, 3.0), max_size=40), st.floats(1.0, 20_000.0))
@settings(max_examples=60)
def test_every_figure_is_json_whatever_was_earned(values: list[float], a_year: float) -> None:
    """A bare NaN in the summary breaks whoever reads it next."""
    r = path(*values, a_year=a_year)
    found = risk_figures(r, r)
    json.dumps(found.as_document(), allow_nan=False)
    assert {name for name, value in found.values.items() if value is None} == set(found.reasons)
    drawdown = found["max_drawdown"]
    assert drawdown is None or -1.0 <= drawdown <= 0.0


@given(st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=30), st.floats(0.1, 5.0))
@settings(max_examples=40)
def test_leverage_leaves_the_sharpe_ratio_alone(values: list[float], leverage: float) -> None:
    """A ratio that grows with the stake rewards recklessness."""
    one, more = (risk_figures(path(*(factor * v for v in values)))["sharpe"] for factor in (1.0, leverage))
    if one is not None and more is not None:
        assert more == pytest.approx(one, rel=1e-6, abs=1e-6)
