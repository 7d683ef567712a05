"""How long do answers take, and which did we give?

The histogram's buckets have edges at the guide's targets (and at two and three times the P95, where its alerts sit), so
that "how many were within the target" is read off, not interpolated. The label `endpoint` is the route's template and all
label values exist from the start with zero: an id in a label, or a path that a stranger made up, would make a series each.

Several processes serve one port, and a scrape reaches one of them by chance. Where prometheus_client shares its values through
files (PROMETHEUS_MULTIPROC_DIR, which `plms serve --workers` sets before its workers begin), every one of them tells the sums
of all. A gauge must say how it adds up (`livesum`: over the processes that live), or each process is a series of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

# ms: start 50/150/300, simulate 200/500/1000, metrics 20/50/100, portfolio status 10/30/50; 2× and 3× of each P95.
TARGET_EDGES_MS = (5, 10, 20, 30, 50, 60, 90, 100, 150, 200, 300, 450, 500, 1000, 1500, 2500, 5000)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "other")
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx", "none")
MEDIA_TYPE = CONTENT_TYPE_LATEST


class ApiMetrics:
    """The series of one application, in a registry of their own.

    Args:
        endpoints: (route template, method) of every route; whatever else is asked for counts as `other`.
    """

    def __init__(self, endpoints: Iterable[tuple[str, str]]) -> None:
        self.registry = CollectorRegistry()
        latency = Histogram(
            "plms_api_latency_seconds",
            "Time from the request's head to the end of the answer, by route template.",
            ("endpoint", "method"),
            buckets=[edge / 1000 for edge in TARGET_EDGES_MS],
            registry=self.registry,
        )
        answers = Counter(
            "plms_api_answers",
            "Answers by route template and class of status.",
            ("endpoint", "method", "status"),
            registry=self.registry,
        )
        replays = Counter(
            "plms_api_idempotent_answers",
            "Answers to requests with an Idempotency-Key, by whether they were given before.",
            ("replay",),
            registry=self.registry,
        )
        self._replays = {is_replay: replays.labels(str(is_replay).lower()) for is_replay in (True, False)}
        self._known = {(path, method) for path, method in endpoints if method in METHODS}
        self._known |= {("other", method) for method in METHODS}
        self._latency = {key: latency.labels(*key) for key in self._known}
        self._answers = {
            (*key, status): answers.labels(*key, status) for key in self._known for status in STATUS_CLASSES
        }

    def observe(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        key = (endpoint, method)
        if key not in self._known:
            key = ("other", method if method in METHODS else "other")
        self._latency[key].observe(seconds)
        self._answers[*key, f"{status // 100}xx" if 200 <= status < 600 else "none"].inc()

    def answered_once(self, is_replay: bool) -> None:  # noqa: FBT001 - what the answer's header says
        """Count one answer that is given once per Idempotency-Key, or given again."""
        self._replays[is_replay].inc()

    def exposition(self) -> bytes:
        """The series in Prometheus' text format: of this process, or of all that serve together."""
        return generate_latest(_of_all() if is_shared() else self.registry)


def is_shared() -> bool:
    """Whether prometheus_client chose, when it was first imported, to keep values in files for several processes."""
    return values.ValueClass is not values.MutexValue


def forget(pid: int) -> None:
    """Leave out what a process had that is gone: gauges say what is, and a dead process has nothing any more."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library types the rest


def _of_all() -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library types the rest
    return registry
