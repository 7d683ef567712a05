"""Processes that end with us, whatever happens to us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plms_pipeline.web.process import ChildSpec, Keeper, descendants
from plms_pipeline_tests.web.conftest import wait_until

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"])
time.sleep(600)
"""


def _gone(pids: list[int]) -> bool:
    def state(pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return "X"

    return all(state(pid) in "XZ" for pid in pids)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """Keeps one child that dies by itself and one that will not die when asked, with a grandchild in another session."""
    children = [
        ChildSpec("stubborn", [sys.executable, "-c", STUBBORN], str(tmp_path / "stubborn.log")),
        ChildSpec("short", [sys.executable, "-c", "print('here')"], str(tmp_path / "short.log")),
    ]
    started = Keeper(children, os.environ, str(tmp_path), grace_s=0.5)
    yield started
    started.stop()


def test_stopping_leaves_nothing_behind(keeper: Keeper) -> None:
    """A run's worker in a session of its own is the one that a killed process group misses."""
    family = wait_until(lambda: len(found := descendants(keeper.pid)) >= 2 and found)
    began = time.monotonic()
    keeper.stop()
    assert time.monotonic() - began < 4
    assert _gone([keeper.pid, *family])


@pytest.mark.live
def test_what_dies_is_started_again_with_a_pause(keeper: Keeper, tmp_path: Path) -> None:
    """A daemon that crashed at night must not stay away, and must not fill the disk with its restarts."""
    log = tmp_path / "short.log"
    wait_until(lambda: log.exists() and log.read_text().count("here") >= 2)
    time.sleep(0.5)
    assert log.read_text().count("here") < 4
    assert "event=kept_process short ended with status 0" in log.read_text()
    assert keeper.is_alive()


def test_a_child_waits_for_what_it_needs(tmp_path: Path) -> None:
    """A daemon without a code server logs a traceback per tick."""
    needed, log = tmp_path / "socket", tmp_path / "log"
    child = ChildSpec("late", [sys.executable, "-c", "print('up')"], str(log), wait_for=str(needed))
    keeper = Keeper([child], os.environ, str(tmp_path), grace_s=0.5)
    try:
        time.sleep(1.0)
        assert not log.exists()
        needed.touch()
        wait_until(lambda: log.exists() and "up" in log.read_text())
    finally:
        keeper.stop()


def test_kill_9_of_the_parent_ends_the_children(tmp_path: Path) -> None:
    """No `finally` runs then; the closed pipe tells."""
    code = f"""
import os, sys, time
from plms_pipeline.web.process import ChildSpec, Keeper
child = ChildSpec("c", [sys.executable, "-c", {STUBBORN!r}], {str(tmp_path / "log")!r})
keeper = Keeper([child], os.environ, "/tmp", grace_s=0.5)
print(keeper.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    family = wait_until(lambda: len(found := descendants(pid)) >= 2 and found)
    parent.kill()
    parent.communicate()
    wait_until(lambda: _gone([pid, *family]), 10)


def test_kill_9_of_the_keeper_ends_its_children(keeper: Keeper) -> None:
    """They hear of it from the kernel (PR_SET_PDEATHSIG)."""
    family = wait_until(lambda: len(found := descendants(keeper.pid)) >= 2 and found)
    children = [pid for pid in family if Path(f"/proc/{pid}/stat").read_text().split()[3] == str(keeper.pid)]
    os.kill(keeper.pid, signal.SIGKILL)
    wait_until(lambda: _gone(children), 5)
    assert not keeper.is_alive()
    for pid in family:  # the grandchild in a session of its own: nobody is left who knows it
        if not _gone([pid]):
            os.kill(pid, signal.SIGKILL)


PATIENT = """
import signal, subprocess, sys, time
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def end(*_):
    time.sleep(0.3)
    print("below is", below.poll(), flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.live
def test_what_a_child_measures_is_not_ended_before_the_child_has_finished(tmp_path: Path) -> None:
    """A measurement that is asked to end is one that failed, and a good artifact would be refused for it."""
    log = tmp_path / "log"
    child = ChildSpec("patient", [sys.executable, "-c", PATIENT], str(log), may_ask_below=False)
    keeper = Keeper([child], os.environ, str(tmp_path), grace_s=5)
    family = wait_until(lambda: log.exists() and "ready" in log.read_text() and descendants(keeper.pid))
    keeper.stop()
    assert "below is None" in log.read_text()
    assert _gone([keeper.pid, *family])


def test_without_a_log_file_a_child_speaks_where_we_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The log of a service is what its terminal or its supervisor sees."""
    script = "import sys; print('a word', file=sys.stderr)"
    keeper = Keeper([ChildSpec("short", [sys.executable, "-c", script], None)], os.environ, str(tmp_path), grace_s=0.5)
    told = ""

    def heard() -> str:
        nonlocal told
        told += capfd.readouterr().err
        return told

    try:
        wait_until(lambda: "short ended with status 0" in heard())
    finally:
        keeper.stop()
    assert "a word" in told
    assert "started as process" not in told
