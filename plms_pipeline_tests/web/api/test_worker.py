"""Does the process that settles and dispatches live and die with `plms serve`, and is nothing lost with it?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
from sqlalchemy import insert

from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProviderSnapshot
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.settings import Settings
from plms_pipeline.web.process import descendants
from plms_pipeline_tests.runs.worlds import AT, OWNER, PROVIDERS, WORLD, planned_project
from plms_pipeline_tests.web.api.test_serve import gone, plms, ready_to_serve, serving
from plms_pipeline_tests.web.conftest import wait_until

pytestmark = pytest.mark.live


def planned(folder: Path, migrated: Path) -> Settings:
    """A project that may start, and an executor that is away but has stated its providers."""
    settings = ready_to_serve(folder, migrated)
    registry = Registry.open(settings.database_url)
    planned_project(registry)
    first = start_run(
        registry, clock=SystemClock(), ids=lambda: str(uuid4()), actor=OWNER, world=WORLD, stopped=None,
        request=StartRequest(42, str(uuid4())),
    )  # fmt: skip
    state = json.dumps({"providers": PROVIDERS, "capabilities": ["cancel_card"], "taken_at": AT.isoformat()})
    with registry.writing() as session:
        session.execute(
            insert(ProviderSnapshot).values(
                run_id=first.run_id, moment="submission", state_json=state, sha256="0" * 64, matches=True, taken_at=AT
            )
        )
    registry.close()
    return settings


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path
) -> Iterator[tuple[Settings, subprocess.Popen[str], str]]:
    """One server for several tests, of which the last ends it."""
    settings = planned(tmp_path_factory.mktemp("served"), migrated_sqlite)
    with serving(settings, PLMS_GIT_COMMIT="0" * 40) as (process, url):
        yield settings, process, url


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


def comes_back(settings: Settings, process: subprocess.Popen[str], url: str) -> bool:
    """Kill the worker and start a run meanwhile; whether another worker then did what was left of it."""
    token = plms(settings, "token", "issue", "--role", "operator", "--subject", "me").stdout.strip()
    first = worker(process.pid)
    wait_until(lambda: background(url) == "healthy")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: background(url) == "degraded")
    head = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())}
    answer = httpx.post(f"{url}/api/projects/42/start", json={}, headers=head, timeout=20)
    assert answer.status_code == 200, answer.text
    copy = settings.data_dir / answer.json()["replay_passport_path"]
    wait_until(copy.exists)
    # It writes the copy before it has said that it is there.
    wait_until(lambda: background(url) == "healthy")
    return worker(process.pid) != first


def test_who_works_beside_it_knows_where_it_listens(served: tuple[Settings, subprocess.Popen[str], str]) -> None:
    """Else the answers of a server on another port are never slow: the alert about latency asks a port where nobody is."""
    _, process, url = served
    beside = psutil.Process(worker(process.pid)).environ()
    assert f"http://{beside['PLMS_API_HOST']}:{beside['PLMS_API_PORT']}" == url


def test_a_killed_worker_comes_back_and_nothing_is_lost(served: tuple[Settings, subprocess.Popen[str], str]) -> None:
    """Without it starts are answered and never handed over; whoever looks at /readyz must see that."""
    assert comes_back(*served)


def test_a_killed_keeper_takes_its_worker_along_and_both_come_back(
    served: tuple[Settings, subprocess.Popen[str], str],
) -> None:
    """Two workers of which nobody ends one would go on writing after the server was stopped."""
    _, process, url = served
    first = worker(process.pid)
    keeper = running(process.pid, "plms_pipeline.web.process")[0]
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: running(process.pid, "plms_pipeline.web.process") not in ([], [keeper]))
    wait_until(lambda: worker(process.pid) != first and background(url) == "healthy")
    # The old one sees its keeper gone and ends; on a busy machine the new one may be healthy before that.
    wait_until(lambda: gone([first]))
    assert process.poll() is None


def test_the_worker_ends_with_a_server_that_is_killed(served: tuple[Settings, subprocess.Popen[str], str]) -> None:
    """Must stand last: it ends the server. A worker without one goes on handing out cards that somebody believed stopped."""
    _, process, _ = served
    family = [worker(process.pid), *running(process.pid, "plms_pipeline.web.process")]
    process.kill()
    process.wait(20)
    assert len(family) > 1
    wait_until(lambda: gone(family))


def test_several_processes_share_one_worker_and_end_together(tmp_path: Path, migrated_sqlite: Path) -> None:
    """Each of them hears it and rings for it; asked to end, none is left."""
    settings = planned(tmp_path, migrated_sqlite)
    with serving(settings, "--workers", "2", PLMS_GIT_COMMIT="0" * 40) as (process, url):
        assert comes_back(settings, process, url)
        family = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert len(family) > 3
    wait_until(lambda: gone(family))
