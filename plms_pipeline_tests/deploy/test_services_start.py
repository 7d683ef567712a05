"""Each service is started once with its own command, as far as this can be done without containers.

The commands are those of compose.yaml and of the units, on the loopback and on free ports; the environment is that of the
compose file with a PostgreSQL and a Redis of the test behind its secrets; healthy is what the healthcheck says.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline_tests.deploy.programs import free_port, said
from plms_pipeline_tests.deploy.services import INSTALLED, UNITS, commands, ours, settings_of, written
from plms_pipeline_tests.redis_servers import redis_server

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]
BIN = Path(sys.executable).parent
WAIT_S = 150.0
# Exposure by `systemd-analyze security`: 0 boxed in, 10 wide open; a unit without any of it has 9.6.
MAX_EXPOSURE = 2.5


def environment(service: dict[str, Any], folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    """The service's own, with what its secrets would hold."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PLMS_", "REDIS_", "DAGSTER_"))}
    found = {**kept, "PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports")}
    found |= written(service["environment"], folder, PLMS_DATABASE_URL_FILE=database_url)
    for name, value in service["environment"].items():
        if name == "REDIS_URL":
            found[name] = redis_url
        elif "${" not in value and name not in found:
            found[name] = value
    return found


def on_loopback(words: list[str], port: int) -> list[str]:
    """The same command where nothing else listens."""
    told = list(words)
    for option, value in (("--host", "127.0.0.1"), ("--port", str(port))):
        if option in told:
            told[told.index(option) + 1] = value
        else:
            told += [option, value]
    return told


def healthy(check: list[str], port: int, served: int) -> bool:
    """Whether the service's own healthcheck says so, at the port where it listens here."""
    code = check[-1].replace(f":{served}/", f":{port}/")
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=30).returncode == 0


def listens(port: int) -> bool:
    """Whether anybody does: to start a healthcheck takes from the service's own start."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_services_of_compose_start_and_are_healthy(
    postgres_server: Any, empty_postgres_url: str, tmp_path: Path
) -> None:
    """prepare ends well; api, ui and exporter become healthy over the database that it made."""
    with redis_server() as redis:
        services = ours()
        given = environment(services["prepare"], tmp_path, empty_postgres_url, redis.url)
        for where, words in commands():
            if where == "compose prepare":
                done = subprocess.run([BIN / "plms", *words], env=given, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr
        for name, service in services.items():
            if name != "prepare":
                started(name, service, environment(service, tmp_path, empty_postgres_url, redis.url), tmp_path)


def started(name: str, service: dict[str, Any], given: dict[str, str], folder: Path) -> None:
    """Start one, wait until it is healthy, end it as an orchestrator would."""
    words, port = service["command"][1:], free_port()
    served = int(words[words.index("--port") + 1])
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([BIN / "plms", *on_loopback(words, port)], env=given, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + WAIT_S
            while not (listens(port) and healthy(service["healthcheck"]["test"], port, served)):
                told = (folder / f"{name}.log").read_text(encoding="utf-8")[-2000:]
                assert process.poll() is None, f"{name} ended with {process.returncode}: {told}"
                assert time.monotonic() < deadline, f"{name} is not healthy: {told}"
                time.sleep(0.5)
            process.terminate()
            assert process.wait(60) in (0, -15, 130, 143), name
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The units, as if PLMS were installed where this checkout's program is."""
    copies = []
    for unit in [*UNITS, UNITS[0].parent / "plms.target"]:
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text(encoding="utf-8").replace(INSTALLED, str(BIN / "plms")), encoding="utf-8")
        copies.append(copy)
    return copies


def analyze() -> str:
    """The path of systemd-analyze; where CI runs, its absence is a failure."""
    found = shutil.which("systemd-analyze")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is not on PATH; `apt-get install systemd` brings it")
        pytest.skip("systemd-analyze is not on PATH")
    return found


def test_systemd_accepts_the_units(installed: list[Path]) -> None:
    """`systemd-analyze verify` knows every key and value; only what it says of our files counts."""
    done = subprocess.run(
        [analyze(), "verify", "--man=no", "--recursive-errors=no", *installed],
        capture_output=True,
        text=True,
        check=False,
    )
    ours_only = [line for line in done.stderr.splitlines() if "plms" in line and "is not executable" not in line]
    assert ours_only == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_exposed_as_little_as_can_be(unit: Path) -> None:
    """`systemd-analyze security` counts what a unit could still do to its machine."""
    told = said(analyze(), "security", "--offline=true", "--no-pager", unit)
    exposure = float(told.rstrip().splitlines()[-1].split("exposure level for")[1].split(":")[1].split()[0])
    assert exposure <= MAX_EXPOSURE, told
    assert settings_of(unit)["SystemCallFilter"][0].startswith("@system-service")
