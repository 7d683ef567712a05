"""What do answers, guardrails and the champion count as?

Names, labels and buckets are the sources', with an edge at 0.75 s, so that "p95 within 750 ms" is read off and not
interpolated. Every label is a closed list whose series exist from the start with zero: an exception of an unknown class counts
as `other`, and a violation by its kind without the symbol that broke it. The figures of the champion keep their signs, and one
that nobody knows is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from plms_pipeline.models.serving.names import ENDPOINTS, EXCEPTIONS, FIGURES, KINDS, METHODS, OTHER, STATUSES

LATENCY_EDGES_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
ROWS_EDGES: Final = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000)
MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
POLICY: Final = "service"


class ServingMetrics:
    """The series of one model server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers()
        self._of_guardrails()
        self._of_the_model()

    def _answers(self) -> None:
        requests = Counter(
            "plus_ultra_service_requests", "Answers by endpoint, method and status.", ("endpoint", "method", "status"),
            registry=self.registry,
        )  # fmt: skip
        latency = Histogram(
            "plus_ultra_service_request_latency_seconds", "Time from the request's head to the end of the answer.",
            ("endpoint", "method"), buckets=LATENCY_EDGES_S, registry=self.registry,
        )  # fmt: skip
        exceptions = Counter(
            "plus_ultra_service_request_exceptions", "Requests that ended with an exception, by its class.",
            ("endpoint", "method", "exception"), registry=self.registry,
        )  # fmt: skip
        keys = [(endpoint, method) for endpoint, method in ENDPOINTS.items()]
        keys += [(OTHER, method) for method in METHODS]
        self._known = set(keys)
        self._requests = {(*key, status): requests.labels(*key, status) for key in keys for status in STATUSES}
        self._latency = {key: latency.labels(*key) for key in keys}
        self._exceptions = {(*key, name): exceptions.labels(*key, name) for key in keys for name in EXCEPTIONS}
        success = self._gauge("service_last_success_timestamp", "When an endpoint last answered below 400.", "endpoint")
        error = self._gauge("service_last_error_timestamp", "When an endpoint last answered 400 or above.", "endpoint")
        self._last = {
            (endpoint, is_good): (success if is_good else error).labels(endpoint)
            for endpoint in (*ENDPOINTS, OTHER)
            for is_good in (True, False)
        }
        self._rows = Histogram(
            "plus_ultra_service_prediction_rows", "Predictions per answer, after the cap.", buckets=ROWS_EDGES,
            registry=self.registry,
        )  # fmt: skip
        self._last_rows = self._gauge("service_last_prediction_rows", "Predictions of the last answer, after the cap.")

    def _of_guardrails(self) -> None:
        enabled = self._gauge("guardrails_enabled", "1: guardrails are enforced.", "policy")
        self._enabled = enabled.labels(POLICY)
        violations = self._counter(
            "guardrail_violations", "Limits that were broken after enforcement, by kind.", "name"
        )  # fmt: skip
        self._violations = {kind: violations.labels(kind) for kind in KINDS}
        self._last_violations = self._gauge("guardrail_last_violation_count", "Limits broken by the last book.")
        self._trades = self._counter("guardrail_trades_evaluated", "Trades that guardrails judged.")
        self._unguarded = self._counter("guardrail_trades_unguarded", "Trades seen while guardrails were switched off.")
        self._scaled = self._counter("guardrail_books_scaled", "Books that were cut to their limits.")

    def _of_the_model(self) -> None:
        self._loaded = self._gauge("service_model_loaded", "1: a verified model answers.")
        self._unverified = self._gauge(
            "service_model_unverified",
            "1: the promoted model could not be verified; the one before it answers, if any.",
        )
        self._sequence = self._gauge(
            "service_model_sequence", "The number of the promotion by which the loaded model serves."
        )
        self._promoted = self._gauge("service_promoted_sequence", "The number of the newest promotion in the registry.")
        self._looked = self._gauge("service_last_look_timestamp", "When the registry was last asked who is to serve.")
        self._swaps = self._counter("service_model_swaps", "Models that were put to work since the server began.")
        self._figures = self._gauge(
            "service_champion_metric", "A figure of the loaded model out of sample, as it was signed.", "name"
        )

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"plus_ultra_{name}", says, labels, registry=self.registry)

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"plus_ultra_{name}", says, labels, registry=self.registry)

    def answered(self, endpoint: str, method: str, status: int, seconds: float, at: float) -> None:
        """Count one answer; `at` in seconds since 1970, `status` 0: there was none."""
        key = self._key(endpoint, method)
        known = str(status) if str(status) in STATUSES else OTHER
        self._requests[*key, known].inc()
        self._latency[key].observe(seconds)
        self._last[key[0], 200 <= status < 400].set(at)

    def failed(self, endpoint: str, method: str, exception: str) -> None:
        """Count one exception, handled or not, by the name of its class."""
        name = exception if exception in EXCEPTIONS else OTHER
        self._exceptions[*self._key(endpoint, method), name].inc()

    def predicted(self, rows: int) -> None:
        """Count the rows of one answer."""
        self._rows.observe(rows)
        self._last_rows.set(rows)

    def judged(self, trades: int, violations: Mapping[str, int], *, enforced: bool, scaled: bool) -> None:
        """Count one book."""
        if not enforced:
            self._unguarded.inc(trades)
            return
        self._trades.inc(trades)
        for kind, count in violations.items():
            self._violations[kind].inc(count)
        self._last_violations.set(sum(violations.values()))
        if scaled:
            self._scaled.inc()

    def looked(self, at: float, *, promoted: int, enabled: bool) -> None:
        """Tell what the registry said."""
        self._looked.set(at)
        self._promoted.set(promoted)
        self._enabled.set(enabled)

    def verified(self, *, is_verified: bool) -> None:
        """Tell whether the promoted model is the one that answers."""
        self._unverified.set(not is_verified)

    def serves(self, sequence: int, figures: Mapping[str, float | None]) -> None:
        """Tell of the model that now answers."""
        self._loaded.set(1)
        self._sequence.set(sequence)
        self._swaps.inc()
        self._figures.clear()
        for name in FIGURES:
            value = figures.get(name)
            if value is not None:
                self._figures.labels(name).set(value)

    def exposition(self) -> bytes:
        """The series in Prometheus' text format."""
        return generate_latest(self.registry)

    def _key(self, endpoint: str, method: str) -> tuple[str, str]:
        key = (endpoint, method)
        return key if key in self._known else (OTHER, method if method in METHODS else OTHER)
