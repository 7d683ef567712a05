"""What do pytest and ruff say about this artifact?

Each runs as a child in a cage of its own, on a fresh copy: what the tests do to their copy, the linter does not see.
pytest is imported before the artifact's folder comes to the search path (a file `pytest.py` or `sitecustomize.py` of the
artifact would otherwise take its place), reads a configuration of ours, and loads no plugins but its own. A `conftest.py`
of the artifact is honoured, because fixtures live there; one whose hooks or automatic fixtures change the outcome of tests
that it does not know changes that of our control tests too, and then the report is not believed.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from plms_pipeline.kpis.discovery import is_test_file, test_names
from plms_pipeline.kpis.files.outputs import read_report
from plms_pipeline.kpis.files.tree import Snapshot, copy_into
from plms_pipeline.kpis.junit import MAXIMUM_REPORT, Canaries, parse_collected
from plms_pipeline.kpis.linting import ARGUMENTS
from plms_pipeline.kpis.process.children import Cage, ChildResult, Limits, cage, environment_of, run_in_cage

TESTS: Final = "tests"
_INI: Final = "[pytest]\npython_files = test_*.py *_test.py\n"
_BOOTSTRAP: Final = (
    "import sys, pytest, _pytest.junitxml, _pytest.python, _pytest.unittest, _pytest.fixtures, _pytest.assertion.rewrite\n"
    "sys.path[:0] = sys.argv[1].split('|')\n"
    "sys.exit(pytest.main(sys.argv[2:]))\n"
)
_CANARY: Final = "def test_passes_{token}():\n    pass\n\n\ndef test_fails_{token}():\n    assert 'a' == '{token}'\n"
_MAX_CANARY_FOLDERS: Final = 50
_COLLECT_OUTPUT: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TestRun:
    """What a run of an artifact's tests left: the report (None: none was written), and what it must hold."""

    __test__ = False  # pytest would take the name for a test class

    report: bytes | None
    promised: Counter[str]
    canaries: Canaries
    child: ChildResult


def test_files(taken: Snapshot) -> list[str]:
    """The test files below `tests/`, by path."""
    return [entry.path for entry in taken.entries if entry.path.startswith(TESTS + "/") and is_test_file(entry.path)]


test_files.__test__ = False  # type: ignore[attr-defined]  # pytest would take the name for a test


def run_tests(taken: Snapshot, *, token: str, limits: Limits, namespaces: bool = True) -> TestRun:
    """Run the artifact's tests with our canaries among them.

    Args:
        taken: the artifact; it must have test files.
        token: unpredictable hexadecimal text, new for every run; it names the canaries and the report's folder.
        limits: for each of the two children (one only collects, without any `conftest.py`, and says what must run).
        namespaces: see `run_in_cage`.
    """
    promised = _promised(taken, limits=limits, namespaces=namespaces)
    with cage() as place:
        copy = _prepare(place, taken)
        canaries = _put_canaries(copy, test_files(taken), token)
        out = place.work / f"out-{token}"
        out.mkdir()
        folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
        try:
            child = _pytest(
                place, copy, ["-q", "-p", "no:cacheprovider", f"--junitxml={out / 'report.xml'}"], limits, namespaces
            )
            report = read_report(folder, "report.xml", MAXIMUM_REPORT)
        finally:
            os.close(folder)
    return TestRun(report, promised, canaries, child)


def _promised(taken: Snapshot, *, limits: Limits, namespaces: bool) -> Counter[str]:
    """How many cases of each test must be reported: by the source, and by a collection without any `conftest.py`."""
    promised: Counter[str] = Counter()
    for path in test_files(taken):
        source = (taken.root / path).read_text(encoding="utf-8", errors="replace")
        promised.update(test_names(path, source))
    with cage() as place:
        copy = _prepare(place, taken)
        roomy = replace(limits, output_bytes=_COLLECT_OUTPUT)
        child = _pytest(
            place, copy, ["-q", "-p", "no:cacheprovider", "--collect-only", "--noconftest"], roomy, namespaces
        )
    collected = parse_collected(child.output)
    return Counter({name: max(promised[name], collected[name]) for name in promised | collected})


def _prepare(place: Cage, taken: Snapshot) -> Path:
    copy = place.work / "copy"
    copy_into(taken, copy)
    (place.work / "pytest.ini").write_text(_INI, encoding="utf-8")
    return copy


def _pytest(place: Cage, copy: Path, arguments: list[str], limits: Limits, namespaces: bool) -> ChildResult:  # noqa: FBT001 - passed on as it came
    search = [copy, copy / "src"] if (copy / "src").is_dir() else [copy]
    environment = environment_of(place.work, python_path=search)
    place.hand_over()
    command = [
        sys.executable, "-I", "-c", _BOOTSTRAP, "|".join(map(str, search)), *arguments,
        "-c", str(place.work / "pytest.ini"), f"--rootdir={copy}", "--continue-on-collection-errors", TESTS,
    ]  # fmt: skip
    return run_in_cage(command, cage=place, cwd=copy, environment=environment, limits=limits, namespaces=namespaces)


def _put_canaries(copy: Path, files: list[str], token: str) -> Canaries:
    """Tests of ours, first and last in every folder that has tests, so that no hook of a subfolder escapes them."""
    passing, failing = set(), set()
    folders = sorted({path.rpartition("/")[0] for path in files} | {TESTS})[:_MAX_CANARY_FOLDERS]
    for number, folder in enumerate(folders):
        # Module names must differ across folders without __init__.py; "~" sorts behind every letter.
        for stem in (f"test_0{token}{number}", f"~{token}{number}_test"):
            (copy / folder / f"{stem}.py").write_text(_CANARY.format(token=token), encoding="utf-8")
            module = f"{folder.replace('/', '.')}.{stem}"
            passing.add(f"{module}::test_passes_{token}")
            failing.add(f"{module}::test_fails_{token}")
    return Canaries(frozenset(passing), frozenset(failing))


def run_lint(taken: Snapshot, *, limits: Limits, namespaces: bool = True) -> ChildResult:
    """Run ruff over the whole artifact; its output is JSON on standard output."""
    from ruff import find_ruff_bin  # type: ignore[import-untyped]  # ships no types

    with cage() as place:
        copy = place.work / "copy"
        copy_into(taken, copy)
        environment = environment_of(place.work)
        place.hand_over()
        return run_in_cage(
            [os.fsdecode(find_ruff_bin()), *ARGUMENTS, "."],
            cage=place, cwd=copy, environment=environment, namespaces=namespaces,
            limits=replace(limits, output_bytes=_COLLECT_OUTPUT),
        )  # fmt: skip
