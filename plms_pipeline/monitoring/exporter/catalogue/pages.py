"""The series of the three other pages, as docs/metrics.md tells them.

They are declared where they are counted (`web/api/metrics.py`, `web/metrics.py`, `evidence/metrics.py`,
`models/serving/metrics.py`); a test holds names, types, labels and help texts equal to theirs.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.evidence.obligations import OBS_POINTS
from plms_pipeline.evidence.sights import GUIDE_REASONS
from plms_pipeline.models.serving.names import ENDPOINTS, EXCEPTIONS, FIGURES, KINDS, METHODS, OTHER, STATUSES
from plms_pipeline.monitoring.exporter.series import Kind, Label, Series

_STATUS: Final = Label("status", ("2xx", "3xx", "4xx", "5xx", "none"))
_POINT: Final = Label("obs_point", OBS_POINTS)
_ROUTE: Final = (Label("endpoint"), Label("method", ("GET", "POST", "PUT", "PATCH", "DELETE", "other")))
_LATENCY: Final = "guide 000, 8"
_EVIDENCE: Final = "guide 004, 4"
_WHERE: Final = "Nobody observes in this process."

API: Final = (
    Series(
        "plms_api_latency_seconds", "histogram", "api",
        "Time from the request's head to the end of the answer, by route template.", _LATENCY, _ROUTE,
    ),
    Series(
        "plms_api_answers_total", "counter", "api", "Answers by route template and class of status.", "ours",
        (*_ROUTE, _STATUS),
    ),
    Series(
        "plms_api_idempotent_answers_total", "counter", "api",
        "Answers to requests with an Idempotency-Key, by whether they were given before.", "guide 000, 4",
        (Label("replay", ("true", "false")),),
    ),
    Series(
        "p28_observed_total", "counter", "api", "Observations by point, and whether the evidence was found.", _EVIDENCE,
        (_POINT, Label("heat_found", ("0", "1"))), absent=_WHERE,
    ),
    Series(
        "p28_heat_reason_total", "counter", "api", "Observations by point and reason.", _EVIDENCE,
        (_POINT, Label("reason", GUIDE_REASONS)), absent=_WHERE,
    ),
    Series(
        "p28_late_obs_dropped_total", "counter", "api", "Obligations that found no room to wait.", _EVIDENCE, absent=_WHERE
    ),
    Series(
        "p28_late_obs_stale_total", "counter", "api", "Observations of evidence that belongs to something else.",
        absent=_WHERE,
    ),
    Series(
        "p28_late_obs_cancelled_total", "counter", "api", "Obligations that nobody waits for any more.", absent=_WHERE
    ),
    Series(
        "p28_late_obs_accepted_total", "counter", "api", "Obligations accepted by this process.", "ours", (_POINT,),
        absent=_WHERE,
    ),
    Series("p28_late_obs_inflight", "gauge", "api", "Obligations that are waited for now.", _EVIDENCE, absent=_WHERE),
    Series(
        "p28_late_obs_spooled_total", "counter", "api", "Rows written to the spool because the registry was away.",
        absent=_WHERE,
    ),
    Series("p28_late_obs_told_total", "counter", "api", "Observations told on the stream.", absent=_WHERE),
    Series("p28_late_obs_wait_seconds", "histogram", "api", "From acceptance to the observation.", absent=_WHERE),
    Series("p28_late_obs_commit_seconds", "histogram", "api", "Duration of a group commit.", absent=_WHERE),
    Series(
        "p28_late_obs_info", "gauge", "api", "The observer of this process.", "ours", (Label("observer_id"),),
        absent="Nobody observes in this process, or several processes serve.",
    ),
)  # fmt: skip

_KIND: Final = Label("kind", ("page", "asset", "graphql", "websocket", "report", "login", "metrics", "other"))
UI: Final = (
    Series(
        "plms_ui_requests_total", "counter", "ui", "Answered requests by kind of page and class of status.",
        labels=(_KIND, _STATUS),
    ),
    Series(
        "plms_ui_latency_seconds", "histogram", "ui", "Time from the request's head to the end of the answer.",
        labels=(_KIND,),
    ),
    Series("plms_ui_refusals_total", "counter", "ui", "What the door refused, by code.", labels=(Label("code"),)),
    Series(
        "plms_ui_mutations_total", "counter", "ui", "Mutations of Dagster's GraphQL that were asked for, by class.",
        labels=(Label("class"), Label("outcome", ("allowed", "refused"))),
    ),
    Series("plms_ui_websockets_open", "gauge", "ui", "WebSockets that are open."),
)  # fmt: skip

_SERVICE: Final = "guide 002, service"
_ENDPOINT: Final = Label("endpoint", (*ENDPOINTS, OTHER))
_CALL: Final = (_ENDPOINT, Label("method", METHODS))


def _model(
    name: str, kind: Kind, says: str, *labels: Label, source: str = "ours", absent: str = ""
) -> Series:  # fmt: skip
    return Series(f"plus_ultra_{name}", kind, "model", says, source, labels, absent=absent)


MODEL: Final = (
    _model(
        "service_requests_total", "counter", "Answers by endpoint, method and status.", *_CALL, Label("status", STATUSES),
        source=_SERVICE,
    ),
    _model(
        "service_request_latency_seconds", "histogram", "Time from the request's head to the end of the answer.", *_CALL,
        source=_SERVICE,
    ),
    _model(
        "service_request_exceptions_total", "counter", "Requests that ended with an exception, by its class.", *_CALL,
        Label("exception", EXCEPTIONS), source=_SERVICE,
    ),
    _model(
        "service_last_success_timestamp", "gauge", "When an endpoint last answered below 400.", _ENDPOINT, source=_SERVICE
    ),
    _model(
        "service_last_error_timestamp", "gauge", "When an endpoint last answered 400 or above.", _ENDPOINT, source=_SERVICE
    ),
    _model("service_prediction_rows", "histogram", "Predictions per answer, after the cap.", source=_SERVICE),
    _model("service_last_prediction_rows", "gauge", "Predictions of the last answer, after the cap.", source=_SERVICE),
    _model("guardrails_enabled", "gauge", "1: guardrails are enforced.", Label("policy", ("service",)), source=_SERVICE),
    _model(
        "guardrail_violations_total", "counter", "Limits that were broken after enforcement, by kind.", Label("name", KINDS),
        source=_SERVICE,
    ),
    _model("guardrail_last_violation_count", "gauge", "Limits broken by the last book.", source=_SERVICE),
    _model("guardrail_trades_evaluated_total", "counter", "Trades that guardrails judged."),
    _model("guardrail_trades_unguarded_total", "counter", "Trades seen while guardrails were switched off."),
    _model("guardrail_books_scaled_total", "counter", "Books that were cut to their limits."),
    _model("service_model_loaded", "gauge", "1: a verified model answers."),
    _model(
        "service_model_unverified", "gauge",
        "1: the promoted model could not be verified; the one before it answers, if any.",
    ),
    _model("service_model_sequence", "gauge", "The number of the promotion by which the loaded model serves."),
    _model("service_promoted_sequence", "gauge", "The number of the newest promotion in the registry."),
    _model("service_last_look_timestamp", "gauge", "When the registry was last asked who is to serve."),
    _model("service_model_swaps_total", "counter", "Models that were put to work since the server began."),
    _model(
        "service_champion_metric", "gauge", "A figure of the loaded model out of sample, as it was signed.",
        Label("name", FIGURES), absent="No model is loaded, or this figure is not known.",
    ),
)  # fmt: skip
