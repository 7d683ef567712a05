from __future__ import annotations

import numpy as np
import pytest

from plms_pipeline.models.training.costs import Costs, changes, portfolio, positions, realised

CODES = np.array([0, 0, 0, 1, 1], dtype=np.int32)


def test_costs_are_paid_on_what_is_traded() -> None:
    """The source charged slippage on what was held: whoever never traded paid every day, and whoever churned paid no more."""
    held = np.array([0.5, 0.5, -0.5, 0.2, 0.2])
    costs = Costs(transaction=0.01, slippage=0.02)
    assert changes(held, CODES).tolist() == pytest.approx([0.5, 0.0, 1.0, 0.2, 0.0])
    assert realised(held, np.full(5, 0.1), CODES, costs) == pytest.approx([0.035, 0.05, -0.08, 0.014, 0.02])


def test_holding_is_paid_for_the_size_of_the_position() -> None:
    """A short costs as much to carry as a long."""
    paid = realised(np.array([-1.0, -1.0]), np.zeros(2), CODES[:2], Costs(0.0, 0.0, holding=0.001))
    assert paid == pytest.approx([-0.001, -0.001])


def test_the_realised_return_depends_on_the_model() -> None:
    """The source reported the raw target, whatever the model said: every candidate looked alike."""
    returns = np.array([0.01, -0.02, 0.03, 0.01, 0.01])
    right, wrong = positions(returns * 100, 5.0), positions(-returns * 100, 5.0)
    assert realised(right, returns, CODES, Costs()).sum() > 0 > realised(wrong, returns, CODES, Costs()).sum()


def test_the_portfolio_is_the_mean_of_its_symbols_at_each_moment() -> None:
    """The source laid the symbols end to end: its equity curve was the path of nothing."""
    times = np.array([1, 2, 3, 2, 3]).astype("datetime64[D]")
    when, returns = portfolio(times, np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert when.tolist() == np.array([1, 2, 3]).astype("datetime64[D]").tolist()
    assert returns == pytest.approx([0.1, 0.3, 0.4])


def test_positions_never_exceed_the_whole() -> None:
    """Without a bound one outlier of a prediction is the whole book."""
    assert positions(np.array([-1e9, 0.0, 1e9]), 5.0).tolist() == [-1.0, 0.0, 1.0]


def test_nothing_predicted_is_nothing_traded() -> None:
    """An empty block is ordinary at the end of a short history."""
    assert changes(np.zeros(0), np.zeros(0, dtype=np.int32)).size == 0
