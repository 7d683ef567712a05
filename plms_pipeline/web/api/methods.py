"""Which methods does a path have?

The framework answers route by route: `Allow` names the methods of the first route that matches, and a path that one template
spells out (`/projects/create`) also matches another (`/projects/{project_id}`), whose route then complains about the id.
Here a path belongs to its most literal template, with all methods that any route has there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PARAMETER = re.compile(r"\{[^/{}]+\}")


@dataclass(frozen=True, slots=True)
class _Template:
    """One template: what it matches, and what may be asked of it."""

    pattern: re.Pattern[str]
    parameters: int
    methods: frozenset[str]


class MethodTable:
    """The methods of every path of an application.

    Args:
        endpoints: (template, method) of every route.
    """

    def __init__(self, endpoints: Iterable[tuple[str, str]]) -> None:
        found: dict[str, set[str]] = {}
        for path, method in endpoints:
            found.setdefault(path, set()).add(method)
        self._literal = {path: frozenset(methods) for path, methods in found.items() if "{" not in path}
        self._templates = sorted(
            (_template(path, frozenset(methods)) for path, methods in found.items() if "{" in path),
            key=lambda template: template.parameters,
        )

    def refused(self, path: str, method: str) -> frozenset[str] | None:
        """The methods of a path that a template spells out, when `method` is none of them; else None. One look-up."""
        allowed = self._literal.get(path)
        return allowed if allowed is not None and method not in allowed else None

    def allowed(self, path: str) -> frozenset[str]:
        """The methods of a path; empty when no template matches."""
        if path in self._literal:
            return self._literal[path]
        return next((t.methods for t in self._templates if t.pattern.fullmatch(path)), frozenset())


def allow_header(methods: Iterable[str]) -> str:
    """The value of `Allow`."""
    return ", ".join(sorted(methods))


def _template(path: str, methods: frozenset[str]) -> _Template:
    literal = _PARAMETER.split(path)
    return _Template(re.compile("[^/]+".join(re.escape(part) for part in literal)), len(literal) - 1, methods)
