"""Who keeps the Dagster daemon and the code server running, and who ends them, whatever happens to us?

`plms ui` is three processes and, while something runs, more: the webserver, the code server, the daemon, and each run's
worker. The obvious version starts them and kills them in a `finally`. After `kill -9` of the parent nothing executes
the `finally`: a daemon without a UI goes on launching runs, and the next `plms ui` starts a second one beside it.

So the children belong to a *keeper*: a small process that imports nothing but the standard library, in a session of
its own. Its stdin is a pipe whose other end only the parent holds; when the parent ends, however it ends, the pipe
closes, and the keeper stops everything below it. It restarts what dies on its own. On Linux it also adopts orphans
(PR_SET_CHILD_SUBREAPER), so that a worker which left its process group is found too, and its children die with it
(PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

STOP_GRACE_S = 4.0
POLL_S = 0.2
MAX_BACKOFF_S = 30.0
STEADY_S = 60.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One process to keep: started once `wait_for` exists, its output appended to `log_file`.

    Without a log file it goes to our own standard error. With `may_ask_below` False only the process itself is asked to end,
    and what it started is its own business until the grace is over: a measurement that is told to end is one that failed.
    """

    name: str
    argv: Sequence[str]
    log_file: str | None
    wait_for: str | None = None
    may_ask_below: bool = True


class Keeper:
    """The parent's handle on the keeper process."""

    def __init__(
        self, children: Sequence[ChildSpec], environ: Mapping[str, str], folder: str, grace_s: float = STOP_GRACE_S
    ) -> None:
        """Start the keeper, which starts the children.

        Args:
            children: what to keep.
            environ: their environment.
            folder: their current directory, which should be one of ours: `python -m` imports what lies there before
                any library, and Dagster loads a `.env` from there.
            grace_s: seconds between asking the children to stop and killing them.
        """
        spec = json.dumps({"children": [asdict(child) for child in children], "grace_s": grace_s})
        self._grace_s = grace_s
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=dict(environ),
            cwd=folder,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The keeper's process id, which is also the id of its process group."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the keeper still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the keeper and everything below it; returns when they are gone, after a few seconds at most."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=self._grace_s + 3.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


@dataclass(slots=True)
class _Child:
    """A kept process as the keeper sees it."""

    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    backoff_s: float = 1.0
    log: IO[bytes] | None = field(default=None, repr=False)

    def tend(self, now: float) -> None:
        """Start the process when it is due; when it has died, note when to start it again."""
        if self.process is not None:
            if self.process.poll() is None:
                return
            self._say(f"{self.spec.name} ended with status {self.process.returncode}")
            if now - self.started_at > STEADY_S:
                self.backoff_s = 1.0
            self.due_at, self.backoff_s = now + self.backoff_s, min(self.backoff_s * 2, MAX_BACKOFF_S)
            self.process = None
        if now >= self.due_at and (self.spec.wait_for is None or Path(self.spec.wait_for).exists()):
            self.started_at = now
            self._start()

    def _start(self) -> None:
        if self.log is None:
            if self.spec.log_file is None:
                self.log = open(2, "ab", buffering=0, closefd=False)  # noqa: SIM115 - kept for every restart
            else:
                self.log = Path(self.spec.log_file).open("ab", buffering=0)  # noqa: SIM115 - kept for every restart
        self.process = subprocess.Popen(
            list(self.spec.argv),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            preexec_fn=_prepare_child,  # noqa: PLW1509 - the keeper has one thread
        )
        if self.spec.log_file is not None:
            self._say(f"{self.spec.name} started as process {self.process.pid}")

    def _say(self, text: str) -> None:
        if self.log is not None:
            with contextlib.suppress(OSError):  # nobody may read it any more
                self.log.write(f"event=kept_process {text}\n".encode())


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the closed pipe alone must do."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _prepare_child() -> None:
    # A shell that starts us in the background has us ignore SIGINT, and Dagster derives its SIGTERM from that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """Process ids below `root`, from /proc; empty where there is none."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            after_name = entry.read_text(errors="replace").rpartition(")")[2].split()
            parents[int(entry.parent.name)] = int(after_name[1])
    found: list[int] = []
    frontier = {root}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found.extend(frontier)
    return found


def _end_all(children: Sequence[_Child], grace_s: float) -> None:
    """Ask everything below us to stop, wait a little, then kill what is left."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for child in children:
        if child.process is not None and child.process.poll() is None:
            child.process.terminate()
    spared = {
        pid
        for child in children
        if child.process is not None and not child.spec.may_ask_below
        for pid in (child.process.pid, *descendants(child.process.pid))
    }
    for pid in descendants(os.getpid()):
        if pid not in spared:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while _reap() and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(50):
        left = descendants(os.getpid())
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not _reap():
            return
        time.sleep(0.02)


def _reap() -> bool:
    """Collect whatever below us has ended; True while there is something left."""
    try:
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
    except ChildProcessError:
        return False


def keep(specs: Sequence[ChildSpec], grace_s: float, tether: int) -> None:
    """Keep the children running until the other end of `tether` closes or a signal asks us to stop.

    Args:
        specs: what to run.
        grace_s: seconds between asking the children to stop and killing them.
        tether: file descriptor of a pipe that the parent never writes to.
    """
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopping.append(received))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    children = [_Child(spec) for spec in specs]
    try:
        while not stopping:
            for child in children:
                child.tend(time.monotonic())
            readable, _, _ = select.select([tether], [], [], POLL_S)
            if readable and not os.read(tether, 1):
                break
    finally:
        _end_all(children, grace_s)


if __name__ == "__main__":
    _given = json.loads(sys.argv[1])
    keep([ChildSpec(**child) for child in _given["children"]], _given["grace_s"], sys.stdin.fileno())


def outlived_parent() -> bool:
    """Wait until the process that spawned this one is gone, then True; False at once when none did.

    It is the one that made this process, also if that was gone before the first line here ran: `os.getppid()` would then name
    whoever adopted it, and the wait would never end.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return False
    parent.join()
    return True
