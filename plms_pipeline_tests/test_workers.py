"""Does a run in forks tell the same as a run in one process, also when a worker dies?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEFORE = """
import os, signal, pytest
from pathlib import Path

SEEN = Path(__file__).parent / "seen"
SEEN.mkdir(exist_ok=True)

def note(request):
    with (SEEN / request.node.name).open("a") as seen:
        seen.write(f"{os.getpid()}\\n")

@pytest.fixture(scope="session")
def house():
    yield os.getpid()
    (SEEN / f"left-{os.getpid()}").touch()
"""


def run(folder: Path, tests: str, *options: str) -> tuple[int, str, dict[str, list[str]]]:
    """Exit code and output of `pytest --workers 2` on these tests, and for each file that they wrote the processes in it."""
    (folder / "test_these.py").write_text(BEFORE + tests)
    command = [sys.executable, "-m", "pytest", "-p", "plms_pipeline_tests.workers", "--workers", "2", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(folder)}
    command += ["--rootdir", str(folder), "-c", os.devnull, "-W", "ignore::pytest.PytestUnknownMarkWarning"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout, {path.name: path.read_text().split() for path in (folder / "seen").iterdir()}


def test_each_test_runs_once_and_its_failure_is_told(tmp_path: Path) -> None:
    """A test that no worker was given, or whose failure got lost, would be dropped in silence."""
    code, told, seen = run(
        tmp_path,
        """
@pytest.mark.parametrize("number", range(20))
def test_alone(number, request, house, tmp_path):
    note(request)
    assert list(tmp_path.iterdir()) == []

@pytest.mark.parametrize("number", range(6))
@pytest.mark.xdist_group("family")
def test_together(number, request, house):
    note(request)

def test_wrong(request):
    note(request)
    print("what it said")
    assert 1 + 1 == 3

@pytest.fixture
def breaks():
    yield
    raise RuntimeError("not put away")

def test_untidy(request, breaks):
    note(request)

@pytest.mark.skip(reason="elsewhere")
def test_elsewhere():
    pass
""",
    )
    ran = {name: pids for name, pids in seen.items() if name.startswith("test_")}
    assert code == 1
    assert re.search(r"1 failed, 27 passed, 1 skipped, 1 error in ", told)
    assert all(text in told for text in ("assert (1 + 1) == 3", "what it said", "not put away"))
    assert len(ran) == 28
    assert {len(pids) for pids in ran.values()} == {1}
    assert len({pid for pids in ran.values() for pid in pids}) == 2
    assert len({pids[0] for name, pids in ran.items() if name.startswith("test_together")}) == 1
    homes = {pids[0] for name, pids in ran.items() if name.startswith(("test_alone", "test_together"))}
    assert {name for name in seen if name.startswith("left-")} == {f"left-{pid}" for pid in homes}


def test_a_worker_that_dies_fails_its_test_and_nobody_else_s(tmp_path: Path) -> None:
    """What a dead worker still had must run elsewhere, and the run must not be green."""
    code, told, seen = run(
        tmp_path,
        """
pytestmark = pytest.mark.xdist_group("family")

def test_before(request):
    note(request)

def test_deadly(request):
    note(request)
    os.kill(os.getpid(), signal.SIGKILL)

def test_after(request):
    note(request)
""",
    )
    assert code == 1
    assert "1 failed, 2 passed in " in told
    assert "ended with SIGKILL in this test" in told
    assert {name: len(pids) for name, pids in seen.items()} == {"test_before": 1, "test_deadly": 1, "test_after": 1}


def test_what_breaks_after_the_last_test_is_told(tmp_path: Path) -> None:
    """An object that only the collector finds to be badly left must not pass because its process was about to end."""
    code, told, _ = run(
        tmp_path,
        """
class Left:
    def __init__(self):
        self.ring = self

    def __del__(self):
        raise RuntimeError("left behind")

@pytest.fixture(scope="session", autouse=True)
def leaves():
    yield
    Left()

def test_good(request):
    note(request)
""",
        "-W",
        "error",
    )
    assert code == 1
    assert "left behind" in told
    assert "after its last test" in told


def test_the_first_failure_stops_all_when_that_was_asked_for(tmp_path: Path) -> None:
    """With `-x` nobody waits for what no longer matters."""
    code, told, seen = run(
        tmp_path,
        """
def test_wrong(request):
    note(request)
    assert False

@pytest.mark.parametrize("number", range(2000))
def test_alone(number, request):
    note(request)
""",
        "-x",
    )
    assert code == 1
    assert "stopping after 1 failures" in told
    assert len(seen) < 2000
