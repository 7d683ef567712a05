"""The API against the limits of its own server, and under the load of design.md 7.

Ours and the limits answer in one uvicorn process on one event loop; the load comes from a process of its own. In each round
every question is asked in turn with 1, 10 and 50 clients, and compared with the limit of the same round: medians of ratios, so
that a busy moment of the machine hits both. Reads are measured twice: asked again while nobody wrote (a dashboard between two
commits), and asked for the first time (`never asked before`: the whole way to the books). The open loop times from the moment
at which a request was meant to go out. Starts are live: the dispatcher hands their runs to the executor meanwhile.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench import runs
from bench.common import ROUNDS, Row
from bench.http_world import Load, World, wait_until, world

CLIENTS = (1, 10, 50)
SLICE_S = 0.2
WITHIN = 2.0
RATE, SECONDS, CONNECTIONS = 200.0, 15.0, 64
# ms: the guide's p50 targets. Where it names none, a page of one project is metrics and a page of many is portfolio/status.
TARGETS_MS = {"start": 50, "status": 10, "projects": 10, "metrics": 20, "project": 20, "runway": 20}
SIMULATE_MS = 200
# Asked once before they are measured: what is asked for the first time has rows of its own.
AGAIN = ("status", "metrics", "metrics with intervals", "project", "projects")
Requests = dict[str, list[dict[str, str]]]


def run() -> list[Row]:
    """All of it on one fresh instance."""
    folder = tempfile.TemporaryDirectory(prefix="plms-bench-", ignore_cleanup_errors=True)
    with folder as name, world(Path(name)) as here:
        load = Load(here)
        try:
            _activate(here, load)
            rows = under_load(here, load)
            rows += against_limits(here, load)
        finally:
            load.close()
        return rows + runs.measure(here)


def questions(here: World) -> Requests:
    """What is asked, by name; `…, never asked before` carries a number that no request carried before."""
    one = {
        "status": "/api/projects/{}/status", "metrics": "/api/projects/{}/metrics",
        "metrics with intervals": "/api/projects/{}/metrics?with_ci=1", "project": "/api/projects/{}",
        "projects": "/api/projects?limit=20",
    }  # fmt: skip
    made: Requests = {"empty": [here.request("empty", "GET", "/limit/empty")]}
    for suffix in ("", ", never asked before"):
        for name, path in one.items():
            asked = f"{path}{'&' if '?' in path else '?'}n=%N" if suffix else path
            made[name + suffix] = [here.request(name + suffix, "GET", asked.format(p)) for p in here.projects]
    made["insert"] = [here.request("insert", "POST", "/limit/insert", body={"run_kind": "baseline"})]
    made["start"] = [_start(here, project) for project in here.projects]
    return made


def against_limits(here: World, load: Load) -> list[Row]:
    """Seconds per request of each question and of its limit, by number of clients."""
    asked = questions(here)
    rows = []
    for clients in CLIENTS:
        taken: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(ROUNDS):
            for name, requests in asked.items():
                if name in AGAIN:
                    load.run("closed", clients=1, seconds=SLICE_S, requests=requests)
                found = load.run("closed", clients=clients, seconds=SLICE_S, requests=requests)
                _require_good(found)
                answers = sum(len(times) for times in found["times"].values())
                taken[name].append(found["elapsed_s"] / answers)
            # What the starts left to do is not to be done during the next question.
            _drained(here)
        for name, seconds in taken.items():
            if name in ("empty", "insert"):
                continue
            limit = "insert" if name == "start" else "empty"
            ratio = statistics.median(ours / theirs for ours, theirs in zip(seconds, taken[limit], strict=True))
            against = "one durable insert" if name == "start" else "an empty endpoint"
            method = "POST" if name == "start" else "GET"
            rows.append(
                Row("http", f"{method} {name}, {_clients(clients)}", against, statistics.median(seconds),
                    statistics.median(taken[limit]), ratio, f"≤ {WITHIN:g}", ratio <= WITHIN)
            )  # fmt: skip
    return rows


def under_load(here: World, load: Load) -> list[Row]:
    """The open loop: percentiles by endpoint, beside those of the bare limits asked at the same rate."""
    draw = random.Random(7)
    mix: list[dict[str, str]] = []
    for project in here.projects:
        at = f"/api/projects/{project}"
        reads = [("status", f"{at}/status")] * 3 + [
            ("metrics", f"{at}/metrics?with_ci=1"),
            ("metrics", f"{at}/metrics"),
        ]
        reads += [("project", at)] * 2 + [("projects", "/api/projects?limit=20"), ("runway", f"{at}/budget-runway")]
        mix += [here.request(name, "GET", path) for name, path in reads] + [_start(here, project)]
    draw.shuffle(mix)
    bare = [here.request("empty", "GET", "/limit/empty")] * 9
    bare.append(here.request("insert", "POST", "/limit/insert", body={"run_kind": "baseline"}))
    limits = load.run("open", rate=RATE, seconds=SECONDS / 2, clients=CONNECTIONS, requests=bare, seed=1)
    load.run("open", rate=RATE / 4, seconds=3.0, clients=CONNECTIONS, requests=mix, seed=2)
    found = load.run("open", rate=RATE, seconds=SECONDS, clients=CONNECTIONS, requests=mix, seed=3)
    _drained(here)
    _require_good(found)
    rows = []
    for name, target in TARGETS_MS.items():
        theirs = percentiles(limits["times"]["insert" if name == "start" else "empty"])
        ours = percentiles(found["times"][name])
        rows.append(
            Row("http", f"{name} at {RATE:.0f}/s over {len(here.projects)} active projects: p99", "the bare limit at that rate",
                ours[2], theirs[2], ours[2] / theirs[2], f"p99 ≤ {target} ms", ours[2] * 1000 <= target,
                note=f"p50 {ours[0] * 1000:.1f}, p95 {ours[1] * 1000:.1f}, p99 {ours[2] * 1000:.1f} ms")
        )  # fmt: skip
    late = found["late_p99_s"]
    rows.append(
        Row("http", "the load generator's own lateness: p99", "", late, limits["late_p99_s"], None, "", None,
            note="counted in all of the above")
    )  # fmt: skip
    asked = [here.request("simulate", "POST", f"/api/projects/{project}/simulate") for project in here.projects]
    simulated = percentiles(load.run("closed", clients=1, seconds=5.0, requests=asked)["times"]["simulate"])
    rows.append(
        Row("http", "simulate, 1 client: p99", "", simulated[2], None, None, f"p99 ≤ {SIMULATE_MS} ms",
            simulated[2] * 1000 <= SIMULATE_MS,
            note=f"p50 {simulated[0] * 1000:.0f}, p95 {simulated[1] * 1000:.0f}, p99 {simulated[2] * 1000:.0f} ms")
    )  # fmt: skip
    return rows


def percentiles(seconds: list[float]) -> tuple[float, float, float]:
    """p50, p95, p99 by nearest rank."""
    ranked = sorted(seconds)
    p50, p95, p99 = (ranked[min(len(ranked) - 1, int(share * len(ranked)))] for share in (0.5, 0.95, 0.99))
    return p50, p95, p99


def _activate(here: World, load: Load) -> None:
    """A run under way in every project."""
    starts = [_start(here, project) for project in here.projects]
    rate = 40.0
    load.run("open", rate=rate, seconds=1.3 * len(starts) / rate, clients=8, requests=starts)
    _drained(here)


def _start(here: World, project: int) -> dict[str, str]:
    return here.request("start", "POST", f"/api/projects/{project}/start", body={"run_kind": "baseline"})


def _drained(here: World) -> None:
    """Wait until nothing that starts asked for is due: copies are written, every project that can has a run under way."""
    left = (
        "SELECT count(*) FROM outbox_events WHERE state = 'pending' AND (kind <> 'start_run' OR subject_id IN "
        "(SELECT min(run_id) FROM project_runs WHERE source = 'plms' GROUP BY project_id HAVING sum(status = 'RUNNING') = 0))"
    )
    wait_until(lambda: here.ask(left)[0][0] == 0, what="the end of what the starts left to do", wait_s=90)


def _require_good(found: dict[str, Any]) -> None:
    if found["bad"]:
        raise RuntimeError(f"answers that were not expected: {found['bad']}")


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"
