"""Children that may do nothing else than what they were started for. All of them are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plms_pipeline.kpis.process import ChildResult, Limits, cage, environment_of, run_in_cage

BOTH = pytest.mark.parametrize("namespaces", [True, False], ids=["namespaces", "limits-only"])
LIMITS = Limits(wall_s=10.0, cpu_s=10)


def run(code: str, *, namespaces: bool = True, limits: Limits = LIMITS) -> ChildResult:
    with cage() as place:
        environment = environment_of(place.work)
        place.hand_over()
        return run_in_cage(
            [sys.executable, "-c", code], cage=place, cwd=place.work, environment=environment, limits=limits,
            namespaces=namespaces,
        )  # fmt: skip


def processes_with(marker: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if marker in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                found.append(pid)
        except OSError:
            continue
    return [pid for pid in found if pid != str(os.getpid())]


@BOTH
def test_a_child_says_what_it_has_to_say(namespaces: bool) -> None:
    """The plain case: exit code, output of both streams, and which protections held."""
    found = run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", namespaces=namespaces)
    assert found.exit_code == 3
    assert sorted(found.output.split()) == ["err", "out"]
    assert found.stopped is None
    assert "limits" in found.isolation


@BOTH
def test_no_variable_of_ours_reaches_a_child(namespaces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Database passwords and tokens live in the environment."""
    monkeypatch.setenv("PLMS_DATABASE_URL", "postgresql://user:s3cret@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    found = run("import os; print(sorted(os.environ))", namespaces=namespaces)
    assert "s3cret" not in found.output
    names = eval(found.output)
    assert set(names) - {"PLMS_KPI_CHILD"} == set(environment_names())


def environment_names() -> list[str]:
    with cage() as place:
        return sorted(environment_of(place.work))


@BOTH
def test_an_endless_loop_ends_at_the_wall_clock(namespaces: bool) -> None:
    """Also one that ignores every signal it can ignore."""
    code = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nwhile True: time.sleep(9)"
    began = time.monotonic()
    found = run(code, namespaces=namespaces, limits=Limits(wall_s=0.6, cpu_s=5))
    assert found.exit_code is None
    assert "still running after 0.6 s" in str(found.stopped)
    assert time.monotonic() - began < 5


@pytest.mark.live
@BOTH
def test_a_busy_loop_ends_at_its_processor_time(namespaces: bool) -> None:
    """Long before the wall clock."""
    found = run("while True: pass", namespaces=namespaces, limits=Limits(wall_s=20, cpu_s=1))
    assert found.exit_code not in (0, None)
    assert found.duration_ms < 10_000


@BOTH
def test_a_fork_bomb_stays_small_and_leaves_nothing(namespaces: bool) -> None:
    """The machine that runs the night must survive the night."""
    marker = f"bomb{os.getpid()}{namespaces}"
    code = f"'{marker}'\nimport os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    found = run(code, namespaces=namespaces, limits=Limits(wall_s=1.0, cpu_s=5, processes=24))
    assert "killed" in str(found.stopped)
    # The kernel ends what is left of the namespace when its first process has ended, a moment after that.
    wait_for(lambda: processes_with(marker) == [])


@BOTH
def test_a_process_that_leaves_its_group_is_found(namespaces: bool) -> None:
    """setsid and a double fork escape a kill of the process group."""
    marker = f"stray{os.getpid()}{namespaces}"
    code = (
        f"'{marker}'\nimport os, time\n"
        "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    time.sleep(60)\n  os._exit(0)\nos.wait()\nprint('gone')"
    )
    began = time.monotonic()
    found = run(code, namespaces=namespaces)
    assert found.exit_code == 0
    assert found.output == "gone\n"
    assert time.monotonic() - began < 5
    assert processes_with(marker) == []


@BOTH
def test_memory_files_and_handles_are_bounded(namespaces: bool) -> None:
    """Each limit answers with an ordinary error inside the child."""
    code = """
import os
try: bytearray(10**10)
except MemoryError: print("memory")
try:
    with open("big", "wb") as f:
        for _ in range(100): f.write(b"x" * 10**6)
except OSError as e: print("size", e.errno)
try: handles = [open(os.devnull) for _ in range(1000)]
except OSError as e: print("handles", e.errno)
"""
    limits = Limits(wall_s=10, cpu_s=10, file_bytes=2_000_000, open_files=64)
    found = run(code, namespaces=namespaces, limits=limits)
    assert found.output.split("\n")[:3] == ["memory", "size 27", "handles 24"]


@BOTH
def test_output_is_bounded_and_keeps_both_ends(namespaces: bool) -> None:
    """A test that prints a gigabyte must not need a gigabyte here."""
    code = "print('first')\nfor _ in range(20000): print('x' * 100)\nprint('last')"
    found = run(code, namespaces=namespaces, limits=Limits(wall_s=10, output_bytes=2000))
    assert len(found.output) < 2200
    assert found.output.startswith("first")
    assert found.output.endswith("last\n")
    assert "bytes cut" in found.output


def test_many_files_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file size limit does not stop ten thousand small files."""
    from plms_pipeline.kpis.process import children

    monkeypatch.setattr(children, "DISK_EVERY_S", 0.05)
    code = "import time\nfor n in range(500): open(f'f{n}', 'w').close()\ntime.sleep(30)"
    found = run(code, limits=Limits(wall_s=20, disk_entries=100))
    assert "files and was killed" in str(found.stopped)


def test_writing_outside_is_impossible_where_the_system_allows_it(tmp_path: Path) -> None:
    """As root by an own user and read-only mounts; else by mounts, if the kernel lets us."""
    target = tmp_path / "evil"
    found = run(f"open('inside', 'w').write('x')\nopen({str(target)!r}, 'w').write('x')")
    if not {"read-only files", "own user"} & set(found.isolation):
        pytest.skip("this system allows neither; the receipt says so")
    assert found.exit_code == 1
    assert not target.exists()


def test_there_is_no_network_but_loopback_where_the_system_allows_it() -> None:
    """Tests may start servers for themselves; they reach nobody else."""
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname(), timeout=2).close()
print("loopback")
print(sorted(name for _, name in socket.if_nameindex()))
"""
    found = run(code)
    if "no network" not in found.isolation:
        pytest.skip("this system has no network namespaces for us; the receipt says so")
    assert found.output.split("\n")[0] == "loopback"
    assert "eth0" not in found.output


def test_the_children_of_a_cage_are_nobody_when_we_are_root() -> None:
    """The kernel exempts root from the process limit, so root's children would be unlimited."""
    if os.geteuid() != 0:
        pytest.skip("only root can give up being root")
    first, second = run("import os; print(os.getuid(), os.getgroups())"), run("import os; print(os.getuid())")
    if "own user" not in first.isolation:
        pytest.skip("this root may not change users")
    assert first.output.split()[0] not in ("0", second.output.strip())
    assert first.output.strip().endswith("[]")


def test_a_cage_is_removed_with_whatever_is_in_it() -> None:
    """Folders without rights and links to elsewhere included."""
    code = (
        "import os\nos.makedirs('a/b/c')\nopen('a/b/c/f', 'w').close()\nos.symlink('/etc', 'a/link')\n"
        "os.chmod('a/b', 0)\nos.chmod('a', 0)"
    )
    with cage() as place:
        environment = environment_of(place.work)
        place.hand_over()
        found = run_in_cage(
            [sys.executable, "-c", code], cage=place, cwd=place.work, environment=environment, limits=LIMITS
        )
        folder = place.folder
    assert found.exit_code == 0
    assert not folder.exists()
    assert Path("/etc/hostname").exists() or Path("/etc/passwd").exists()


def test_a_command_that_does_not_exist_is_a_reason() -> None:
    """Not an exit code that the command could have chosen itself."""
    with cage() as place:
        environment = environment_of(place.work)
        place.hand_over()
        found = run_in_cage(["/no/such/tool"], cage=place, cwd=place.work, environment=environment, limits=LIMITS)
    assert found.exit_code is None
    assert "could not be started" in str(found.stopped)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="this machine has no shared memory")
