"""Does the process that settles and dispatches live and die with `plms serve`, and is nothing lost with it?"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import insert

from plms_pipeline.access.files import make_keys
from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProviderSnapshot
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.settings import Settings
from plms_pipeline.web.process import descendants
from plms_pipeline_tests.runs.worlds import AT, OWNER, PROVIDERS, WORLD, planned_project
from plms_pipeline_tests.web.api.test_serve import plms, serving
from plms_pipeline_tests.web.conftest import wait_until

pytestmark = pytest.mark.live


@pytest.fixture
def planned(settings: Settings, sqlite_registry: Registry) -> Settings:
    """A project that may start, and an executor that is away but has stated its providers."""
    make_keys(settings.data_dir, alg="HS256", now=SystemClock().now(), rotate=False)
    planned_project(sqlite_registry)
    first = start_run(
        sqlite_registry, clock=SystemClock(), ids=lambda: str(uuid4()), actor=OWNER, world=WORLD, stopped=None,
        request=StartRequest(42, str(uuid4())),
    )  # fmt: skip
    state = json.dumps({"providers": PROVIDERS, "capabilities": ["cancel_card"], "taken_at": AT.isoformat()})
    with sqlite_registry.writing() as session:
        session.execute(
            insert(ProviderSnapshot).values(
                run_id=first.run_id, moment="submission", state_json=state, sha256="0" * 64, matches=True, taken_at=AT
            )
        )
    return settings


def running(pid: int, module: str) -> list[int]:
    """The processes below `pid` that run a module."""

    def runs_it(each: int) -> bool:
        try:
            words = Path(f"/proc/{each}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return words[1:3] == [b"-m", module.encode()]

    return [each for each in descendants(pid) if runs_it(each)]


def worker(pid: int) -> int:
    found = wait_until(lambda: running(pid, "plms_pipeline.web.api.service.worker"))
    return int(found[0])


def background(url: str) -> str:
    return str(httpx.get(f"{url}/readyz").json()["components"]["background"]["status"])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_worker_comes_back_and_nothing_is_lost(planned: Settings, workers: str) -> None:
    """Without it starts are answered and never handed over; whoever looks at /readyz must see that."""
    token = plms(planned, "token", "issue", "--role", "operator", "--subject", "me").stdout.strip()
    with serving(planned, "--workers", workers, PLMS_GIT_COMMIT="0" * 40) as (process, url):
        first = worker(process.pid)
        wait_until(lambda: background(url) == "healthy")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: background(url) == "degraded")
        head = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())}
        answer = httpx.post(f"{url}/api/projects/42/start", json={}, headers=head, timeout=20)
        assert answer.status_code == 200, answer.text
        copy = planned.data_dir / answer.json()["replay_passport_path"]
        wait_until(copy.exists)
        assert worker(process.pid) != first
        # It writes the copy before it has said that it is there.
        wait_until(lambda: background(url) == "healthy")


def test_a_killed_keeper_takes_its_worker_along_and_both_come_back(planned: Settings) -> None:
    """Two workers of which nobody ends one would go on writing after the server was stopped."""
    with serving(planned) as (process, url):
        first = worker(process.pid)
        keeper = running(process.pid, "plms_pipeline.web.process")[0]
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: running(process.pid, "plms_pipeline.web.process") not in ([], [keeper]))
        wait_until(lambda: worker(process.pid) != first and background(url) == "healthy")
        # The old one sees its keeper gone and ends; on a busy machine the new one may be healthy before that.
        wait_until(lambda: not Path(f"/proc/{first}").exists())
        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_worker_ends_with_the_server_however_that_ends(planned: Settings, number: int) -> None:
    """A worker without a server goes on handing out cards that somebody believed stopped."""
    with serving(planned) as (process, _):
        family = [worker(process.pid), *running(process.pid, "plms_pipeline.web.process")]
        process.send_signal(number)
        process.wait(20)
    assert len(family) > 1
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))
