"""How long do answers take, compared with what the guide promises?

The P95 between two looks, from the histogram that `plms serve` shows, which tells the process beside it where it listens
(PLMS_API_HOST and PLMS_API_PORT, which others read from the settings); below twenty answers nobody knows. Who serves nothing
here is not slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading

# Endpoint → P95 in seconds that the guide promises.
TARGETS: Final[Mapping[str, float]] = {
    "POST /api/projects/{project_id}/start": 0.150, "POST /api/projects/{project_id}/simulate": 0.500,
    "GET /api/projects/{project_id}/metrics": 0.050, "GET /api/portfolio/status": 0.030,
}  # fmt: skip
ENOUGH: Final = 20
# Upper edge in seconds (inf: None) → answers up to it, cumulative.
Buckets = list[tuple[float | None, float]]


def looking(scrape: Callable[[str], Mapping[str, Buckets] | None]) -> Callable[[Asked], Seen]:
    """A source that reads the histogram through `scrape` (URL → endpoint → buckets; None where nobody serves)."""

    def look(asked: Asked) -> Seen:
        settings = asked.settings
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.api_host, settings.api_host)  # noqa: S104 - compared only
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        found = scrape(f"http://{host}:{settings.api_port}/metrics")
        if found is None:
            return Seen(memo=asked.memo, unknown=frozenset({"latency_p95_times"}))
        before = (asked.memo or {}).get("buckets", {})
        readings = []
        for endpoint, target in TARGETS.items():
            now = found.get(endpoint)
            then = before.get(endpoint)
            if now is None or then is None:
                continue
            p95, n = quantile(now, [(edge, count) for edge, count in then], 0.95)
            if n == 0:
                continue
            times = None if p95 is None else p95 / target
            told = "" if p95 is None else f"P95 {p95 * 1000:.0f} ms of {n:.0f} answers, target {target * 1000:.0f} ms"
            readings.append(Reading("latency_p95_times", endpoint, times, asked.now, told))
        return Seen(tuple(readings), memo={"buckets": {name: found[name] for name in TARGETS if name in found}})

    return look


def quantile(now: Buckets, before: Buckets, q: float) -> tuple[float | None, float]:
    """(the quantile of what came in between, how much that was); None below twenty, or when the counter began anew.

    Within a bucket values are taken to be spread evenly; beyond the last edge they are as large as that edge.
    """
    earlier = dict(before)
    counts = [(edge, count - earlier.get(edge, 0.0)) for edge, count in now]
    n = counts[-1][1] if counts else 0.0
    if n < ENOUGH or any(count < 0 for _, count in counts):
        return None, max(n, 0.0)
    wanted, low, below = q * n, 0.0, 0.0
    for edge, count in counts:
        if count >= wanted:
            if edge is None:
                return low, n
            share = (wanted - below) / (count - below) if count > below else 1.0
            return low + (edge - low) * share, n
        low, below = low if edge is None else edge, count
    return low, n
