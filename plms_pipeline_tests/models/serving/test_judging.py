"""Do the guardrails of a request say what they need, what they cut, and when they are off?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from plms_pipeline.errors import BadInput, Unprocessable
from plms_pipeline.models.evaluation.guardrails import METRICS, GuardrailConfig
from plms_pipeline.models.records import MARKET, Switch
from plms_pipeline.models.serving.judging import COLUMNS, in_force, judge
from plms_pipeline.models.serving.limits import caps_of, caps_of_experiment
from plms_pipeline.models.serving.names import KINDS
from plms_pipeline.models.training.experiment import experiment

ON, OFF = Switch(MARKET), Switch(MARKET, enabled=False, reason="Vendor outage", by="a-risk-lead")


def trade(symbol: str = "A", minute: int = 0, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(COLUMNS)
    return {**row, "timestamp": datetime(2026, 3, 2, 14, minute, tzinfo=UTC), "symbol": symbol, **more}


def config(**limits: Any) -> GuardrailConfig:
    return GuardrailConfig(enabled=True, **limits)


def test_all_nine_figures_are_told_for_an_empty_book_too() -> None:
    """A dashboard that misses a figure shows nothing instead of zero."""
    found = judge([], config(max_gross_exposure=1.0), ON)
    assert set(found.document["metrics"]) == set(METRICS)
    assert (found.trades, found.violations, found.document["trades"]) == (0, {}, [])


def test_a_book_is_cut_to_its_limit_and_prices_are_not() -> None:
    """Notional, position and pnl shrink alike; the market does not."""
    found = judge([trade(notional=2.0, position=4.0, price=0.5, pnl=0.2)], config(max_gross_exposure=1.0), ON)
    assert found.scaled
    [row] = found.document["trades"]
    assert (row["notional"], row["position"], row["price"], row["pnl"]) == (1.0, 2.0, 0.5, 0.1)
    assert found.document["violations"] == []


@pytest.mark.parametrize(
    ("sent", "limits", "column"),
    [
        ({}, {"max_gross_exposure": 1.0}, "notional"),
        ({"position": 1.0}, {"max_gross_exposure": 1.0}, "price"),
        ({"notional": 1.0}, {"sector_caps": {"tech": 0.5}}, "sector"),
        ({"notional": 1.0}, {"factor_caps": {"value": 0.5}}, "factor"),
        ({"notional": 1.0}, {"min_tail_return": -0.1}, "pnl"),
    ],
)
def test_a_missing_column_is_named(sent: dict[str, float], limits: dict[str, Any], column: str) -> None:
    """The original filled it with nothing: an exposure of zero passes every limit (defect 5)."""
    with pytest.raises(Unprocessable, match=f"`{column}`") as refused:
        judge([trade(**sent)], config(**limits), ON)
    assert refused.value.http_status == 422


def test_notional_is_made_of_position_and_price() -> None:
    """And told back, because it was measured."""
    found = judge([trade(position=2.0, price=0.25)], config(), ON)
    assert found.document["trades"][0]["notional"] == 0.5


def test_switched_off_it_says_so_and_judges_nothing() -> None:
    """The original refused the request with 400, and nobody could tell it from a mistake of the sender."""
    limits = in_force(config(max_gross_exposure=1.0), {}, OFF)
    found = judge([trade(notional=3.0)], limits, OFF)
    assert (found.enforced, found.scaled, found.trades) == (False, False, 1)
    assert found.document["enabled"] is False
    assert "switched off by a-risk-lead: Vendor outage" in found.document["message"]
    assert found.document["metrics"]["gross_exposure_peak"] == 3.0


def test_violations_are_counted_by_kind_and_told_by_name() -> None:
    """A label with the symbol in it would make a series for every symbol."""
    limits = config(max_symbol_exposure=0.5, enforcement="warn")
    found = judge([trade("A", notional=1.0), trade("B", notional=1.0)], limits, ON)
    assert found.violations == {"symbol_exposure": 2}
    assert {one["name"] for one in found.document["violations"]} == {"symbol_exposure:A", "symbol_exposure:B"}


def test_every_kind_of_violation_has_its_word() -> None:
    """A kind without a word would fail the request that first meets it."""
    limits = config(
        max_gross_exposure=0.1, max_net_exposure=0.1, max_turnover=0.1, max_symbol_exposure=0.1, min_tail_return=-0.01,
        max_tail_frequency=0.1, sector_caps={"s": 0.1}, factor_caps={"f": 0.1}, enforcement="warn",
    )  # fmt: skip
    book = [trade("A", minute, notional=float(minute), sector="s", factor="f", pnl=-1.0) for minute in range(1, 4)]
    assert set(judge(book, limits, ON).violations) == set(KINDS)


def test_caps_of_the_approval_hold_over_looser_settings() -> None:
    """Who approved with caps approved nothing else."""
    limits = in_force(config(max_gross_exposure=1.0), {"max_gross_exposure": 0.25, "sector:tech": 0.1}, ON)
    assert (limits.max_gross_exposure, limits.sector_caps) == (0.25, {"tech": 0.1})
    assert in_force(config(max_gross_exposure=0.1), {"max_gross_exposure": 0.25}, ON).max_gross_exposure == 0.1


def test_limits_of_the_experiment_hold_where_it_has_any() -> None:
    """What a model was judged under is what it serves under."""
    section = {
        "max_gross_exposure": 0.4,
        "min_tail_return": -0.02,
        "max_tail_frequency": 0.1,
        "sector_caps": {"tech": 0.2},
    }
    off, on = (experiment({"guardrails": {**section, "enabled": enabled}}).guardrails for enabled in (False, True))
    assert caps_of_experiment(off) == {}
    limits = in_force(config(max_gross_exposure=1.0), caps_of_experiment(on), ON)
    assert (limits.max_gross_exposure, limits.min_tail_return, limits.max_tail_frequency) == (0.4, -0.02, 0.1)
    assert limits.sector_caps == {"tech": 0.2}


def test_caps_are_written_by_name() -> None:
    """A cap that is misread is no cap."""
    assert caps_of(" tech=0.3, energy=0.2 ", "PLMS_MODEL_SECTOR_CAPS") == {"tech": 0.3, "energy": 0.2}
    for text in ("tech", "tech=", "=0.3", "tech=-1", "tech=inf", "tech=nan", "tech=0.3,tech=0.4"):
        with pytest.raises(BadInput, match="PLMS_MODEL_SECTOR_CAPS"):
            caps_of(text, "PLMS_MODEL_SECTOR_CAPS")
