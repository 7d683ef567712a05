"""Do the figures agree with empyrical-reloaded, on the same input, to 1e-9?"""

from __future__ import annotations

import numpy as np
import pytest

from plms_pipeline.models.evaluation.returns import Floats, Returns
from plms_pipeline.models.evaluation.risk import risk_figures

# The library takes a second and a half to import: one worker pays for it, when it comes to it.
pytestmark = pytest.mark.xdist_group("empyrical")

A_YEAR = 252
ANNUALISED = {"annualization": A_YEAR}
# Our name, theirs, and what theirs is to be told.
THEIRS = {
    "sharpe": ("sharpe_ratio", ANNUALISED),
    "sortino": ("sortino_ratio", ANNUALISED),
    "downside_deviation": ("downside_risk", ANNUALISED),
    "max_drawdown": ("max_drawdown", {}),
    "calmar": ("calmar_ratio", ANNUALISED),
    "volatility": ("annual_volatility", ANNUALISED),
    "value_at_risk": ("value_at_risk", {}),
    "expected_shortfall": ("conditional_value_at_risk", {}),
    "omega_ratio": ("omega_ratio", ANNUALISED),
    "total_return": ("cum_returns_final", {}),
    "annualised_return": ("annual_return", ANNUALISED),
}
AGAINST = {
    "beta": ("beta_aligned", {}),
    "alpha": ("alpha_aligned", ANNUALISED),
    "information_ratio_per_period": ("excess_sharpe", {}),
}


def worlds() -> list[Floats]:
    chance = np.random.default_rng(17)
    heavy = 0.01 * chance.standard_t(3, 700)
    ties = np.round(chance.normal(0.0, 0.01, 300), 2)
    return [chance.normal(0.0005, 0.01, 2_520), np.clip(heavy, -0.9, None), ties, np.array([0.02, -0.01, -0.03])]


@pytest.mark.parametrize("name", THEIRS)
def test_figures_agree_with_empyrical(name: str) -> None:
    """Risk people recompute these with the library that they trust."""
    import empyrical

    theirs, told = THEIRS[name]
    for r in worlds():
        expected = getattr(empyrical, theirs)(r, **told)
        assert risk_figures(Returns(r, A_YEAR))[name] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", AGAINST)
def test_figures_against_a_benchmark_agree_with_empyrical(name: str) -> None:
    """So do those who run the benchmark."""
    import empyrical

    theirs, told = AGAINST[name]
    for r in worlds():
        b = 0.5 * r + np.random.default_rng(3).normal(0, 0.005, r.size)
        found = risk_figures(Returns(r, A_YEAR), Returns(b, A_YEAR))
        assert found[name] == pytest.approx(getattr(empyrical, theirs)(r, b, **told), rel=1e-9, abs=1e-9)
        annual = empyrical.annual_return(b, **ANNUALISED)
        assert found["benchmark_annualised_return"] == pytest.approx(annual, rel=1e-9, abs=1e-9)
