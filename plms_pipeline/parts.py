"""Which parts lie in a package, and what does each offer? They are found, not listed: a new part is a new file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import Any


def parts_of(package: str, path: Iterable[str]) -> list[ModuleType]:
    """The modules of a package by name, imported.

    Args:
        package: its `__name__`.
        path: its `__path__`.
    """
    names = sorted(info.name for info in pkgutil.iter_modules(path))
    return [importlib.import_module(f"{package}.{name}") for name in names]


def offered(parts: Iterable[ModuleType], name: str) -> list[Any]:
    """What stands in the lists of this name, part after part; a part without one offers nothing."""
    return [one for part in parts for one in getattr(part, name, [])]
