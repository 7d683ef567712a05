"""What does a child process say when it may do nothing else?

KPI validators run code that they must not trust: the tests of an artifact. Each child works on a temporary copy, with an
emptied environment, limits for CPU, memory, files and processes, and is killed with its whole process group when its
wall clock ends. `subprocess.run(timeout=…)` alone kills one process and then waits for ever on a pipe that its
grandchildren hold open; its output is unbounded, and so is what it leaves behind.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plms_pipeline.kpis.files.scratch import scratch_folder

LAUNCHER = Path(__file__).with_name("launcher.py")
MARKER = "PLMS_KPI_CHILD"
USER_BASE = 0x60000000
TICK_S = 0.05
DISK_EVERY_S = 0.5
MEBI = 1024 * 1024
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use. Seconds and bytes; `processes` counts threads too, as the kernel does."""

    wall_s: float = 300.0
    cpu_s: int = 300
    memory_bytes: int = 4096 * MEBI
    file_bytes: int = 64 * MEBI
    disk_bytes: int = 256 * MEBI
    disk_entries: int = 20_000
    processes: int = 64
    open_files: int = 256
    output_bytes: int = 128 * 1024


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a child ended.

    `exit_code` is None when we stopped it, `stopped` then says why. `output` holds standard output and error in the
    order of arrival, the middle cut out beyond the limit. `isolation` names the protections that held.
    """

    exit_code: int | None
    stopped: str | None
    output: str
    duration_ms: int
    isolation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cage:
    """A temporary folder for one artifact and its children; only `work` is writable for them.

    `folder` belongs to us, so that a child of another user cannot rename what lies in it.
    """

    folder: Path
    work: Path
    user: int | None
    may_read: bool

    def hand_over(self) -> None:
        """Give everything below `work` to the children's user (nothing to do when we are not root)."""
        if self.user is None:
            return
        for parent, folders, files in os.walk(self.work):
            for name in (*folders, *files):
                os.chown(Path(parent, name), self.user, self.user, follow_symlinks=False)
        os.chown(self.work, self.user, self.user)


@contextlib.contextmanager
def cage() -> Iterator[Cage]:
    """A fresh cage, removed with everything in it at the end, whatever the children did to the modes of their files."""
    with scratch_folder() as folder:
        work = folder / "work"
        folder.chmod(0o711)
        work.mkdir(mode=0o700)
        paths = (Path(sys.executable).resolve(), Path(sys.prefix), Path(sys.base_prefix), work)
        yield Cage(folder, work, _own_user(work), may_read=not all(_open_to_others(path) for path in paths))


def _own_user(work: Path) -> int | None:
    """An unused user id for the children of this cage, or None when we are not root or may not give files away."""
    if os.geteuid() != 0:
        return None
    user = USER_BASE + ((os.getpid() & 0x3FFFFF) << 6) + next(_numbers) % 64
    try:
        os.chown(work, user, user)
    except OSError:
        return None
    return user


def _open_to_others(path: Path) -> bool:
    """Whether a user without rights can reach `path`: every folder above it may be entered by anyone."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def environment_of(work: Path, *, python_path: Sequence[Path] = ()) -> dict[str, str]:
    """The whole environment of a child: no variable of ours passes, so no secret does."""
    (work / "home").mkdir(exist_ok=True)
    (work / "tmp").mkdir(exist_ok=True)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(work / "home"),
        "TMPDIR": str(work / "tmp"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONPATH": os.pathsep.join(str(path) for path in python_path),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "2",
    }


def run_in_cage(
    command: Sequence[str],
    *,
    cage: Cage,
    cwd: Path,
    environment: Mapping[str, str],
    limits: Limits,
    namespaces: bool = True,
) -> ChildResult:
    """Run `command` (its first word an absolute path) inside the cage and wait for its end, by itself or by us.

    Args:
        command: program and arguments; no shell.
        cage: where it lives; call `hand_over` first when files were added.
        cwd: its current folder, below `cage.work`.
        environment: its whole environment, see `environment_of`.
        limits: what it may use.
        namespaces: whether to try for own namespaces (tests turn them off to see what the limits alone do).
    """
    marker = f"{os.getpid()}-{next(_numbers)}-{cage.folder.name}"
    status_out, status_in = os.pipe()
    plan = {
        "status_fd": status_in, "namespaces": namespaces, "work": str(cage.work), "cwd": str(cwd), "user": cage.user,
        "may_read": cage.may_read, "limits": _rlimits(limits, cage.user), "environment": {**environment, MARKER: marker},
    }  # fmt: skip
    started = time.monotonic()
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(plan), *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd="/", env={MARKER: marker}, start_new_session=True, pass_fds=(status_in,),
        )  # fmt: skip
    finally:
        os.close(status_in)
    output = _Tail(limits.output_bytes)
    try:
        stopped = _watch(child, output, cage.work, limits, started)
    finally:
        _kill(child, cage.user, marker)
        if child.stdout is not None:
            _drain(child.stdout.fileno(), output)
            child.stdout.close()
        held, failed = _status(status_out)
    duration_ms = round((time.monotonic() - started) * 1000)
    return ChildResult(
        exit_code=None if stopped or failed else child.returncode,
        stopped=stopped or failed,
        output=output.text(),
        duration_ms=duration_ms,
        isolation=held,
    )


def _rlimits(limits: Limits, user: int | None) -> dict[str, tuple[int, int]]:
    cpu = max(1, limits.cpu_s)
    others = 0 if user is not None else _threads_of_user()
    return {
        "CPU": (cpu, cpu + 1),
        "AS": (limits.memory_bytes, limits.memory_bytes),
        "FSIZE": (limits.file_bytes, limits.file_bytes),
        "NPROC": (others + limits.processes, others + limits.processes),
        "NOFILE": (limits.open_files, limits.open_files),
        "CORE": (0, 0),
    }


def _threads_of_user() -> int:
    """Threads that already run under our user id: the kernel's process limit counts them all."""
    mine, count = os.geteuid(), 0
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if entry.stat().st_uid == mine:
                        count += sum(1 for _ in os.scandir(f"/proc/{entry.name}/task"))
    return count


