from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.estimates.backtest import MS_PER_DAY, Outcomes, backtest, raw_quantiles, report
from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.method import QUANTILES
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.estimates.state import state_of
from plms_pipeline.estimates.summary import Summary
from plms_pipeline.measures import Measure
from plms_pipeline_tests.estimates.conftest import outcomes_of

TODAY = date(2026, 3, 1)
Shipped = Callable[..., Outcomes]


@pytest.mark.parametrize("measure", ["cost_usd", "duration_ms"])
def test_intervals_of_successful_work_hold_on_the_shipped_receipts(measure: Measure, shipped_outcomes: Shipped) -> None:
    """The promise of the first line of the README: nine in ten, overall and in every lane."""
    tree = report(backtest(shipped_outcomes(measure, passed_only=True), measure, today=TODAY))
    assert 0.88 <= tree["overall"]["coverage_90"] <= 0.92
    lanes = [lane["coverage_90"] for lane in tree["lanes"].values() if lane["n"] >= 100]
    assert lanes
    assert all(0.85 <= coverage <= 0.95 for coverage in lanes)
    if measure == "cost_usd":
        assert tree["overall"]["n"] == 2973
        assert tree["overall"]["winkler_prototype"] == pytest.approx(1.770, abs=5e-4)
        assert tree["overall"]["winkler_ratio"] <= 0.60


@pytest.mark.parametrize("measure", ["cost_usd", "duration_ms"])
def test_intervals_of_all_spending_hold_on_the_shipped_receipts(measure: Measure, shipped_outcomes: Shipped) -> None:
    """Reservations are made from these: failures cost money too."""
    tree = report(backtest(shipped_outcomes(measure, passed_only=False), measure, today=TODAY))
    assert 0.88 <= tree["overall"]["coverage_90"] <= 0.92
    assert all(0.85 <= lane["coverage_90"] <= 0.95 for lane in tree["lanes"].values() if lane["n"] >= 100)


@pytest.mark.live
@pytest.mark.parametrize("passed_only", [True, False])
def test_durations_hold_whichever_model_is_missing(shipped: pd.DataFrame, passed_only: bool) -> None:
    """Work that comes in a few large days: one day's misses made the next days of other models cover 93 of 100."""
    for model in ("Claude 3 Opus", "Claude 3.5 Sonnet (Old)", "GPT-4 Turbo", "o1"):
        assert (shipped["provider"] == model).any()
        left = outcomes_of(shipped[shipped["provider"] != model], "duration_ms", passed_only=passed_only)
        tree = report(backtest(left, "duration_ms", today=TODAY))
        assert 0.88 <= tree["overall"]["coverage_90"] <= 0.92, model


def test_intervals_hold_for_models_in_another_order_and_without_some(shipped: pd.DataFrame) -> None:
    """A method tuned to one sequence of models would break with the next leaderboard."""
    rng = np.random.default_rng(7)
    costs = shipped[shipped["cost_usd"].notna()]
    models = np.array(sorted(set(costs["provider"])))
    coverages = []
    for _ in range(3):
        kept = rng.permutation(models)[:9]
        day = {name: place * MS_PER_DAY for place, name in enumerate(kept)}
        frame = costs[costs["provider"].isin(kept)].copy()
        frame["ended"] = frame["provider"].map(day) + frame.groupby("provider").cumcount() * 1000
        frame["started"] = frame["ended"]
        frame = frame.sort_values("ended", kind="stable")
        tree = report(backtest(outcomes_of(frame, "cost_usd", passed_only=True), "cost_usd", today=TODAY))
        coverages.append(tree["overall"]["coverage_90"])
    assert all(0.87 <= coverage <= 0.93 for coverage in coverages), coverages


def of(xs: np.ndarray, measure: Measure = "cost_usd") -> Summary:
    return summarise(np.zeros(len(xs), np.int32), 1, xs, measure, alpha=0.3)[0]


