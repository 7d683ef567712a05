"""Does the process tell the truth about itself?"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from plms_pipeline.access.answers import Answer
from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.routes.ops import EXECUTOR_SEEN
from plms_pipeline_tests.api_world import World, ask, live, world

PASSWORD = "hunter2-and-more"


class Cache:
    """A cache that is up or not."""

    def __init__(self, *, up: bool) -> None:
        self.up = up

    def get(self, key: str) -> Answer | None:
        return None

    def put(self, key: str, answer: Answer, *, ttl_s: int) -> None: ...

    def is_up(self) -> bool:
        return self.up


@pytest.fixture
def served(settings: Settings, registry: Registry, clock: FrozenClock) -> World:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return world(settings, registry, clock)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(p): (p.stat().st_mtime_ns, p.stat().st_size)
        for p in sorted(folder.rglob("*"))
        if not p.name.endswith("-shm")
    }


def test_alive_asks_nobody_and_writes_nothing(settings: Settings, clock: FrozenClock) -> None:
    """A restart because the database is away does not bring the database back; the sources wrote a file per question."""
    away = Registry.open("postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=1")
    settings.data_dir.mkdir(parents=True)
    found = world(settings, away, clock)
    before = snapshot(settings.data_dir)
    answer = ask(found.app, "GET", "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert snapshot(settings.data_dir) == before


def test_ready_when_everything_works(served: World) -> None:
    """What a load balancer waits for."""
    answer = ask(served.app, "GET", "/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert answer.json()["components"]["database"] == {"status": "healthy"}


def test_without_its_database_it_is_not_ready(settings: Settings, clock: FrozenClock) -> None:
    """The sources answered 200 "unhealthy", which no load balancer reads."""
    settings.data_dir.mkdir(parents=True)
    away = Registry.open("postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=1")
    answer = ask(world(settings, away, clock).app, "GET", "/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
    assert answer.json()["components"]["database"]["error"] == "registry_unavailable"


def test_a_schema_that_is_not_ours_is_not_ready(
    settings: Settings, clock: FrozenClock, empty_postgres_url: str
) -> None:
    """After an upgrade of the program and before `plms db upgrade`, every start would fail half way."""
    settings.data_dir.mkdir(parents=True)
    found = world(settings, Registry.open(empty_postgres_url), clock)
    for path in ("/readyz", "/api/ops/healthz"):
        answer = ask(found.app, "GET", path, headers=found.headers("viewer"))
        assert answer.status_code == 503
        assert answer.json()["components"]["database"]["status"] == "missing"
    found.state.registry.close()


def test_a_data_directory_that_is_gone_is_not_ready(served: World) -> None:
    """Artifacts and passports could be written nowhere."""
    shutil.rmtree(served.state.settings.data_dir)
    answer = ask(served.app, "GET", "/readyz")
    assert answer.status_code == 503
    assert answer.json()["components"]["filesystem"]["status"] == "unhealthy"


def test_a_missing_executor_or_cache_is_degraded_and_not_dead(served: World) -> None:
    """Starts are kept and answered without them: taking the API away too would make it worse."""
    served.state.extras[EXECUTOR_SEEN] = {
        "is_up": False,
        "error": "pas_unavailable",
        "asked_at": "2026-03-01T12:00:00Z",
    }
    served.state.settings = served.state.settings.model_copy(update={"redis_url": f"redis://:{PASSWORD}@cache:6379/0"})
    served.state.cache = Cache(up=False)
    answer = ask(served.app, "GET", "/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    ops = ask(served.app, "GET", "/api/ops/healthz", headers=served.headers("viewer"))
    assert ops.status_code == 200
    assert ops.json()["degraded"] is True
    assert ops.json()["unhealthy_components"] == ["pas", "redis"]
    assert ops.json()["status"] == "healthy"


def test_no_answer_holds_credentials(served: World, settings: Settings) -> None:
    """The sources echoed REDIS_URL with its password to everybody."""
    served.state.settings = settings.model_copy(
        update={"redis_url": f"redis://:{PASSWORD}@cache:6379/0?password={PASSWORD}"}
    )
    served.state.registry = Registry.open(f"postgresql+psycopg://plms:{PASSWORD}@127.0.0.1:9/none?connect_timeout=1")
    served.state.cache = Cache(up=True)
    for path in ("/readyz", "/api/ops/healthz", "/metrics", "/openapi.json"):
        answer = ask(served.app, "GET", path, headers={**served.headers("viewer"), "Host": "localhost"})
        assert answer.status_code != 403
        assert PASSWORD not in answer.text
        assert PASSWORD not in str(answer.headers)


def test_metrics_are_told_to_allowed_names_only(served: World) -> None:
    """They need no token: a web page could have its own name resolve to us and read what everything cost."""
    for host, status in (("evil.example", 403), ("plms", 403), ("localhost:6100", 200), ("10.0.0.7:6100", 200)):
        assert ask(served.app, "GET", "/metrics", headers={"Host": host}).status_code == status


def test_names_of_prometheus_targets_can_be_allowed(
    settings: Settings, sqlite_registry: Registry, clock: FrozenClock
) -> None:
    """In containers it asks by the name of the service."""
    named = settings.model_copy(update={"metrics_hosts": "api:6100"})
    app = world(named, sqlite_registry, clock).app
    assert ask(app, "GET", "/metrics", headers={"Host": "api:6100"}).status_code == 200


def test_strangers_do_not_learn_where_things_lie(served: World) -> None:
    """`/readyz` is open to everybody; paths and sizes are for those who may see operations."""
    open_answer = ask(served.app, "GET", "/readyz").text
    assert str(served.state.settings.data_dir) not in open_answer
    ops = ask(served.app, "GET", "/api/ops/healthz", headers=served.headers("viewer"))
    assert ops.json()["components"]["filesystem"]["path"] == str(served.state.settings.data_dir)
    assert ops.json()["components"]["database"]["schema_valid"] is True


@pytest.mark.parametrize("path", ["/api/ops/healthz", "/api/ops/invariants/latest", "/api/ops/invariants/history"])
def test_operations_need_a_token(served: World, path: str) -> None:
    """The sources left these open."""
    assert ask(served.app, "GET", path).status_code == 401
    assert ask(served.app, "GET", path, headers=served.headers("pas")).json()["detail"] == "Missing scope: ops.view"
    assert ask(served.app, "GET", path, headers=served.headers("viewer")).status_code == 200


def write_night(reports: Path, night: str, status: str, violations: int) -> None:
    folder = reports / "nightly" / night
    folder.mkdir(parents=True)
    check = {"name": "every_run_has_a_passport", "passed": not violations, "checked": 10, "violations": violations,
             "errors": [f"run {i}" for i in range(violations)]}  # fmt: skip
    document = {
        "timestamp": f"{night}T07:00:00+00:00", "checks": {check["name"]: check},
        "summary": {"status": status, "total_violations": violations},
    }  # fmt: skip
    (folder / "invariants.json").write_text(json.dumps(document))


def test_the_last_night_is_told_with_its_offenders(served: World) -> None:
    """The sources counted headlines as violations and called a crashed check unknown."""
    reports = served.state.settings.reports_dir
    write_night(reports, "2026-02-27", "pass", 0)
    write_night(reports, "2026-02-28", "fail", 30)
    (reports / "nightly" / "not-a-date").mkdir()
    latest = ask(served.app, "GET", "/api/ops/invariants/latest", headers=served.headers("viewer")).json()
    assert latest["status"] == "fail"
    assert latest["violations"][:2] == ["every_run_has_a_passport: run 0", "every_run_has_a_passport: run 1"]
    assert len(latest["violations"]) == 20
    assert latest["tail"] == ["✗ every_run_has_a_passport: 0/10"]
    assert latest["log_path"] == "nightly/2026-02-28/invariants.json"
    history = ask(served.app, "GET", "/api/ops/invariants/history?limit=5", headers=served.headers("viewer")).json()
    assert [(night["status"], night["violations"]) for night in history["history"]] == [("fail", 30), ("ok", 0)]
    assert history["count"] == 2


def test_a_night_that_cannot_be_read_is_an_error_and_not_unknown(served: World) -> None:
    """Half a disk's failure must not look like a quiet night."""
    write_night(served.state.settings.reports_dir, "2026-02-28", "pass", 0)
    (served.state.settings.reports_dir / "nightly" / "2026-02-28" / "invariants.json").write_text("{")
    latest = ask(served.app, "GET", "/api/ops/invariants/latest", headers=served.headers("viewer")).json()
    assert latest["status"] == "error"
    assert "plms nightly --date 2026-02-28" in latest["error"]
    history = ask(served.app, "GET", "/api/ops/invariants/history", headers=served.headers("viewer")).json()
    assert history["history"][0]["violations"] == -1


