"""Does every series exist from the start, with labels that cannot grow?"""

from __future__ import annotations

from plms_pipeline.evidence.metrics import ObserverMetrics, counters_of
from plms_pipeline.evidence.obligations import OBS_POINTS
from plms_pipeline.evidence.sights import GUIDE_REASONS


def test_every_series_is_there_with_zero_before_anything_happens() -> None:
    """A series that appears with its first error hides that error from rate()."""
    page = ObserverMetrics().exposition().decode()
    for point in OBS_POINTS:
        for reason in GUIDE_REASONS:
            assert f'p28_heat_reason_total{{obs_point="{point}",reason="{reason}"}} 0.0' in page
        for found in "01":
            assert f'p28_observed_total{{heat_found="{found}",obs_point="{point}"}} 0.0' in page
    for word in ("dropped", "stale", "cancelled"):
        assert f"p28_late_obs_{word}_total 0.0" in page


def test_stale_and_dropped_count_apart_and_are_not_found() -> None:
    """Stale evidence counted as found: coverage looked better the older the evidence was."""
    metrics = ObserverMetrics()
    for reason in ("ok", "stale", "dropped", "timeout"):
        metrics.ended("after_completion", reason, 10)
    page = metrics.exposition().decode()
    assert 'p28_observed_total{heat_found="1",obs_point="after_completion"} 1.0' in page
    assert 'p28_observed_total{heat_found="0",obs_point="after_completion"} 3.0' in page
    assert "p28_late_obs_stale_total 1.0" in page
    assert 'reason="stale"' not in page
    assert {key: value for key, value in counters_of(page)[1].items() if value} == {
        "ok": 1, "stale": 1, "dropped": 1, "timeout": 1,
    }  # fmt: skip