def some_outcomes(n: int = 60) -> Outcomes:
    rng = np.random.default_rng(8)
    ended = np.sort(rng.integers(0, 5 * MS_PER_DAY, n))
    started = ended - rng.integers(0, MS_PER_DAY, n)
    value = np.where(rng.random(n) < 0.1, 0.0, np.exp(rng.standard_normal(n)))
    return Outcomes(rng.integers(4200, 4202, n), rng.choice(["a", "b"], n).astype(object), started, ended, value)


def test_a_forecast_in_the_backtest_is_the_live_forecast_of_that_moment() -> None:
    """What is proven must be what is served: the same quantiles from the fold of what was completed by then."""
    found = some_outcomes()
    raw, _ = raw_quantiles(found, "cost_usd")
    keys = list(zip(found.lane_id.tolist(), found.provider.tolist(), strict=True))
    for i in range(0, 60, 7):
        visible = [j for j in range(i) if found.completed_ms[j] <= found.started_ms[i]]
        cells = {
            key: of(np.array([found.value[j] for j in visible if keys[j] == key]))
            for key in {keys[j] for j in visible}
        }  # fmt: skip
        live = predict(state_of("cost_usd", cells), *keys[i])
        np.testing.assert_allclose(raw[i], [live.quantile(q) for q in QUANTILES], rtol=1e-6)


def test_what_was_running_at_the_start_is_not_known() -> None:
    """A task that ended a second before this one ended, but after it started, is the future."""
    found = Outcomes(
        np.full(3, 4200), np.array(["m", "m", "m"], object), np.array([0, 50, 100]), np.array([90, 100, 110]),
        np.array([1.0, 1.0, 1.0]),
    )  # fmt: skip
    assert found.visible().tolist() == [0, 0, 2]


def test_changing_the_future_changes_no_earlier_forecast() -> None:
    """Look-ahead is the classic way to a backtest that cannot be repeated in service."""
    found = some_outcomes()
    changed = Outcomes(
        found.lane_id, found.provider, found.started_ms, found.completed_ms,
        np.where(np.arange(60) >= 40, found.value * 1000, found.value),
    )  # fmt: skip
    one, other = (backtest(each, "cost_usd", today=TODAY) for each in (found, changed))
    early = found.started_ms < found.completed_ms[40]
    np.testing.assert_array_equal(one.quantiles[:41][early[:41]], other.quantiles[:41][early[:41]])


def test_a_scan_that_starts_later_gives_the_same_forecasts() -> None:
    """With years of history only the newest receipts are walked; the fold of the others must stand in exactly."""
    found = some_outcomes()
    since = date(1970, 1, 3)
    late = found.completed_ms >= 2 * MS_PER_DAY
    keys = list(zip(found.lane_id.tolist(), found.provider.tolist(), strict=True))
    before = {key: of(found.value[[j for j in np.flatnonzero(~late) if keys[j] == key]]) for key in set(keys)}
    whole, _ = raw_quantiles(found, "cost_usd")
    part = backtest(found.part(late), "cost_usd", today=TODAY, before=before, since=since)
    judged = late & (found.started_ms >= 2 * MS_PER_DAY)
    assert part.outcomes.value.size == judged.sum()
    window, _ = raw_quantiles(found.part(late), "cost_usd", before)
    np.testing.assert_allclose(window[judged[late]], whole[judged], rtol=1e-9)


def test_a_report_counts_every_forecast_once_per_level() -> None:
    """Overall, lanes and cells are three views of the same forecasts."""
    tree = report(backtest(some_outcomes(), "cost_usd", today=TODAY))
    assert tree["overall"]["n"] == 60
    assert sum(lane["n"] for lane in tree["lanes"].values()) == 60
    assert sum(cell["n"] for cell in tree["cells"]) == 60
    assert sum(tree["overall"]["pit"]) == pytest.approx(1.0)
    assert {"coverage_90", "winkler", "mae", "crps", "winkler_prototype", "winkler_ratio"} <= set(tree["overall"])
