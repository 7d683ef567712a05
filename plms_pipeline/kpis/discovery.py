"""Which tests does the source promise?

The report of a test run is written inside the process that runs the artifact's own code, so its silence proves nothing: a
`conftest.py` may deselect, hide or delete the tests that fail. Here the source itself is read, without being executed, and
every test function found must appear in the report.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

MAXIMUM_SOURCE: int = 300_000


def is_test_file(path: str) -> bool:
    """Whether pytest collects this file by its default names: `test_*.py` and `*_test.py`."""
    name = path.rpartition("/")[2]
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))


def test_names(path: str, source: str) -> frozenset[str]:
    """The tests that a file defines at its top level or in test classes, as `package.module[.Class]::function`.

    Fixtures, nested functions and classes with an `__init__` are left out, as pytest does; parametrised cases count once.
    A file that cannot be parsed promises nothing here: pytest reports it as a collection error, which counts as a failure.
    """
    if len(source) > MAXIMUM_SOURCE:
        return frozenset()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    return frozenset(_names(tree.body, path.removesuffix(".py").replace("/", ".")))


def _names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("test") and not any(_is_fixture(each) for each in node.decorator_list):
                yield f"{prefix}::{node.name}"
        elif isinstance(node, ast.ClassDef) and _is_test_class(node):
            yield from _names(node.body, f"{prefix}.{node.name}")


def _is_fixture(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
    return name in ("fixture", "yield_fixture")


def _is_test_class(node: ast.ClassDef) -> bool:
    bases = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in node.bases}
    if any(base.endswith("TestCase") for base in bases):
        return True
    makes_itself = any(isinstance(each, ast.FunctionDef) and each.name == "__init__" for each in node.body)
    return node.name.startswith("Test") and not makes_itself
