"""Real Dagster servers for the tests of the front door."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

from plms_pipeline.dagster_internals import Webserver, code_server_arguments, open_webserver, workspace_text
from plms_pipeline.instance.files.home import prepare_instance
from plms_pipeline.settings import load_settings, project_root
from plms_pipeline.web.process import ChildSpec, Keeper

TINY = "plms_pipeline_tests.web.tiny_definitions"


def clean_environ(data_dir: Path) -> dict[str, str]:
    """The environment of a child that works on `data_dir` and can import the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PLMS_", "DAGSTER_"))}
    paths = {"PLMS_DATA_DIR": str(data_dir), "PLMS_REPORTS_DIR": str(data_dir / "reports"), "PLMS_AUTH": "disabled"}
    # Dagster removes the first entry of sys.path when it loads a module, taking it for the script's directory.
    return {**kept, **paths, "PYTHONPATH": f":{project_root()}"}


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    return pytest.fail(f"still not so after {seconds} s: {condition}")


@dataclass(frozen=True)
class Bare:
    """Dagster's own webserver as it comes, and ours over the same instance and code: both without the front door."""

    app: Any
    ours: Webserver


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """Over the tiny code location, in this process; no daemon."""
    from dagster_webserver.app import create_app_from_workspace_process_context

    folder = tmp_path_factory.mktemp("bare")
    environ = clean_environ(folder / "data")
    prepare_instance(load_settings({k: v for k, v in environ.items() if k.startswith("PLMS_")}), environ)
    socket, workspace = folder / "code.sock", folder / "workspace.yaml"
    workspace.write_text(workspace_text(str(socket), TINY), encoding="utf-8")
    child = ChildSpec("code", [sys.executable, *code_server_arguments(TINY, str(socket), TINY)], str(folder / "log"))
    keeper = Keeper([child], environ, str(folder))
    with pytest.MonkeyPatch.context() as patch, ExitStack() as at_the_end:
        at_the_end.callback(keeper.stop)
        for key in ("DAGSTER_HOME", "PLMS_DATA_DIR", "PLMS_REPORTS_DIR"):
            patch.setenv(key, environ[key])
        wait_until(socket.exists, 60.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = at_the_end.enter_context(open_webserver(str(workspace)))
            instance = at_the_end.enter_context(DagsterInstance.get())
            target = WorkspaceFileTarget(paths=[str(workspace)])
            context = at_the_end.enter_context(WorkspaceProcessContext(instance, workspace_load_target=target))
            app = create_app_from_workspace_process_context(context)
        yield Bare(app, ours)


@dataclass
class Ui:
    """A running `plms ui`, as a process of its own."""

    process: subprocess.Popen[str]
    url: str = ""
    load_errors: list[str] = field(default_factory=list)

    def graphql(self, query: str, **headers: str) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/graphql", json={"query": query}, headers=headers, timeout=20)
        result: dict[str, Any] = answer.json()
        return result

    def runs(self) -> list[dict[str, Any]]:
        query = "{ runsOrError { ... on Runs { results { runId status tags { key value } } } } }"
        found: list[dict[str, Any]] = self.graphql(query)["data"]["runsOrError"]["results"]
        return found

    def kill(self) -> None:
        """`kill -9`, once or twice."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15.0) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=seconds)
        return self.process.returncode


def start_ui(data_dir: Path, *arguments: str, log: Path, shell_background: bool = False) -> Ui:
    """Start the tiny UI on a free port and wait until it says that it is ready."""
    command = [sys.executable, "-m", "plms_pipeline_tests.web.serve_tiny", "0", *arguments]

    before = signal.getsignal(signal.SIGINT)
    if shell_background:
        # What a script's `… &` does to its children: an ignored signal is inherited.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            env=clean_environ(data_dir),
            cwd=log.parent,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(timeout=10)
        pytest.fail(f"the UI did not start: {log.read_text()}")
    return Ui(process, **json.loads(line))