class _Tail:
    """The first and the last bytes of a stream, in bounded memory."""

    def __init__(self, limit: int) -> None:
        self.half = max(1, limit // 2)
        self.head, self.tail, self.cut = b"", b"", 0

    def add(self, data: bytes) -> None:
        room = self.half - len(self.head)
        self.head += data[:room]
        joined = self.tail + data[max(0, room) :]
        self.cut += max(0, len(joined) - self.half)
        self.tail = joined[-self.half :]

    def text(self) -> str:
        middle = f"\n… {self.cut} bytes cut …\n".encode() if self.cut else b""
        return (self.head + middle + self.tail).decode("utf-8", "replace")


def _watch(child: subprocess.Popen[bytes], output: _Tail, work: Path, limits: Limits, started: float) -> str | None:
    """Read until the child ends or must be stopped; the reason, or None when it ended by itself."""
    assert child.stdout is not None  # noqa: S101  Popen was given a pipe
    next_disk = started + DISK_EVERY_S
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while child.poll() is None:
            now = time.monotonic()
            if now - started > limits.wall_s:
                return f"it was still running after {limits.wall_s:g} s and was killed"
            if now >= next_disk:
                next_disk = now + DISK_EVERY_S
                if _too_much(work, limits):
                    return f"it wrote more than {limits.disk_bytes // MEBI} MiB or {limits.disk_entries} files and was killed"
            if selector.get_map() and selector.select(TICK_S):
                data = os.read(child.stdout.fileno(), 65536)
                if data:
                    output.add(data)
                else:
                    selector.unregister(child.stdout)
            elif not selector.get_map():
                threading.Event().wait(TICK_S)
    return None


def _too_much(work: Path, limits: Limits) -> bool:
    size = entries = 0
    for parent, folders, files in os.walk(work):
        entries += len(folders) + len(files)
        if entries > limits.disk_entries:
            return True
        for name in files:
            with contextlib.suppress(OSError):
                size += Path(parent, name).lstat().st_blocks * 512
        if size > limits.disk_bytes:
            return True
    return False


def _drain(descriptor: int, output: _Tail) -> None:
    """What is left in the pipe, without waiting for those who may still hold its other end."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError, OSError):
        for _ in range(64):
            data = os.read(descriptor, 65536)
            if not data:
                return
            output.add(data)


def _kill(child: subprocess.Popen[bytes], user: int | None, marker: str) -> None:
    """Kill the process group, then whoever left it: by the cage's own user id, or by the mark in the environment."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for _ in range(50):
        left = list(_strays(user, marker))
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        threading.Event().wait(0.01)


def _strays(user: int | None, marker: str) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if user is not None:
                    found = entry.stat().st_uid == user
                else:
                    found = f"{MARKER}={marker}".encode() in Path(f"/proc/{entry.name}/environ").read_bytes()
                if found and not _is_dead(entry.name):
                    yield int(entry.name)


def _is_dead(pid: str) -> bool:
    """Whether the process is a zombie, which no signal can remove."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] in "ZX"


def _status(descriptor: int) -> tuple[tuple[str, ...], str | None]:
    """What the launcher reported: the protections that held, and why the command could not be started (or None)."""
    os.set_blocking(descriptor, False)
    data = b""
    with contextlib.suppress(BlockingIOError, OSError):
        while chunk := os.read(descriptor, 65536):
            data += chunk
    os.close(descriptor)
    held: tuple[str, ...] = ()
    failed: str | None = None
    reported = False
    for line in data.splitlines():
        message = json.loads(line)
        reported = reported or "held" in message
        held = tuple(message.get("held", held))
        failed = message.get("failed", failed)
    return held, failed if reported else "the launcher of the child process failed before it could start anything"
