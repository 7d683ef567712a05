"""pytest and ruff for real, on honest and on hostile artifacts. A hostile one must never pass."""

from __future__ import annotations

from typing import Any

import pytest

from plms_pipeline.kpis.files.tree import snapshot
from plms_pipeline.kpis.junit import measure_tests
from plms_pipeline.kpis.linting import measure_lint
from plms_pipeline.kpis.measurement import Measurement, unmeasured
from plms_pipeline.kpis.process import Limits, tools
from plms_pipeline_tests.kpis.conftest import Builder

# Each starts pytest two times, or ruff; test_evaluate.py keeps one of each verdict in the fast tier.
pytestmark = pytest.mark.live

LIMITS = Limits(wall_s=15.0, cpu_s=15)
FAILING = "def test_one():\n    assert False\n\n\ndef test_two():\n    assert True\n"
TOKEN = "deadbeef" * 4


def rate(root: Any, limits: Limits = LIMITS) -> Measurement:
    with snapshot(root) as taken:
        run = tools.run_tests(taken, token=TOKEN, limits=limits)
    if run.report is None or run.child.stopped:
        return unmeasured(run.child.stopped or "no report", log=run.child.output)
    return measure_tests(run.report, exit_code=run.child.exit_code, promised=run.promised, canaries=run.canaries)


HONEST = {
    "src/shop/__init__.py": "",
    "src/shop/price.py": "def gross(net, rate):\n    return round(net * (1 + rate), 2)\n",
    "tests/__init__.py": "",
    "tests/conftest.py": "import pytest\n\n\n@pytest.fixture\ndef rate():\n    return 0.2\n",
    "tests/helper.py": "NET = 10\n",
    "tests/test_price.py": """
import pytest
from shop.price import gross
from tests.helper import NET


@pytest.mark.parametrize("net", [1, 2, 3])
def test_gross(net, rate):
    assert gross(net, rate) == round(net * 1.2, 2)


def test_writes(tmp_path):
    (tmp_path / "x").write_text("1")


def test_helper():
    assert NET == 10
""",
    "tests/deep/test_more.py": """
import unittest


class Case(unittest.TestCase):
    def test_it(self):
        self.assertTrue(True)
""",
}


def test_honest_work_gets_its_rate(artifact: Builder) -> None:
    """Fixtures, parameters, packages, a src folder, temporary files, unittest: all of it as authors write it."""
    found = rate(artifact("a", HONEST))
    assert found.value == 1.0, found
    broken = {**HONEST, "src/shop/price.py": "def gross(net, rate):\n    return net\n"}
    assert rate(artifact("b", broken)).value == pytest.approx(3 / 6)


def test_failures_do_not_stop_the_count(artifact: Builder) -> None:
    """The original stopped at the first failure, which made 1 of 10 look like 0 of 1."""
    source = "".join(f"def test_{n}():\n    assert {n} != 3 and {n} != 5\n\n\n" for n in range(10))
    assert rate(artifact("a", {"tests/test_a.py": source})).value == pytest.approx(0.8)


def test_files_that_cannot_be_collected_count_as_failures(artifact: Builder) -> None:
    """A syntax error in one file must not make the other files the whole truth."""
    files = {
        "tests/test_a.py": "def test_ok():\n    pass\n",
        "tests/test_b.py": "import nonexistent\n\n\ndef test_x():\n    pass\n",
    }
    found = rate(artifact("a", files))
    assert found.value == pytest.approx(1 / 3)  # passed; the error; the promised test_x


def test_skipped_and_expected_failures_show_nothing(artifact: Builder) -> None:
    """To skip what fails would be the cheapest way to pass."""
    source = (
        "import pytest\n\n\ndef test_ok():\n    pass\n\n\n@pytest.mark.skip\ndef test_s():\n    pass\n\n\n"
        "@pytest.mark.xfail\ndef test_x():\n    assert False\n\n\n"
        "@pytest.mark.skipif(True, reason='no')\ndef test_i():\n    pass\n"
    )
    assert rate(artifact("a", {"tests/test_a.py": source})).value == 0.25