def test_it_works_in_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files in memory: the small shared memory of the child hid its own work, and nothing could be measured."""
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")
    assert run("print(open('there', 'w').write('some'))").output == "4\n"


def test_it_works_from_a_thread() -> None:
    """Dagster runs steps in threads, where running Python between fork and exec may deadlock."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: run(f"print({n})"), range(8)))
    assert [each.output for each in found] == [f"{n}\n" for n in range(8)]


@BOTH
def test_nothing_outlives_a_killed_evaluation(namespaces: bool, tmp_path: Path) -> None:
    """kill -9 of the pipeline at any moment: its children, and theirs, go with it."""
    marker = f"orphan{os.getpid()}{namespaces}"
    code = f"""
import subprocess
import sys
from plms_pipeline.kpis.process import Limits, cage, environment_of, run_in_cage
with cage() as place:
    environment = environment_of(place.work)
    place.hand_over()
    child = "'{marker}'; import time; print('up', flush=True); time.sleep(60)"
    open({str(tmp_path / "started")!r}, "w").close()
    run_in_cage([sys.executable, "-c", child], cage=place, cwd=place.work, environment=environment, limits=Limits(),
                namespaces={namespaces})
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as evaluation:
        wait_for(lambda: any(pid != str(evaluation.pid) for pid in processes_with(marker)))
        evaluation.kill()
    wait_for(lambda: processes_with(marker) == [])
    # It was killed while it worked: what ended by itself would prove nothing.
    assert evaluation.returncode == -signal.SIGKILL


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)
