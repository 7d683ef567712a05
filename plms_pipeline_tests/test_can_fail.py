"""Can every test fail?

A test that only calls something passes as long as nothing is raised, whatever comes back. Each must assert, expect an error, or
call something of ours that does; hypothesis' state machines are run by a call that raises.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# Of pytest, hypothesis and numpy: they raise by themselves.
RAISING = {"raises", "warns", "fail", "run_state_machine_as_test"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def called(function: Function) -> set[str]:
    """Names of what it calls, and of what it hands on to be called."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            named = [node.func, *node.args]
            found |= {one.attr for one in named if isinstance(one, ast.Attribute)}
            found |= {one.id for one in named if isinstance(one, ast.Name)}
    return found


def can_fail(function: Function, ours: set[str]) -> bool:
    raises, names = seen(function)
    return raises or any(name in RAISING or name in ours or name.startswith("assert_") for name in names)


@cache
def seen(function: Function) -> tuple[bool, set[str]]:
    """Whether it raises by itself, and what it calls: walked once, however often it is asked for."""
    return any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(function)), called(function)


def failing_names(helpers: dict[str, list[Function]]) -> set[str]:
    """Helpers that can fail, by themselves or by what they call."""
    found: set[str] = set()
    while True:
        more = {name for name, made in helpers.items() if any(can_fail(one, found) for one in made)}
        if more == found:
            return found
        found = more


@pytest.mark.live
def test_every_test_can_fail() -> None:
    """One that cannot is counted with the others, and proves nothing."""
    helpers: dict[str, list[Function]] = defaultdict(list)
    tests = []
    for path in sorted(TESTS.rglob("*.py")):
        for function in functions(path):
            if function.name.startswith("test_"):
                tests.append((path, function))
            else:
                helpers[function.name].append(function)
    known = failing_names(helpers)
    wrong = [f"{path}:{one.lineno}: {one.name}" for path, one in tests if not can_fail(one, known)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("body", "can"),
    [
        ("work()", False),
        ("assert work()", True),
        ("with pytest.raises(ValueError):\n  work()", True),
        ("check()", True),
    ],
)
def test_a_test_that_looks_at_nothing_is_found(body: str, can: bool) -> None:
    """A net without meshes catches nothing."""
    function = ast.parse(f"def test_it_does():\n {body}").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert can_fail(function, {"check"}) is can