def test_before_the_first_night_nothing_is_known(served: World) -> None:
    """Not an error, and not ok either."""
    latest = ask(served.app, "GET", "/api/ops/invariants/latest", headers=served.headers("viewer")).json()
    assert latest["status"] == "unknown"
    assert "plms nightly" in latest["error"]
    for limit in ("0", "366", "x"):
        path = f"/api/ops/invariants/history?limit={limit}"
        assert ask(served.app, "GET", path, headers=served.headers("viewer")).status_code == 422


@pytest.fixture
def client(settings: Settings, sqlite_registry: Registry, clock: FrozenClock) -> Iterator[httpx.Client]:
    with live(world(settings, sqlite_registry, clock).app) as found:
        yield found


def series(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def count(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], endpoint: str, method: str) -> float:
    return found["plms_api_latency_seconds_count", (("endpoint", endpoint), ("method", method))]


def test_every_route_has_its_series_from_the_start(client: httpx.Client) -> None:
    """An alert on a series that appears with the first failure misses the first failure."""
    found = series(client)
    assert count(found, "/api/ops/healthz", "GET") == 0
    edges = {dict(labels)["le"] for name, labels in found if name == "plms_api_latency_seconds_bucket"}
    # The guide's targets: start 50/150/300, simulate 200/500/1000, metrics 20/50/100, status 10/30/50 ms.
    assert {str(ms / 1000) for ms in (10, 20, 30, 50, 100, 150, 200, 300, 500, 1000)} <= edges


def test_strangers_make_no_series(client: httpx.Client) -> None:
    """Each made-up path or method as a label would be a series for ever."""
    client.get("/healthz")
    before = series(client)
    for path in ("/a", "/b", "/api/projects/1/none", "/echo/../x"):
        client.get(path)
        client.request("PROPFIND", path)
    client.put("/healthz")
    client.get("/api/ops/invariants/history?limit=7")
    after = series(client)
    assert set(after) == set(before)
    assert count(after, "other", "GET") == 4
    assert count(after, "other", "other") == 4
    assert count(after, "/api/ops/invariants/history", "GET") == 1


def test_access_to_a_folder_is_asked_and_not_tried(tmp_path: Path) -> None:
    """Root may write everywhere: what is asked is the mode and the mount, not a file of ours in the folder."""
    from plms_pipeline.web.api.files import folder_problem, free_mb

    assert folder_problem(tmp_path) is None
    assert folder_problem(tmp_path / "none") == "it does not exist"
    assert list(tmp_path.iterdir()) == []
    assert free_mb(tmp_path) > 0
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        assert folder_problem(tmp_path) == "it may not be written"
        tmp_path.chmod(0o700)
