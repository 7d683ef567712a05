"""What waits to be promoted, what serves, and what the live monitor saw of it last.

The names of the sources are kept. Theirs told a Sharpe ratio of -1.2 as 1.2, and made a series for every message; these keep
the sign, and count alerts by their stable codes.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.measures import BASES, MEASURES
from plms_pipeline.models.serving.names import FIGURES
from plms_pipeline.monitoring.exporter.series import Label, Series
from plms_pipeline.registry.tables.vocabulary import CANDIDATE_STATES, MODEL_FAMILIES

DRIFT: Final = ("population_stability_index", "js_divergence", "ks_statistic")
# Of `models/evaluation/` and `models/actions/monitoring.py`, whose import would cost the exporter a second; a test holds
# them equal.
CODES: Final = (
    "psi_above_limit", "js_above_limit", "ks_above_limit", "sharpe_below_minimum", "drawdown_above_limit",
    "value_at_risk_below_floor", "feed_is_stale", "data_not_valid",
)  # fmt: skip
OTHER: Final = "other"
# Figures of the live window that have a limit, if the champion was judged by one.
LIMITED: Final = ("sharpe", "max_drawdown", "value_at_risk")
_MONITOR: Final = "guide 002, live monitor"
_UNSEEN: Final = "The live monitor has not looked yet, or this figure is not known."
_FAMILY: Final = Label("family", MODEL_FAMILIES)
_UNREAD: Final = "No model of estimates is promoted, or it has not read the receipts yet."
_NOT_YET: Final = (
    "No receipt of anything that was begun since the promotion of a model of estimates, or none is promoted."
)
_PART: Final = (Label("measure", MEASURES), Label("basis", BASES))

MODELS: Final = (
    Series(
        "plus_ultra_monitoring_risk_metric", "gauge", "registry", "A figure of the newest live window, with its sign.",
        _MONITOR, (Label("name", FIGURES),), absent=_UNSEEN,
    ),
    Series(
        "plus_ultra_monitoring_drift_metric", "gauge", "registry",
        "How far the newest live window is from what was approved.", _MONITOR, (Label("name", DRIFT),), absent=_UNSEEN,
    ),
    Series(
        "plms_model_risk_limit", "gauge", "registry",
        "What the figure of the same name must not fall below, as the champion was judged; a drawdown is negative.",
        labels=(Label("name", LIMITED),), absent="The live monitor has not looked yet, or nobody stated this limit.",
    ),
    Series(
        "plms_model_drift_limit", "gauge", "registry", "What the drift figure of the same name must not exceed.",
        labels=(Label("name", DRIFT),), absent="The live monitor has not looked yet, or nobody stated this limit.",
    ),
    Series(
        "plus_ultra_monitoring_window_size", "gauge", "registry", "Returns in the newest live window.", _MONITOR,
        absent="The live monitor has not looked yet.",
    ),
    Series(
        "plus_ultra_monitoring_alerts_total", "counter", "registry", "Alerts of live snapshots, by code.", _MONITOR,
        (Label("alert", (*CODES, OTHER)),),
    ),
    Series(
        "plus_ultra_monitoring_last_alert_timestamp", "gauge", "registry", "When a live snapshot last held an alert.",
        _MONITOR, absent="None of the last week did.",
    ),
    Series(
        "plms_model_snapshot_timestamp_seconds", "gauge", "registry", "When the live monitor looked last.",
        absent="It has not looked yet.",
    ),
    Series(
        "plms_model_candidates", "gauge", "registry", "Trained models by what became of them.",
        labels=(_FAMILY, Label("state", CANDIDATE_STATES)),
    ),
    Series(
        "plms_model_promotions", "gauge", "registry", "The number of the newest promotion or rollback; 0: none was made.",
        labels=(_FAMILY,),
    ),
    Series(
        "plms_estimates_look_timestamp_seconds", "gauge", "registry",
        "When the promoted model of estimates last read the receipts.", absent=_UNREAD,
    ),
    Series(
        "plms_estimates_heard", "gauge", "registry",
        "Whether forecasts ask the promoted model of estimates: 1, or 0 where its live intervals stopped holding.",
        labels=_PART, absent=_UNREAD,
    ),
    Series(
        "plms_estimates_live_forecasts", "gauge", "registry",
        "Forecasts of what was begun since the promotion of the model of estimates, and has ended.", labels=_PART,
        absent=_UNREAD,
    ),
    Series(
        "plms_estimates_live_coverage", "gauge", "registry",
        "Share of them whose 90 % interval held.", labels=_PART, absent=_NOT_YET,
    ),
    Series(
        "plms_estimates_live_winkler_ratio", "gauge", "registry",
        "Their Winkler score as a share of the priors'; above 1 the priors are better.", labels=_PART, absent=_NOT_YET,
    ),
)  # fmt: skip
