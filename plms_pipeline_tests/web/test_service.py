"""`plms ui` as people run it: a process with a port, a daemon and an end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline.web.process import descendants
from plms_pipeline.web.service import MAX_LOG_BYTES, _log, allowed_hosts
from plms_pipeline_tests.web.conftest import TINY, Ui, clean_environ, start_ui, wait_until
from plms_pipeline_tests.web.test_process import _gone

# One server for all of them, and the last but one ends it: they run in one worker, in this order.
pytestmark = pytest.mark.live


def _launch(ui: Ui, seconds: float) -> str:
    config = f'{{ops: {{tiny_receipts: {{config: {{seconds: {seconds}, actor: \\"user:boss\\"}}}}}}}}'
    result = ui.graphql(
        f'mutation {{ launchRun(executionParams: {{selector: {{repositoryLocationName: "{TINY}", repositoryName: '
        f'"__repository__", jobName: "tiny_job"}}, runConfigData: "{config}"}}) '
        "{ __typename ... on RunConfigValidationInvalid { errors { message } } } }",
        **{"x-plms-actor": "user:boss"},
    )
    return str(result["data"]["launchRun"]["__typename"])


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("ui")
    started = start_ui(folder / "data", log=folder / "ui.log")
    yield started
    started.kill()


def test_it_is_ready_when_it_says_so(ui: Ui) -> None:
    """A script opens the page at once."""
    assert ui.load_errors == []
    assert httpx.get(f"{ui.url}/server_info").json()["dagster_version"] == "1.13.27"
    locations = ui.graphql("{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }")
    assert locations["data"]["workspaceOrError"]["locationEntries"] == [{"name": TINY, "loadStatus": "LOADED"}]


def test_a_launched_run_is_executed_and_names_who_launched_it(ui: Ui) -> None:
    """The queue, the daemon and the shared code server, all at once; the config and the header claim another actor."""
    assert _launch(ui, 0.0) == "LaunchRunSuccess"
    (run,) = wait_until(lambda: [run for run in ui.runs() if run["status"] == "SUCCESS"])
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["plms/launched_from"] == "ui"
    assert tags["plms/actor"].startswith("local:")
    shown = ui.graphql(
        '{ assetOrError(assetKey: {path: ["tiny_receipts"]}) { ... on Asset { assetMaterializations(limit: 1) '
        "{ metadataEntries { label ... on TextMetadataEntry { text } } } } } }"
    )["data"]["assetOrError"]["assetMaterializations"][0]["metadataEntries"]
    assert {"label": "actor_seen", "text": tags["plms/actor"]} in shown


def test_a_second_one_on_the_same_data_says_where_the_first_is(ui: Ui, tmp_path: Path) -> None:
    """Two daemons on one instance start every scheduled run twice."""
    home = Path(ui.graphql("{ instance { info } }")["data"]["instance"]["info"].split("base_dir: ")[1].split("\n")[0])
    code = (
        "from plms_pipeline.errors import PlmsError\n"
        "from plms_pipeline.settings import load_settings\n"
        "from plms_pipeline.web.service import UiOptions, serve_ui\n"
        "try: serve_ui(load_settings(), UiOptions('127.0.0.1', 0), print)\n"
        "except PlmsError as error: print(error.exit_code, error.code, error)"
    )
    environ = clean_environ(home.parent.parent)
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30, check=True
    )
    assert shown.stdout.startswith("1 already_running")
    assert ui.url in shown.stdout


def test_a_dead_code_server_comes_back(ui: Ui) -> None:
    """Dagster's own proxy does not restart its child, and the location stays unreachable until a person reloads it."""
    (keeper,) = [pid for pid in descendants(ui.process.pid) if b"plms_pipeline.web.process" in _command(pid)]
    (server,) = [pid for pid in descendants(keeper) if b"grpc" in _command(pid).split(b"\0")]
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: _gone([server]))
    wait_until(lambda: any(b"grpc" in _command(pid).split(b"\0") for pid in descendants(keeper)))

    wait_until(lambda: _launch(ui, 0.0) == "LaunchRunSuccess", 30)
    assert keeper in descendants(ui.process.pid)
    assert server not in descendants(keeper)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_kill_9_leaves_no_process_not_even_a_run_s_worker(ui: Ui) -> None:
    """Must stand last: it ends the server. An orphaned daemon would go on launching runs that nobody sees."""
    assert _launch(ui, 120.0) == "LaunchRunSuccess"
    wait_until(lambda: [run for run in ui.runs() if run["status"] == "STARTED"], 30)
    family = descendants(ui.process.pid)
    assert len(family) >= 4
    ui.kill()
    wait_until(lambda: _gone(family), 12)


def test_sigterm_in_a_script_s_background_ends_it_in_seconds_and_the_run_knows(tmp_path: Path) -> None:
    """A script's `&` has its children ignore SIGINT, from which Dagster derives what it does on SIGTERM. And a run that
    was merely cut off would look as if it were still running, until its maximum runtime."""
    started = start_ui(tmp_path / "data", log=tmp_path / "log", shell_background=True)
    assert _launch(started, 120.0) == "LaunchRunSuccess"
    wait_until(lambda: [run for run in started.runs() if run["status"] == "STARTED"], 30)
    family = descendants(started.process.pid)
    began = time.monotonic()
    assert started.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    assert _gone(family)
    history = tmp_path / "data" / "dagster" / "storage" / "history" / "runs.db"
    with closing(sqlite3.connect(history)) as connection:
        assert connection.execute("SELECT status FROM runs").fetchall() == [("FAILURE",)]


def test_an_open_address_needs_names_to_answer_to(settings: Settings) -> None:
    """Without a login, everybody on the network could launch runs."""
    with pytest.raises(BadInput, match="loopback names only") as caught:
        allowed_hosts(settings, "0.0.0.0")
    assert caught.value.code == "not_loopback"
    named = load_settings(
        {"PLMS_DATA_DIR": str(settings.data_dir), "PLMS_UI_ALLOWED_HOSTS": "localhost, plms.example.org"}
    )
    assert {entry.host for entry in allowed_hosts(named, "0.0.0.0")} == {"localhost", "plms.example.org"}
    assert allowed_hosts(settings, "127.0.0.2")
    assert allowed_hosts(settings, "::1")


def test_a_wildcard_is_no_allowed_host(settings: Settings) -> None:
    """It would let every rebound name in."""
    wild = load_settings({"PLMS_DATA_DIR": str(settings.data_dir), "PLMS_UI_ALLOWED_HOSTS": "*"})
    with pytest.raises(BadInput, match=r"PLMS_UI_ALLOWED_HOSTS: '\*'"):
        allowed_hosts(wild, "127.0.0.1")


def test_a_large_log_steps_aside_at_the_next_start(tmp_path: Path) -> None:
    """A daemon writes for months."""
    log = tmp_path / "daemon.log"
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    assert _log(tmp_path, "daemon") == log
    assert not log.exists()
    assert (tmp_path / "daemon.log.1").stat().st_size == MAX_LOG_BYTES + 1
