"""Does the page tell of models what stands in the books, with its sign?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from plms_pipeline.models.actions.monitoring import STALE
from plms_pipeline.models.decision.tree import DATA_NOT_OK
from plms_pipeline.models.evaluation.drift import DriftThresholds, drift_alerts, profile_of
from plms_pipeline.models.evaluation.live import snapshot
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.watch.judging import Rules, limits_of
from plms_pipeline.monitoring.exporter.catalogue.models import CODES, DRIFT, LIMITED
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import LiveSnapshot
from plms_pipeline.settings import Settings
from plms_pipeline_tests.models.serving.worlds import promote, trained
from plms_pipeline_tests.monitoring.exporter.worlds import NOW, add, ago, nonzero, reader, value


def looked(registry: Registry, at: datetime, codes: list[str], **seen: Any) -> None:
    """One look of the live monitor."""
    add(
        registry, LiveSnapshot,
        [{"family": "market", "at": at, "rows": 250, "metrics_json": seen, "alerts_json": codes, "action": "keep"}],
    )  # fmt: skip


def test_the_newest_live_snapshot_is_told_with_its_signs(registry: Registry, settings: Settings) -> None:
    """A Sharpe ratio of -1.2 was told as 1.2 (defect 17)."""
    looked(registry, ago(hours=2), [], risk={"sharpe": 0.4}, drift={"ks_statistic": 0.01})
    looked(
        registry, ago(hours=1), ["psi_above_limit"], risk={"sharpe": -1.2, "max_drawdown": -0.2, "sortino": None},
        drift={"population_stability_index": 0.3, "js_divergence": 0.06}, window_count=125,
    )  # fmt: skip
    samples = reader(settings).read(registry)
    told = samples.cells["plus_ultra_monitoring_risk_metric"]
    assert told == {("sharpe",): -1.2, ("max_drawdown",): -0.2}
    assert samples.cells["plus_ultra_monitoring_drift_metric"] == {
        ("population_stability_index",): 0.3, ("js_divergence",): 0.06,
    }  # fmt: skip
    assert value(samples, "plus_ultra_monitoring_window_size") == 125
    assert value(samples, "plms_model_snapshot_timestamp_seconds") == ago(hours=1).timestamp()
    assert value(samples, "plus_ultra_monitoring_last_alert_timestamp") == ago(hours=1).timestamp()


def test_the_watch_of_estimates_is_told_by_measure_and_basis(registry: Registry, settings: Settings) -> None:
    """Coverage of costs that fell to 70 % must not hide behind durations that hold; what is not known is absent."""
    live = [
        {"measure": "cost_usd", "basis": "spend", "n": 80, "coverage_90": 0.7, "winkler_ratio": 1.3},
        {"measure": "cost_usd", "basis": "effort", "n": 0, "coverage_90": None, "winkler_ratio": None},
    ]
    seen = {"live": live, "heard": [["cost_usd", "effort"]]}
    row = {
        "family": "estimates",
        "at": ago(hours=1),
        "rows": 80,
        "metrics_json": seen,
        "alerts_json": [],
        "action": "keep",
    }
    add(registry, LiveSnapshot, [row])
    samples = reader(settings).read(registry)
    assert value(samples, "plms_estimates_look_timestamp_seconds") == ago(hours=1).timestamp()
    assert samples.cells["plms_estimates_heard"] == {("cost_usd", "spend"): 0.0, ("cost_usd", "effort"): 1.0}
    assert samples.cells["plms_estimates_live_forecasts"] == {("cost_usd", "spend"): 80.0, ("cost_usd", "effort"): 0.0}
    assert samples.cells["plms_estimates_live_coverage"] == {("cost_usd", "spend"): 0.7}
    assert samples.cells["plms_estimates_live_winkler_ratio"] == {("cost_usd", "spend"): 1.3}


def test_the_limits_in_force_are_told_beside_the_figures(registry: Registry, settings: Settings) -> None:
    """A rule with a limit of its own pages somebody for a champion that was approved with that drawdown in view."""
    rules = Rules(risk=OperationsThresholds(min_sharpe=0.5, max_drawdown=0.25), drift=DriftThresholds(0.3, None, 0.15))
    looked(registry, ago(hours=2), [], risk={"sharpe": 0.4}, limits=limits_of(Rules()))
    looked(registry, ago(hours=1), [], risk={"sharpe": 0.4}, limits=limits_of(rules))
    samples = reader(settings).read(registry)
    assert samples.cells["plms_model_risk_limit"] == {("sharpe",): 0.5, ("max_drawdown",): -0.25}
    assert samples.cells["plms_model_drift_limit"] == {("population_stability_index",): 0.3, ("ks_statistic",): 0.15}
    assert (set(limits_of(rules)["risk"]), set(limits_of(rules)["drift"])) == (set(LIMITED), set(DRIFT))
    # A look of before limits were kept says none, and breaks nothing.
    looked(registry, NOW, [], risk={"sharpe": 0.4})
    assert "plms_model_risk_limit" not in reader(settings).read(registry).cells


def test_alerts_are_counted_once_by_code(registry: Registry, settings: Settings) -> None:
    """The original made a series for every message (defect 17)."""
    read = reader(settings)
    looked(registry, ago(days=30), ["ks_above_limit"])
    looked(registry, ago(hours=2), ["psi_above_limit", "sharpe_below_minimum"])
    looked(registry, ago(hours=1), ["psi_above_limit", "a sentence that somebody wrote"])
    for _ in range(2):
        samples = read.read(registry)
        assert nonzero(samples, "plus_ultra_monitoring_alerts_total") == {
            ("psi_above_limit",): 2, ("sharpe_below_minimum",): 1, ("other",): 1,
        }  # fmt: skip
    looked(registry, NOW, ["psi_above_limit"])
    assert value(read.read(registry), "plus_ultra_monitoring_alerts_total", "psi_above_limit") == 3


def test_codes_are_those_of_the_live_monitor() -> None:
    """A code that is not in the list counts as `other`, and its rule never fires."""
    calm = np.random.default_rng(1).normal(0.0, 0.01, 500)
    profile = profile_of(calm)
    seen = snapshot(
        profile,
        calm - 0.5 + 1e-4,
        risk_limits=OperationsThresholds(min_sharpe=9.0, max_drawdown=1e-6, min_tail_return=9.0),
    )
    found = [alert.code for alert in seen.alerts]
    assert {alert.code for alert in drift_alerts(seen.drift, DriftThresholds())} <= set(found)
    assert sorted([*found, STALE, DATA_NOT_OK]) == sorted(CODES)
    assert set(DRIFT) <= set(seen.drift.as_document())


def test_candidates_and_promotions_are_counted(registry: Registry, settings: Settings) -> None:
    """What waits for a person for days is seen by somebody."""
    samples = reader(settings).read(registry)
    assert value(samples, "plms_model_promotions", "market") == 0
    assert "plus_ultra_monitoring_window_size" not in samples.cells
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    of = trained(settings.data_dir)
    promote(registry, of)
    promote(registry, of)
    samples = reader(settings).read(registry)
    assert value(samples, "plms_model_promotions", "market") == 2
    assert nonzero(samples, "plms_model_candidates") == {("market", "waiting"): 1}