GREEN = """
import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    out = yield
    out.get_result().outcome = "passed"
    out.get_result().longrepr = None
"""
FAKE = """
import os, sys
path = next(a.partition("=")[2] for a in sys.argv if a.startswith("--junitxml"))
case = "<testcase classname='tests.test_a' name='test_one'/>"
report = f"<testsuites><testsuite tests='1' failures='0'>{case}</testsuite></testsuites>"
"""
REWRITE = """
import atexit, re, sys


def green():
    for a in sys.argv:
        if a.startswith("--junitxml"):
            p = a.partition("=")[2]
            t = open(p).read()
            open(p, "w").write(re.sub(r"<failure.*?</failure>", "", t, flags=re.S))


atexit.register(green)
"""
GHOSTS = """
import pytest


def pytest_collection_modifyitems(items):
    one = items[0]
    for n in range(50):
        items.append(pytest.Function.from_parent(one.parent, name=f"test_ghost_{n}", callobj=lambda: None))
"""
ONLY_GOOD = """
def pytest_collection_modifyitems(items):
    items[:] = [i for i in items if i.name != "test_one" and "bad" not in i.name]
"""
CASES = """
import pytest


@pytest.mark.parametrize("x", ["good", "bad"])
def test_x(x):
    assert x == "good"
"""
EXIT_EARLY = """
import pytest


def test_one():
    pytest.exit("done", returncode=0)


def test_two():
    assert False
"""
DELETER = "import os\nos.remove(os.path.join(os.path.dirname(__file__), 'test_a.py'))\n"
QUIET = "import builtins\nbuiltins.AssertionError = type('Quiet', (BaseException,), {})\n"
PATCH = "import _pytest.python\n_pytest.python.Function.runtest = lambda self: None\n"


def hostile(conftest: str | None = None, tests: str = FAILING, **more: str) -> dict[str, str]:
    """`tests/test_a.py` with failing tests (or `tests`), a `conftest.py`, and files named by path."""
    files = {"tests/test_a.py": tests, **more}
    return files if conftest is None else {**files, "tests/conftest.py": conftest}


def inside(body: str) -> str:
    return f"import ctypes, os, signal\n\n\ndef test_one():\n    {body}\n"


