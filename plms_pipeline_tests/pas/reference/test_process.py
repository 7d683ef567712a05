"""Is a command of a card kept within its limits, and gone when it is over?"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plms_pipeline.pas.reference.process import Command, Ended, Limits, kill_strays

MARK = f"test-{os.getpid()}"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ended]:
    def go(code: str, **limits: float) -> Ended:
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        return Command([sys.executable, "-c", code], folder, f"{MARK}.{time.monotonic_ns()}", Limits(**limits)).wait()  # type: ignore[arg-type]  # names of the dataclass

    return go


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        time.sleep(0.01)


def test_a_good_command_leaves_its_files_and_nothing_else(run: Callable[..., Ended], tmp_path: Path) -> None:
    """Its log and home beside the result would be measured as part of it."""
    ended = run("open('out.txt', 'w').write('done'); print('words')")
    assert (ended.exit_code, ended.problem) == (0, "words")
    assert (tmp_path / "work" / "out.txt").read_text() == "done"
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert (tmp_path / "work" / "out.txt").stat().st_uid == os.geteuid()


def test_no_secret_of_ours_reaches_it(
    run: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may submit a card must not read our tokens from its environment."""
    monkeypatch.setenv("PLMS_PAS_TOKEN", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    run("import os; open('env', 'w').write(repr(dict(os.environ)))")
    text = (tmp_path / "work" / "env").read_text()
    assert "hunter2" not in text
    assert "PATH" in text


def test_a_failing_command_says_why(run: Callable[..., Ended]) -> None:
    """ "It ended with 1" sends a person to logs that are gone."""
    ended = run("raise SystemExit('the disk of the warehouse is missing')")
    assert ended.exit_code == 1
    assert "warehouse" in (ended.problem or "")


def test_what_cannot_be_started_says_so(tmp_path: Path) -> None:
    """A missing program must not look like work that failed for no reason."""
    (tmp_path / "work").mkdir()
    ended = Command(["no-such-program"], tmp_path / "work", f"{MARK}.x", Limits()).wait()
    assert ended.exit_code == 127
    assert "could not be started" in (ended.problem or "")


@pytest.mark.parametrize("kernel_tells", [True, False])
def test_the_wall_clock_ends_it_and_its_children(
    run: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel_tells: bool
) -> None:
    """A grandchild that holds on would keep the machine busy for ever, also where the kernel does not tell of ends."""
    if not kernel_tells:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "open('pid', 'w').write(str(child.pid)); time.sleep(600)"
    )
    ended = run(code, wall_s=1.0)
    assert ended.exit_code is None
    assert "still running" in (ended.problem or "")
    assert is_gone(int((tmp_path / "work" / "pid").read_text()))


def test_a_command_that_runs_is_not_looked_at_again_and_again(run: Callable[..., Ended]) -> None:
    """A score of them, each looked after fifty times a second, kept a core from the pipeline's own work."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    assert run("import time; time.sleep(0.5)").exit_code == 0
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before < 20


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.live
@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("x = bytearray(1 << 30)", {"memory_bytes": 300 << 20}),
        ("open('big', 'wb').write(b'x' * (3 << 20))", {"file_bytes": 1 << 20}),
        ("while True: pass", {"cpu_s": 1, "wall_s": 30.0}),
        ("files = [open('/dev/null') for _ in range(300)]", {"open_files": 64}),
        (
            "import threading\nfor _ in range(200): threading.Thread(target=__import__('time').sleep, args=(5,)).start()",
            {"processes": 20},
        ),
    ],
)
def test_every_limit_holds(run: Callable[..., Ended], code: str, limits: dict[str, float]) -> None:
    """One runaway command must not take the executor's machine with it."""
    ended = run(code, **limits)
    assert ended.exit_code != 0


def test_its_wall_clock_stands_still_while_it_is_paused(tmp_path: Path) -> None:
    """A pause of an hour must not kill the command at resume."""
    (tmp_path / "work").mkdir()
    code = "import time; open('began', 'w').close(); time.sleep(0.2); open('done', 'w').close()"
    made: list[Command] = []
    ended: list[Ended] = []

    def live() -> None:
        made.append(Command([sys.executable, "-c", code], tmp_path / "work", f"{MARK}.p", Limits(wall_s=3.0)))
        ended.append(made[0].wait())

    thread = threading.Thread(target=live)
    thread.start()
    until(lambda: bool(made) and (tmp_path / "work" / "began").exists())
    made[0].pause()
    time.sleep(0.5)
    assert not (tmp_path / "work" / "done").exists()
    made[0].resume()
    thread.join(20)
    assert ended[0].exit_code == 0
    assert ended[0].duration_ms < 3000


def test_strays_of_a_killed_executor_are_found_by_their_mark(tmp_path: Path) -> None:
    """After kill -9 of the executor its commands must not go on beside their second run."""
    (tmp_path / "work").mkdir()
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    ended: list[Ended] = []

    def live() -> None:
        ended.append(Command([sys.executable, "-c", code], tmp_path / "work", f"{MARK}-stray.1", Limits()).wait())

    thread = threading.Thread(target=live)
    thread.start()
    until(lambda: (tmp_path / "work" / "pid").exists() and bool((tmp_path / "work" / "pid").read_text()))
    kill_strays(f"{MARK}-other")
    assert thread.is_alive()
    kill_strays(f"{MARK}-stray.")
    thread.join(20)
    assert ended[0].exit_code is None
