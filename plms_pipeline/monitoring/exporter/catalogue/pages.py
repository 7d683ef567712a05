"""The series of the two other pages, as docs/metrics.md tells them.

They are declared where they are counted (`web/api/metrics.py`, `web/metrics.py`, `evidence/metrics.py`); a test holds names,
types, labels and help texts equal to theirs.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.evidence.obligations import OBS_POINTS
from plms_pipeline.evidence.sights import GUIDE_REASONS
from plms_pipeline.monitoring.exporter.series import Label, Series

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