GOOD_B = {"tests/test_b.py": "def test_b():\n    pass\n"}
HOSTILE: dict[str, dict[str, str]] = {
    "every outcome turned green by a hook": hostile(GREEN),
    "green only in a subfolder": {"tests/sub/conftest.py": GREEN, "tests/sub/test_a.py": FAILING, **GOOD_B},
    "failing tests deselected": hostile(ONLY_GOOD),
    "failing parameters deselected": hostile(ONLY_GOOD, CASES),
    "files ignored": hostile("collect_ignore = ['test_a.py']\n", **GOOD_B),
    "test files deleted before collection": hostile(DELETER, **GOOD_B),
    "configuration that selects": hostile(
        **{
            "pytest.ini": "[pytest]\naddopts = -k test_two\n",
            "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-k test_two'\n",
        }
    ),
    "exit at once with success": hostile(tests="import os\nos._exit(0)\n" + FAILING),
    "exit in a test with success": hostile(tests=inside("os._exit(0)")),
    "pytest.exit with success": hostile(tests=EXIT_EARLY),
    "a report printed": hostile(tests=FAKE + "print(report)\nos._exit(0)\n" + FAILING),
    "a report written beforehand": hostile(FAKE + "open(path, 'w').write(report)\nos._exit(0)\n"),
    "a report written with the right exit code": hostile(FAKE + "open(path, 'w').write(report)\nos._exit(1)\n"),
    "a report rewritten at exit": hostile(REWRITE),
    "a report that is a link": hostile(FAKE + "os.symlink('/etc/passwd', path)\nos._exit(1)\n"),
    "a pytest of its own": hostile(
        **{"pytest.py": "import sys\ndef main(*a):\n    sys.exit(1)\n", "sitecustomize.py": "import os\nos._exit(1)\n"}
    ),
    "invented tests": hostile(GHOSTS),
    "assertions switched off": hostile(QUIET, inside("raise ValueError")),
    "a runner patched while collecting": hostile(tests=PATCH + FAILING),
    "no tests at all": hostile(tests="X = 1\n"),
    "an interrupt": hostile(tests=inside("raise KeyboardInterrupt")),
    "killed from inside": hostile(tests=inside("os.kill(os.getpid(), signal.SIGKILL)")),
    "a crash of the interpreter": hostile(tests=inside("ctypes.string_at(0)")),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_artifact_does_not_pass(artifact: Builder, name: str) -> None:
    """Each of these gets a perfect score from a validator that believes what it is told."""
    found = rate(artifact("a", HOSTILE[name]))
    assert found.value is None or float(found.value) < 0.9, found
    assert found.reason


@pytest.mark.live
def test_an_endless_test_is_a_reason(artifact: Builder) -> None:
    """In bounded time, and said so."""
    found = rate(
        artifact("a", {"tests/test_a.py": "def test_one():\n    while True:\n        pass\n"}),
        Limits(wall_s=2.0, cpu_s=60),
    )
    assert found.value is None
    assert "still running after 2 s" in str(found.reason)


def test_what_the_tests_do_to_their_copy_nobody_else_sees(artifact: Builder) -> None:
    """The linter judges the work as it was handed in."""
    cleaner = "from pathlib import Path\n\n\ndef test_one():\n    Path('bad.py').unlink()\n    Path('new.py').write_text('')\n"
    root = artifact("a", {"bad.py": "import os\n", "tests/test_a.py": cleaner})
    assert rate(root).value == 1.0
    assert (root / "bad.py").exists()
    assert not (root / "new.py").exists()


def lint(root: Any) -> Measurement:
    with snapshot(root) as taken:
        child = tools.run_lint(taken, limits=LIMITS)
        return measure_lint(
            child.output, exit_code=child.exit_code, stopped=child.stopped, python_files=len(taken.entries)
        )


def test_clean_source_passes_the_linter(artifact: Builder) -> None:
    """No more is asked than ruff's own default rules."""
    assert lint(artifact("a", {"src/a.py": '"""A module."""\n\nX = 1\n'})).value is True


UNUSED = "import os\n"
DIRTY: dict[str, dict[str, str]] = {
    "an unused import": {"a.py": UNUSED},
    "a syntax error": {"a.py": "def (:\n"},
    "an undefined name": {"a.py": "print(x)\n"},
    "noqa on the line": {"a.py": "import os  # noqa\nimport sys  # noqa: F401\n"},
    "noqa for the file": {"a.py": "# ruff: noqa\nimport os\n"},
    "a configuration that ignores": {"a.py": UNUSED, "ruff.toml": "[lint]\nignore = ['F']\n"},
    "a project file that excludes": {"a.py": UNUSED, "pyproject.toml": "[tool.ruff]\nexclude = ['*']\n"},
    "a hidden configuration": {"a.py": UNUSED, ".ruff.toml": "exclude = ['a.py']\n"},
    "a gitignore": {"a.py": UNUSED, ".gitignore": "*\n"},
    "a folder that is skipped by default": {"build/a.py": UNUSED},
    "an environment that is none": {"venv/a.py": UNUSED},
    "site-packages": {"site-packages/a.py": UNUSED},
    "a nested configuration": {"src/a.py": UNUSED, "src/ruff.toml": "[lint]\nselect = []\n"},
}


@pytest.mark.parametrize("name", sorted(DIRTY))
def test_source_with_findings_does_not_pass_the_linter(artifact: Builder, name: str) -> None:
    """Whatever the artifact says about itself."""
    found = lint(artifact("a", DIRTY[name]))
    assert found.value is False, found
    assert found.reason


def test_the_linter_sees_the_artifact_and_nothing_above_it(artifact: Builder) -> None:
    """The original scanned two folders above, which is another tree."""
    root = artifact("above/inner/a", {"a.py": "X = 1\n"})
    (root.parent.parent / "bad.py").write_text(UNUSED)
    (root.parent / "ruff.toml").write_text("[lint]\nselect = ['ALL']\n")
    assert lint(root).value is True
