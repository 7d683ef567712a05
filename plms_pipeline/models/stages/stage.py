"""What is told of a stage: facts, texts, and which of its sentences are true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Fact: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Check:
    """One sentence (`stages.names`), whether it is true, and if not: why, and what helps."""

    name: str
    passed: bool
    why: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """What is told of an asset. A fact of None is unknown; `texts` are Markdown, `paths` are of this machine."""

    asset: str
    facts: Mapping[str, Fact]
    checks: tuple[Check, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)


def shown(text: object) -> str:
    """Text as Markdown shows it: signs that could begin markup stand as their character entities."""
    return "".join(f"&#{ord(sign)};" if sign in "&<>|`*_[]()!\\#~:\n" else sign for sign in str(text))


def figure(value: object) -> str:
    """A number in four digits, `unknown` for None, anything else as text."""
    if value is None:
        return "unknown"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return shown(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def table(rows: Mapping[str, object], *, head: tuple[str, str] = ("figure", "value")) -> str:
    """A table of two columns in Markdown."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|--:|"]
    return "\n".join([*lines, *(f"| {shown(name)} | {figure(value)} |" for name, value in rows.items())])
