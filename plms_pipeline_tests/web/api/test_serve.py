"""Does `plms serve` start, refuse to start, and end as it should? Real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from plms_pipeline.access.files import make_keys
from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline.web.api.service.server import refuse_open_door
from plms_pipeline.web.process import descendants
from plms_pipeline_tests.redis_servers import redis_server
from plms_pipeline_tests.web.conftest import wait_until

pytestmark = pytest.mark.live

PLMS = Path(sys.executable).with_name("plms")


def environ(settings: Settings, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PLMS_", "DAGSTER_", "REDIS_", "IDEMPOTENCY_"))}
    # Nothing listens there: these tests are about our own process.
    ours = {"PLMS_DATA_DIR": str(settings.data_dir), "PLMS_REPORTS_DIR": str(settings.reports_dir),
            "PLMS_PAS_URL": "http://127.0.0.1:9"}  # fmt: skip
    return {**kept, **ours, **more}


def plms(settings: Settings, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PLMS, *arguments], env=environ(settings, **more), capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def serving(settings: Settings, *arguments: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [PLMS, "serve", "--port", "0", "--json", *arguments],
        env=environ(settings, **more), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"it ended with {process.wait(10)}"
        yield process, json.loads(line)["url"]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def keyed(settings: Settings, sqlite_registry: Registry) -> Settings:
    make_keys(settings.data_dir, alg="HS256", now=SystemClock().now(), rotate=False)
    return settings


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path
) -> Iterator[tuple[Settings, subprocess.Popen[str], str]]:
    """One server with tokens for several tests, of which the last ends it."""
    settings = ready_to_serve(tmp_path_factory.mktemp("served"), migrated_sqlite)
    with serving(settings) as (process, url):
        yield settings, process, url


def ready_to_serve(folder: Path, migrated: Path) -> Settings:
    """A registry at head and keys, in a folder."""
    settings = load_settings({"PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports")})
    settings.data_dir.mkdir()
    shutil.copyfile(migrated, settings.data_dir / "registry.db")
    make_keys(settings.data_dir, alg="HS256", now=SystemClock().now(), rotate=False)
    return settings


def test_it_serves_and_issues_tokens(served: tuple[Settings, subprocess.Popen[str], str]) -> None:
    """The whole of a first day: keys, a token, a request."""
    settings, _, url = served
    token = plms(settings, "token", "issue", "--role", "viewer", "--subject", "me").stdout.strip()
    assert httpx.get(f"{url}/api/ops/healthz").status_code == 401
    answer = httpx.get(f"{url}/api/ops/healthz", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def test_a_port_in_use_is_one_line_that_names_the_setting(served: tuple[Settings, subprocess.Popen[str], str]) -> None:
    """Two of them on one machine: the second must say so."""
    settings, _, url = served
    done = plms(settings, "serve", "--port", url.rpartition(":")[2])
    assert done.returncode == 2
    assert "PLMS_API_PORT" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_request_that_has_begun_is_answered_before_it_ends(
    served: tuple[Settings, subprocess.Popen[str], str],
) -> None:
    """Must stand last of those that share a server: it ends it. A deployment must not cut answers: the client would start
    again, or think that it had not. Then the port is free, and nobody goes on working beside a server that is gone."""
    _, process, url = served
    family = descendants(process.pid)
    host, port = url.removeprefix("http://").split(":")
    body = b'{"run_kind": "baseline"}'
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(b"POST /api/projects/1/start HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        raw.sendall(body[:5])
        wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
        process.send_signal(signal.SIGTERM)
        raw.sendall(body[5:])
        assert raw.recv(4096).startswith(b"HTTP/1.1 401")
    assert process.wait(20) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
    # The worker and who keeps it.
    assert len(family) > 1
    wait_until(lambda: gone(family))


def gone(family: list[int]) -> bool:
    """Whether none of these processes is left."""
    return not any(Path(f"/proc/{pid}").exists() for pid in family)


def test_without_keys_or_schema_it_says_what_to_do(settings: Settings, sqlite_registry: Registry) -> None:
    """A server that starts and then answers 500 to everything is found by the first user."""
    done = plms(settings, "serve", "--port", "0")
    assert (done.returncode, "plms token keys" in done.stderr) == (3, True)
    (settings.data_dir / "registry.db").unlink()
    done = plms(settings, "serve", "--port", "0", PLMS_AUTH="disabled")
    assert (done.returncode, "plms db upgrade" in done.stderr) == (4, True)
    assert done.stderr.count("\n") == 1


def test_others_are_not_served_without_tokens(keyed: Settings) -> None:
    """PLMS_AUTH=disabled on an address that others reach lets the whole network spend money."""
    done = plms(keyed, "serve", "--host", "0.0.0.0", "--port", "0", PLMS_AUTH="disabled")
    assert (done.returncode, "reachable from other machines" in done.stderr) == (2, True)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1"])
def test_no_address_of_others_is_served_without_tokens(settings: Settings, address: str) -> None:
    """`::` and a host name that means more than this machine, too."""
    disabled = settings.model_copy(update={"auth": "disabled"})
    with pytest.raises(BadInput) as raised:
        refuse_open_door(disabled, address)
    assert raised.value.code == "not_loopback"
    refuse_open_door(settings, address)
    refuse_open_door(disabled, "127.0.0.1")
    refuse_open_door(disabled, "::1")


def test_an_outage_of_the_cache_is_one_fact(settings: Settings, sqlite_registry: Registry) -> None:
    """The alert engine reads facts: one when Redis goes, one when it is back, whatever the number of requests. The server is
    one without tokens, and ends by Ctrl-C."""

    def facts() -> list[str]:
        with sqlite_registry.reading() as session:
            found = session.scalars(
                select(AuditEntry).where(AuditEntry.action == "cache.redis").order_by(AuditEntry.id)
            )
            return [row.outcome for row in found]

    with redis_server() as redis, serving(settings, REDIS_URL=redis.url, PLMS_AUTH="disabled") as (process, url):
        assert httpx.get(f"{url}/api/ops/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz").json()["components"]["redis"]["status"] == "healthy"
        redis.kill()
        for _ in range(20):
            answer = httpx.get(f"{url}/readyz")
            assert answer.status_code == 200
        assert answer.json()["components"]["redis"]["status"] == "unavailable"
        wait_until(lambda: facts() == ["lost"])
        redis.start()
        wait_until(lambda: httpx.get(f"{url}/readyz").json()["components"]["redis"]["status"] == "healthy")
        wait_until(lambda: facts() == ["lost", "recovered"])
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_every_process_tells_the_figures_of_all_and_none_outlives_the_parent(keyed: Settings) -> None:
    """A scrape reaches one process by chance: figures of one would jump back and forth, and every rate of them be wrong. And
    when the parent is killed, a web process that lives on would hold the port against the next start."""
    with serving(keyed, "--workers", "2") as (process, url):
        before = counted(url)
        for _ in range(40):
            # A connection each, so that both processes get some.
            httpx.get(f"{url}/api/none")
        assert {counted(url) - before for _ in range(10)} == {40}
        family = descendants(process.pid)
        process.kill()
        process.wait()
    assert len(family) > 3
    wait_until(lambda: gone(family), 60)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", timeout=2)


def counted(url: str) -> float:
    """Answers to paths that do not exist."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    name = 'plms_api_answers_total{endpoint="other",method="GET",status="4xx"} '
    return float(next(line for line in lines if line.startswith(name)).removeprefix(name))


def test_it_says_how_it_is_used(settings: Settings) -> None:
    """`--help` with an example, like every command."""
    for command in (("serve",), ("token", "issue"), ("token", "keys")):
        done = plms(settings, *command, "--help")
        assert done.returncode == 0
        assert "Example: plms" in done.stdout
        assert "--json" in done.stdout
