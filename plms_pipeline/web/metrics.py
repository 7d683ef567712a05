"""What does the front door of the Dagster UI answer, refuse and let change?

Dagster's webserver counts nothing. Labels are closed lists and every series exists from the start with zero: a path, a refusal
or a mutation that nobody foresaw counts as `other` or `unknown`, and makes no series of its own.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from plms_pipeline.web.ui_metrics import CLASSES, CODES, KINDS, OUTCOMES

STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx", "none")
EDGES_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
WEBSOCKET: Final = "websocket"


class UiMetrics:
    """The series of one front door, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        requests = Counter(
            "plms_ui_requests", "Answered requests by kind of page and class of status.", ("kind", "status"),
            registry=self.registry,
        )  # fmt: skip
        latency = Histogram(
            "plms_ui_latency_seconds", "Time from the request's head to the end of the answer.", ("kind",), buckets=EDGES_S,
            registry=self.registry,
        )  # fmt: skip
        refusals = Counter("plms_ui_refusals", "What the door refused, by code.", ("code",), registry=self.registry)
        mutations = Counter(
            "plms_ui_mutations", "Mutations of Dagster's GraphQL that were asked for, by class.", ("class", "outcome"),
            registry=self.registry,
        )  # fmt: skip
        self._requests = {(kind, status): requests.labels(kind, status) for kind in KINDS for status in STATUS_CLASSES}
        self._latency = {kind: latency.labels(kind) for kind in KINDS if kind != WEBSOCKET}
        self._refusals = {code: refusals.labels(code) for code in CODES}
        self._mutations = {(each, outcome): mutations.labels(each, outcome) for each in CLASSES for outcome in OUTCOMES}
        self._websockets = Gauge("plms_ui_websockets_open", "WebSockets that are open.", registry=self.registry)

    def answered(self, kind: str, status: int, seconds: float) -> None:
        """Count one answer; `status` 0: there was none."""
        self._requests[kind, f"{status // 100}xx" if 200 <= status < 600 else "none"].inc()
        if kind in self._latency:
            self._latency[kind].observe(seconds)

    def refused(self, code: str) -> None:
        """Count one refusal."""
        self._refusals[code if code in self._refusals else "other"].inc()

    def mutation(self, mutation_class: str, outcome: str) -> None:
        """Count one field of a mutation."""
        self._mutations[mutation_class, outcome].inc()

    def websocket(self, change: int) -> None:
        """A WebSocket was opened (1) or is over (-1)."""
        self._websockets.inc(change)

    def exposition(self) -> bytes:
        """The series in Prometheus' text format."""
        return generate_latest(self.registry)
