"""Which observations did this process make?

The guide's names; every label value exists from the start with zero, so that the first error is seen by `rate()`. Labels are
closed lists: no subject, no text. What is stale is not found.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, make_wsgi_app, start_http_server
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from plms_pipeline.access.hosts import guarded_page
from plms_pipeline.evidence.obligations import OBS_POINTS
from plms_pipeline.evidence.sights import GUIDE_REASONS, OWN_REASONS, REASONS

# ms: the poll, the guide's proof (p99 108–173), the wait and its steps upwards.
WAIT_EDGES_MS = (50, 100, 200, 500, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 10_000)


class ObserverMetrics:
    """The series of one observer.

    Args:
        registry: where they are exposed; one of their own when omitted.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        own = self.registry
        observed = Counter(
            "p28_observed",
            "Observations by point, and whether the evidence was found.",
            ("obs_point", "heat_found"),
            registry=own,
        )
        reasons = Counter("p28_heat_reason", "Observations by point and reason.", ("obs_point", "reason"), registry=own)
        self._observed = {(p, found): observed.labels(p, found) for p in OBS_POINTS for found in ("0", "1")}
        self._reasons = {(p, reason): reasons.labels(p, reason) for p in OBS_POINTS for reason in GUIDE_REASONS}
        self._own = {
            "dropped": Counter("p28_late_obs_dropped", "Obligations that found no room to wait.", registry=own),
            "stale": Counter(
                "p28_late_obs_stale", "Observations of evidence that belongs to something else.", registry=own
            ),
            "cancelled": Counter("p28_late_obs_cancelled", "Obligations that nobody waits for any more.", registry=own),
        }
        accepted = Counter(
            "p28_late_obs_accepted", "Obligations accepted by this process.", ("obs_point",), registry=own
        )
        self._accepted = {p: accepted.labels(p) for p in OBS_POINTS}
        self._who = Info("p28_late_obs", "The observer of this process.", registry=own)
        # Several processes may serve one port; by default each of them would be a series of its own, for ever.
        self.inflight = Gauge(
            "p28_late_obs_inflight", "Obligations that are waited for now.", registry=own, multiprocess_mode="livesum"
        )
        self.spooled = Counter(
            "p28_late_obs_spooled", "Rows written to the spool because the registry was away.", registry=own
        )
        self.told = Counter("p28_late_obs_told", "Observations told on the stream.", registry=own)
        self.wait = Histogram(
            "p28_late_obs_wait_seconds",
            "From acceptance to the observation.",
            buckets=[e / 1000 for e in WAIT_EDGES_MS],
            registry=own,
        )
        self.commit = Histogram(
            "p28_late_obs_commit_seconds", "Duration of a group commit.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5), registry=own,
        )  # fmt: skip

    def belong_to(self, observer_id: str) -> None:
        """Say whose numbers these are, so that they can be compared with the rows that it wrote."""
        self._who.info({"observer_id": observer_id})

    def accepted(self, obs_point: str) -> None:
        """Count one accepted obligation."""
        self._accepted[obs_point].inc()

    def ended(self, obs_point: str, reason: str, wait_ms: int | None = None) -> None:
        """Count one observation that was written."""
        self._observed[obs_point, "1" if reason == "ok" else "0"].inc()
        if reason in self._own:
            self._own[reason].inc()
        else:
            self._reasons[obs_point, reason].inc()
        if wait_ms is not None:
            self.wait.observe(wait_ms / 1000)

    def counted(self) -> dict[str, int]:
        """Observations of this process by reason."""
        return counters_of(self.exposition().decode())[1]

    def exposition(self) -> bytes:
        """The series in Prometheus' text format."""
        return generate_latest(self.registry)


def expose(metrics: ObserverMetrics, port: int) -> Callable[[], None]:
    """Show the series on a port of the loopback; what closes it again."""
    server, thread = start_http_server(port, addr="127.0.0.1", registry=metrics.registry)
    server.set_app(guarded_page(make_wsgi_app(metrics.registry), frozenset()))

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


def counters_of(page: str) -> tuple[str | None, dict[str, int]]:
    """The observer that a page of metrics belongs to (None: to none), and how often it counted each reason."""
    observer_id, found = None, dict.fromkeys(REASONS, 0)
    own = {f"p28_late_obs_{reason}_total": reason for reason in OWN_REASONS}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "p28_late_obs_info":
                observer_id = sample.labels.get("observer_id")
            reason = sample.labels.get("reason") if sample.name == "p28_heat_reason_total" else own.get(sample.name)
            if reason in found:
                found[reason] += int(sample.value)
    return observer_id, found
