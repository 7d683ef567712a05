"""The operations summary: keys, alerts, and that it is JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.gates import GateConfig
from plms_pipeline.models.evaluation.guardrails import GuardrailConfig
from plms_pipeline.models.evaluation.summary import SummaryInput, evaluated, operations_summary, path_of, to_json
from plms_pipeline.models.evaluation.thresholds import RULES, OperationsThresholds, alerts_of

GIVEN = SummaryInput(run_id="r1", resamples=200)


def predictions(n: int = 60) -> pd.DataFrame:
    chance = np.random.default_rng(4)
    at = pd.date_range("2024-01-01", periods=n, tz="UTC")
    rows = pd.DataFrame({"timestamp": np.tile(at, 2), "symbol": np.repeat(["A", "B"], n)})
    rows["realised_return"] = chance.normal(0.0005, 0.01, 2 * n)
    rows["market"] = np.tile(chance.normal(0.0003, 0.01, n), 2)
    return rows


def trades() -> pd.DataFrame:
    return pd.DataFrame(
        {"timestamp": [1, 1, 2], "symbol": ["A", "B", "A"], "notional": [60, -40, 50.0], "pnl": [1, -3, 2.0]}
    )


def made(
    given: SummaryInput = GIVEN, rows: pd.DataFrame | None = None, log: pd.DataFrame | None = None
) -> dict[str, Any]:
    return operations_summary(evaluated(predictions() if rows is None else rows, log, given), given)


def test_the_keys_of_the_sources_are_there_and_what_makes_it_evidence() -> None:
    """Programs of the operations team read the old ones, people who sign need the new ones."""
    document = made(log=trades())
    assert set(document) == {
        "schema_version", "run_id", "returns", "risk", "reasons", "uncertainty", "deflated_sharpe", "thresholds", "alerts",
        "triggered", "guardrails",
    }  # fmt: skip
    assert (document["schema_version"], document["run_id"]) == (1, "r1")
    assert (document["returns"]["periods"], document["returns"]["first"]) == (60, "2024-01-01T00:00:00+00:00")
    assert len(document["guardrails"]) == 9
    assert document["risk"]["roi"] == document["risk"]["total_return"]


@pytest.mark.parametrize("log", [None, trades().head(0)])
def test_without_trades_there_are_no_guardrail_figures(log: pd.DataFrame | None) -> None:
    """Nine zeros would say that nothing was ever held."""
    assert "guardrails" not in made(log=log)


def test_the_path_is_that_of_the_portfolio() -> None:
    """Symbols one after the other would have twice the periods."""
    rows = predictions()
    expected = rows.groupby("timestamp")["realised_return"].mean().to_numpy()
    assert path_of(rows.sample(frac=1, random_state=1), GIVEN) == pytest.approx(expected)


def test_a_benchmark_adds_its_figures() -> None:
    """And only a benchmark: without one they are absent, not null."""
    with_it = made(replace(GIVEN, benchmark_column="market"))
    assert with_it["risk"]["beta"] is not None
    assert "beta" not in made()["risk"]


def test_the_summary_is_json_whatever_was_earned() -> None:
    """The sources wrote Infinity for a month without a loss."""
    rows = predictions().assign(realised_return=0.01)
    document = made(rows=rows)
    text = to_json(document)
    assert json.loads(text, parse_constant=pytest.fail) == document
    assert (document["risk"]["calmar"], document["reasons"]["calmar"]) == (None, "no_drawdown")
    assert document["deflated_sharpe"] is None
    assert text == to_json(made(rows=rows))


def test_what_is_no_json_is_refused_with_its_place() -> None:
    """Half of all parsers would refuse the whole file."""
    with pytest.raises(BadInput, match=r"`a.b\[1\]` is nan"):
        to_json({"a": {"b": [1.0, float("nan")]}})


def test_every_limit_alerts_with_its_code_when_it_is_broken() -> None:
    """Routing and dashboards know the codes, not the words."""
    tight = OperationsThresholds(
        min_sharpe=99, max_drawdown=0, max_gross_exposure=0.1, max_turnover=0.1, min_tail_return=0.5, max_tail_frequency=0.1,
        max_symbol_exposure=0.1,
    )  # fmt: skip
    document = made(replace(GIVEN, thresholds=tight), log=trades())
    assert [alert["code"] for alert in document["alerts"]] == [rule.code for rule in RULES]
    assert document["triggered"] == [alert["message"] for alert in document["alerts"]]
    assert all(rule.threshold in text for rule, text in zip(RULES, document["triggered"], strict=True))


def test_kept_limits_are_silent() -> None:
    """All limits are optional, and one that is kept says nothing."""
    loose = OperationsThresholds(min_sharpe=-99, max_drawdown=1, max_gross_exposure=1_000, min_tail_return=-1_000)
    document = made(replace(GIVEN, thresholds=loose), log=trades())
    assert (document["alerts"], document["triggered"]) == ([], [])
    assert document["thresholds"]["max_turnover"] is None


def test_a_limit_without_its_figure_is_an_alert() -> None:
    """The sources' limits on exposure never fired without trades, and were taken for kept."""
    document = made(replace(GIVEN, thresholds=OperationsThresholds(max_gross_exposure=1.0)))
    assert [alert["code"] for alert in document["alerts"]] == ["gross_exposure_peak_unknown"]
    found = alerts_of(OperationsThresholds(min_sharpe=1.0), risk={"sharpe": None}, guardrails=None)
    assert [alert.code for alert in found] == ["sharpe_unknown"]


def test_the_drawdown_is_compared_by_its_size() -> None:
    """It is negative, and no limit would ever be above it."""
    found = alerts_of(OperationsThresholds(max_drawdown=0.1), risk={"max_drawdown": -0.2}, guardrails=None)
    assert [(alert.code, alert.value) for alert in found] == [("drawdown_above_limit", -0.2)]


def test_tail_events_are_counted_below_the_limit_of_the_summary() -> None:
    """The floor that is alerted on is the one that events are counted by."""
    given = replace(
        GIVEN,
        thresholds=OperationsThresholds(min_tail_return=0.0),
        guardrails=GuardrailConfig(capital_base=10, min_tail_return=-99.0),
    )
    document = made(given, log=trades())
    assert document["guardrails"]["tail_event_frequency"] == 0.5
    assert document["guardrails"]["gross_exposure_peak"] == 10.0


@pytest.mark.parametrize("given_", [{"min_sharpe": float("nan")}, {"max_drawdown": -0.1}, {"max_tail_frequency": 0.1}])
def test_limits_that_cannot_be_compared_are_refused(given_: dict[str, float]) -> None:
    """Before the hour of training, not after it."""
    with pytest.raises(BadInput, match=next(iter(given_))):
        OperationsThresholds(**given_)


def test_predictions_whose_returns_are_all_unknown_are_no_evaluation() -> None:
    """A summary of nothing would be signed."""
    with pytest.raises(NoData, match="realised_return"):
        made(rows=predictions().assign(realised_return=np.nan))


def test_gates_judge_by_more_than_the_level_that_is_shown() -> None:
    """What is shown at 95 % lets one worthless candidate in forty pass."""
    assert GateConfig().level == 0.99
