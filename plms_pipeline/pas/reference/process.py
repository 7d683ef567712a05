"""How does the command of a card run so that it can hurt neither the executor nor the machine?

A child in its own session, with an emptied environment, limits for processor time, memory, file size, open files and
processes, and a wall clock after which its whole process group is killed. Its own user when we are root (the kernel exempts
root from the process limit). Whatever it started and hid from its group is found by a mark in the environment.

This file is also the program that narrows its own rights and then becomes the command (`python -I -S process.py plan
command…`), because Python code between fork and exec of a process with threads is known to deadlock. It imports the
standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MARKER = "PLMS_PAS_CHILD"
USER_BASE = 0x58000000
TICK_S = 0.02
# A paused command has more time than it seemed to; so often is looked again how much.
LOOK_EVERY_S = 1.0
TAIL_BYTES = 2000
CANNOT_START = 127
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 38, 47, 2
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use. Seconds and bytes; `processes` counts threads too, as the kernel does."""

    wall_s: float = 300.0
    cpu_s: int = 300
    memory_bytes: int = 4 << 30
    file_bytes: int = 64 << 20
    processes: int = 128
    open_files: int = 256


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `exit_code` None: it was killed, `problem` says why; else `problem` is its last words, if any."""

    exit_code: int | None
    problem: str | None
    duration_ms: int


class Command:
    """One running command.

    Args:
        arguments: program and arguments; no shell. The program is looked up in the child's own PATH.
        folder: its current folder and the only one that it may count on; belongs to us again when it has ended.
        mark: distinguishes it from all others; `kill_strays` finds its processes by a prefix of it.
        limits: what it may use.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, mark: str, limits: Limits) -> None:
        self._folder, self._mark, self._limits = folder, mark, limits
        self._user = _own_user(folder)
        self._killed: str | None = None
        self._paused_at: float | None = None
        self._paused_s = 0.0
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._output = (folder.parent / f".{folder.name}.log").open("w+b")
        self._home = folder.parent / f".{folder.name}.home"
        self._home.mkdir(mode=0o700, exist_ok=True)
        if self._user is not None:
            os.chown(self._home, self._user, self._user)
        plan = {**asdict(limits), "user": self._user, "processes": limits.processes + _threads_of_user(self._user)}
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve()), json.dumps(plan), *arguments],
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT,
            cwd=folder, env=self._environment(), start_new_session=True,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """The whole environment: no variable of ours passes, so no secret does."""
        return {
            MARKER: self._mark,
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin")),
            "HOME": str(self._home),
            "TMPDIR": str(self._home),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def pause(self) -> None:
        """Stop it where it is; its wall clock stops too."""
        with self._lock:
            if self._paused_at is None and self._child.poll() is None:
                self._paused_at = time.monotonic()
                self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        with self._lock:
            if self._paused_at is not None:
                self._paused_s += time.monotonic() - self._paused_at
                self._paused_at = None
                self._signal(signal.SIGCONT)

    def kill(self, reason: str) -> None:
        """End it and everything that it started."""
        with self._lock:
            self._killed = self._killed or reason
        self._signal(signal.SIGKILL)

    def wait(self) -> Ended:
        """Wait for its end, by itself or by us. Call once, in the thread that made it (its life is tied to that thread)."""
        try:
            with _waiting(self._child) as wait:
                while self._child.poll() is None:
                    left_s = self._limits.wall_s - self._worked_s()
                    if left_s < 0:
                        self.kill(f"it was still running after {self._limits.wall_s:g} s and was killed")
                    wait(min(max(left_s, TICK_S), LOOK_EVERY_S))
            duration_ms = round(self._worked_s() * 1000)
        finally:
            self._signal(signal.SIGKILL)
            self._child.wait()
            kill_strays(self._mark)
            words = self._last_words()
            self._give_back()
        code = self._child.returncode
        if self._killed is not None:
            return Ended(None, self._killed, duration_ms)
        if code < 0:
            return Ended(None, f"it was ended by {signal.Signals(-code).name}", duration_ms)
        return Ended(code, words or None, duration_ms)

    def _worked_s(self) -> float:
        with self._lock:
            paused = self._paused_s + (time.monotonic() - self._paused_at if self._paused_at is not None else 0.0)
        return time.monotonic() - self._started - paused

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    def _last_words(self) -> str:
        with self._output as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            return stream.read().decode("utf-8", "replace").strip()

    def _give_back(self) -> None:
        """What it wrote belongs to us again; its log and home are not part of the result."""
        if self._user is not None:
            for parent, folders, files in os.walk(self._folder):
                for name in (*folders, *files):
                    os.chown(Path(parent, name), 0, 0, follow_symlinks=False)
            os.chown(self._folder, 0, 0)
        (self._folder.parent / f".{self._folder.name}.log").unlink(missing_ok=True)
        _remove(self._home)


@contextlib.contextmanager
def _waiting(child: subprocess.Popen[bytes]) -> Iterator[Callable[[float], object]]:
    """Gives what waits so many seconds for the end of a child, and no longer than until it has ended.

    The kernel tells (pidfd_open(2), Linux 5.3); without it one has to look again and again, and a score of commands that are
    looked after fifty times a second keeps a core from its work.
    """
    try:
        end = os.pidfd_open(child.pid)
    except (AttributeError, OSError):
        yield lambda seconds: _looked(child, min(seconds, TICK_S))
        return
    try:
        told = select.poll()
        told.register(end, select.POLLIN)
        yield lambda seconds: told.poll(math.ceil(seconds * 1000))
    finally:
        os.close(end)


def _looked(child: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(seconds)


def kill_strays(prefix: str) -> None:
    """Kill every process whose mark starts with `prefix`: what a command hid, or what a killed executor left behind."""
    for _ in range(50):
        found = list(_marked(f"{MARKER}={prefix}".encode()))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _marked(text: bytes) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    found = Path(entry.path, "environ").read_bytes()
                    if any(part.startswith(text) for part in found.split(b"\0")) and not _is_dead(entry.path):
                        yield int(entry.name)


def _is_dead(process: str) -> bool:
    return Path(process, "stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX"


def _own_user(folder: Path) -> int | None:
    """An unused user id, to whom the folder is given, or None when we are not root or may not give files away."""
    if os.geteuid() != 0:
        return None
    user = USER_BASE + folder.stat().st_ino % 0x0FFFFFF
    try:
        os.chown(folder, user, user)
    except OSError:
        return None
    return user


def _threads_of_user(user: int | None) -> int:
    """Threads that already run under the child's user id: the kernel's limit counts them all."""
    if user is not None:
        return 0
    count = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if entry.stat().st_uid == os.geteuid():
                        count += sum(1 for _ in os.scandir(f"/proc/{entry.name}/task"))
    return count


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _become(user: int) -> None:
    """Take the child's user id.

    The interpreter may live below a folder that only root may enter. The child then keeps the one right to read what others
    hide; where even that cannot be had it stays root, with the other limits.
    """
    os.setgroups([])
    os.setegid(user)
    os.seteuid(user)
    is_reachable = os.access(sys.executable, os.X_OK, effective_ids=True)
    os.seteuid(0)
    os.setegid(0)
    libc = ctypes.CDLL(None)
    if not is_reachable:
        if not _may_read_everything():
            return
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if not is_reachable:
        mask = 1 << CAP_DAC_READ_SEARCH
        header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
        libc.capset(
            ctypes.create_string_buffer(header),
            ctypes.create_string_buffer(struct.pack("6I", mask, mask, mask, 0, 0, 0)),
        )
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)


def _may_read_everything() -> bool:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    found = next((line.split()[1] for line in status.splitlines() if line.startswith("CapPrm:")), "0")
    return bool(int(found, 16) >> CAP_DAC_READ_SEARCH & 1)


def _main() -> None:
    """Narrow the rights of this process as the plan says and become the command."""
    plan = json.loads(sys.argv[1])
    arguments = sys.argv[2:]
    for name, value in (
        ("RLIMIT_CPU", plan["cpu_s"]), ("RLIMIT_AS", plan["memory_bytes"]), ("RLIMIT_FSIZE", plan["file_bytes"]),
        ("RLIMIT_NPROC", plan["processes"]), ("RLIMIT_NOFILE", plan["open_files"]), ("RLIMIT_CORE", 0),
    ):  # fmt: skip
        kind, most = getattr(resource, name), resource.getrlimit(getattr(resource, name))[1]
        limit = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (limit, limit))
    if plan["user"] is not None:
        _become(plan["user"])
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(arguments[0], arguments)  # noqa: S606 - to become it is the point
    except OSError as error:
        os.write(2, f"{arguments[0]} could not be started: {error.strerror}".encode())
        os._exit(CANNOT_START)


if __name__ == "__main__":
    _main()
