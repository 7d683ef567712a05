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
    "tests/test_price.py": "import pytest\nfrom shop.price import gross\nfrom tests.helper import NET\n\n\n"
    "@pytest.mark.parametrize('net', [1, 2, 3])\ndef test_gross(net, rate):\n    assert gross(net, rate) == round(net * 1.2, 2)\n\n\n"
    "def test_writes(tmp_path):\n    (tmp_path / 'x').write_text('1')\n\n\ndef test_helper():\n    assert NET == 10\n",
    "tests/deep/test_more.py": "import unittest\n\n\nclass Case(unittest.TestCase):\n    def test_it(self):\n        self.assertTrue(True)\n",
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
        "@pytest.mark.xfail\ndef test_x():\n    assert False\n\n\n@pytest.mark.skipif(True, reason='no')\ndef test_i():\n    pass\n"
    )
    assert rate(artifact("a", {"tests/test_a.py": source})).value == 0.25


GREEN = "import pytest\n\n\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n    out = yield\n    out.get_result().outcome = 'passed'\n    out.get_result().longrepr = None\n"
FAKE = "<testsuites><testsuite tests='9' failures='0'><testcase classname='tests.test_a' name='test_one'/></testsuite></testsuites>"
FIND_REPORT = "import sys\npath = next(a.partition('=')[2] for a in sys.argv if a.startswith('--junitxml'))\n"
REWRITE = (
    "import atexit, re, sys\n"
    "def green():\n"
    "    for a in sys.argv:\n"
    "        if a.startswith('--junitxml'):\n"
    "            p = a.partition('=')[2]\n"
    "            t = open(p).read()\n"
    "            open(p, 'w').write(re.sub(r'<failure.*?</failure>', '', t, flags=re.S))\n"
    "atexit.register(green)\n"
)
HOSTILE: dict[str, dict[str, str]] = {
    "every outcome turned green by a hook": {"tests/conftest.py": GREEN, "tests/test_a.py": FAILING},
    "green only in a subfolder": {"tests/sub/conftest.py": GREEN, "tests/sub/test_a.py": FAILING, "tests/test_b.py": "def test_b():\n    pass\n"},
    "failing tests deselected": {
        "tests/conftest.py": "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if i.name != 'test_one']\n",
        "tests/test_a.py": FAILING,
    },
    "failing parameters deselected": {
        "tests/conftest.py": "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if 'bad' not in i.name]\n",
        "tests/test_a.py": "import pytest\n\n\n@pytest.mark.parametrize('x', ['good', 'bad'])\ndef test_x(x):\n    assert x == 'good'\n",
    },
    "files ignored": {"tests/conftest.py": "collect_ignore = ['test_a.py']\n", "tests/test_a.py": FAILING, "tests/test_b.py": "def test_b():\n    pass\n"},
    "test files deleted before collection": {
        "tests/conftest.py": "import os\nos.remove(os.path.join(os.path.dirname(__file__), 'test_a.py'))\n",
        "tests/test_a.py": FAILING, "tests/test_b.py": "def test_b():\n    pass\n",
    },
    "configuration that selects": {"pytest.ini": "[pytest]\naddopts = -k test_two\n", "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-k test_two'\n", "tests/test_a.py": FAILING},
    "exit at once with success": {"tests/test_a.py": "import os\nos._exit(0)\n" + FAILING},
    "exit in a test with success": {"tests/test_a.py": "import os\n\n\ndef test_one():\n    os._exit(0)\n"},
    "pytest.exit with success": {"tests/test_a.py": "import pytest\n\n\ndef test_one():\n    pytest.exit('done', returncode=0)\n\n\ndef test_two():\n    assert False\n"},
    "a report printed": {"tests/test_a.py": f"print({FAKE!r})\nimport os\nos._exit(0)\n\n\ndef test_one():\n    pass\n"},
    "a report written beforehand": {"tests/conftest.py": f"{FIND_REPORT}open(path, 'w').write({FAKE!r})\nimport os\nos._exit(0)\n", "tests/test_a.py": FAILING},
    "a report written with the right exit code": {"tests/conftest.py": f"{FIND_REPORT}open(path, 'w').write({FAKE!r})\nimport os\nos._exit(1)\n", "tests/test_a.py": FAILING},
    "a report rewritten at exit": {"tests/conftest.py": REWRITE, "tests/test_a.py": FAILING},
    "a report that is a link": {"tests/conftest.py": f"{FIND_REPORT}import os\nos.symlink('/etc/passwd', path)\nos._exit(1)\n", "tests/test_a.py": FAILING},
    "a pytest of its own": {"pytest.py": "import sys\nprint('all passed')\ndef main(*a):\n    sys.exit(1)\n", "sitecustomize.py": "import os\nos._exit(1)\n", "tests/test_a.py": FAILING},
    "invented tests": {
        "tests/conftest.py": "import pytest\n\n\ndef pytest_collection_modifyitems(items):\n    one = items[0]\n    for n in range(50):\n"
        "        items.append(pytest.Function.from_parent(one.parent, name=f'test_ghost_{n}', callobj=lambda: None))\n",
        "tests/test_a.py": FAILING,
    },
    "assertions switched off": {"tests/conftest.py": "import builtins\nbuiltins.AssertionError = type('Quiet', (BaseException,), {})\n", "tests/test_a.py": "def test_one():\n    raise ValueError\n"},
    "a runner patched while collecting": {"tests/test_a.py": "import _pytest.python\n_pytest.python.Function.runtest = lambda self: None\n" + FAILING},
    "no tests at all": {"tests/test_a.py": "X = 1\n"},
    "an interrupt": {"tests/test_a.py": "def test_one():\n    raise KeyboardInterrupt\n"},
    "killed from inside": {"tests/test_a.py": "import os, signal\n\n\ndef test_one():\n    os.kill(os.getpid(), signal.SIGKILL)\n"},
    "stack overflow": {"tests/test_a.py": "import ctypes\n\n\ndef test_one():\n    ctypes.string_at(0)\n"},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_artifact_does_not_pass(artifact: Builder, name: str) -> None:
    """Each of these gets a perfect score from a validator that believes what it is told."""
    found = rate(artifact("a", HOSTILE[name]))
    assert found.value is None or float(found.value) < 0.9, found
    assert found.reason


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
