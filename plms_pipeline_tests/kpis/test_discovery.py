"""What the source promises, read without running it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.kpis.discovery import is_test_file, test_names
from plms_pipeline.kpis.junit import parse_collected

test_names.__test__ = False  # type: ignore[attr-defined]  # imported, not a test

SOURCE = """
import unittest
import pytest


@pytest.fixture
def test_data():
    return 1


@pytest.fixture(scope="module")
def test_more():
    return 1


def test_plain():
    def test_nested():
        pass


async def helper():
    pass


@pytest.mark.parametrize("x", [1, 2, 3])
def test_cases(x):
    pass


class TestGroup:
    def test_member(self):
        pass

    def helper(self):
        pass

    class TestInner:
        def test_deep(self):
            pass


class TestMakesItself:
    def __init__(self):
        pass

    def test_never(self):
        pass


class Suite(unittest.TestCase):
    def test_case(self):
        pass


class Plain:
    def test_not_collected(self):
        pass
"""


@pytest.mark.live
def test_names_are_those_that_pytest_collects(tmp_path: Path) -> None:
    """Compared with the real pytest: a name too many would fail good work, one too few could be hidden."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(SOURCE)
    child = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    collected = parse_collected(child.stdout)
    assert set(collected) == test_names("tests/test_a.py", SOURCE)
    assert collected["tests.test_a::test_cases"] == 3


@pytest.mark.parametrize("source", ["def broken(:", "\0", "(" * 1000, "x" * 400_000, "-" * 5000 + "1"])
def test_source_that_cannot_be_parsed_promises_nothing(source: str) -> None:
    """And it must not crash the night; pytest reports it as a collection error."""
    assert test_names("tests/test_x.py", source) == frozenset()


@given(st.text(max_size=200))
def test_any_text_is_survived(source: str) -> None:
    """Whatever somebody calls test_x.py."""
    assert isinstance(test_names("tests/test_x.py", source), frozenset)


@pytest.mark.parametrize(
    ("path", "is_one"),
    [("tests/test_a.py", True), ("tests/a_test.py", True), ("tests/helper.py", False), ("tests/test_a.txt", False),
     ("tests/conftest.py", False), ("tests/test_dir/data.py", False)],
)  # fmt: skip
def test_files_are_found_by_pytests_own_names(path: str, is_one: bool) -> None:
    """The artifact's configuration cannot change them."""
    assert is_test_file(path) is is_one


def test_collected_output_is_counted_per_function() -> None:
    """Parameters may hold any character, also those that separate names."""
    lines = ["tests/test_a.py::test_x[1]", "tests/test_a.py::test_x[a::b]", "tests/sub/test_b.py::TestC::test_y"]
    output = "\n".join([*lines, "", "3 tests collected"])
    assert parse_collected(output) == Counter({"tests.test_a::test_x": 2, "tests.sub.test_b.TestC::test_y": 1})
