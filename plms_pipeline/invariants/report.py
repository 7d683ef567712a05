"""What did the proof find, and how is it told to people and programs?

`violations` counts offending rows, never lines of text: the original counted headlines too. A check that could not run is
a violation of its own and is told as one; the original's crashed check showed up as "unknown", which nobody reads as red.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from plms_pipeline.invariants.rules import Invariant, Severity

CAP: Final = 20
"""Offenders that are named; the total is always told."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one check saw: how many rows it `checked`, how many of them offend, and the first `CAP` of those by name.

    `note` says why nothing was due where that needs saying.
    """

    checked: int
    total: int = 0
    offenders: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One invariant with what was found; `error` says why it could not be checked, and then it counts as violated."""

    invariant: Invariant
    found: Found
    duration_ms: float
    error: str | None = None

    @property
    def holds(self) -> bool:
        """Whether it was checked and nothing offends."""
        return self.error is None and self.found.total == 0

    @property
    def violations(self) -> int:
        """Offending rows; 1 when it could not be checked."""
        return self.found.total if self.error is None else 1

    @property
    def errors(self) -> tuple[str, ...]:
        """The offenders by name, the rest as a number, or why it could not be checked."""
        if self.error is not None:
            return (f"could not be checked: {self.error}",)
        hidden = self.found.total - len(self.found.offenders)
        return (*self.found.offenders, *((f"… and {hidden} more",) if hidden > 0 else ()))


@dataclass(frozen=True, slots=True)
class Report:
    """One proof of the books at `as_of` (aware, UTC).

    `full`: everything was proven, not only what changed. `is_empty`: nothing was ever booked, so nothing is proven.
    """

    as_of: datetime
    database: str
    full: bool
    results: tuple[Result, ...]
    is_empty: bool = False

    @property
    def failed(self) -> tuple[Result, ...]:
        """The invariants that do not hold."""
        return tuple(result for result in self.results if not result.holds)

    @property
    def holds(self) -> bool:
        """Whether every invariant was checked and holds."""
        return bool(self.results) and not self.failed

    @property
    def violations(self) -> int:
        """Offending rows over all invariants."""
        return sum(result.violations for result in self.results)


def line(result: Result) -> str:
    """`✓ every_run_has_a_passport: 10184/10184`: rows that hold of rows checked."""
    name, found = result.invariant.name, result.found
    if result.error is not None:
        return f"✗ {name}: could not be checked: {result.error}"
    mark = "✓" if result.holds else "✗" if result.invariant.severity is Severity.ERROR else "!"
    return f"{mark} {name}: {found.checked - found.total}/{found.checked}" + (f" ({found.note})" if found.note else "")


def told(report: Report) -> list[str]:
    """The report as lines for a terminal: one per invariant, offenders and remedy below those that do not hold."""
    lines = []
    for result in report.results:
        lines.append(line(result))
        if not result.holds:
            if result.error is None:
                lines.append(f"    {result.invariant.offence}:")
                lines += [f"    - {offender}" for offender in result.errors]
            lines.append(f"    remedy: {result.invariant.remedy}")
    return lines


def to_json(report: Report) -> dict[str, Any]:
    """The report for programs, with the keys that the original's readers know.

    `strict_mode` is `full` under the original's name; `errors` are the offenders by name, `violations` their number.
    """
    return {
        "timestamp": report.as_of.isoformat(),
        "db_path": report.database,
        "full": report.full,
        "strict_mode": report.full,
        "checks": {result.invariant.name: _check_json(result) for result in report.results},
        "summary": {
            "total_checks": len(report.results),
            "passed_checks": len(report.results) - len(report.failed),
            "failed_checks": len(report.failed),
            "total_violations": report.violations,
            "status": _status(report),
        },
    }


def _status(report: Report) -> str:
    """`pass`, `fail`, or `no_data`: every sentence is true of an empty registry, and none of them says anything."""
    if report.is_empty and report.holds:
        return "no_data"
    return "pass" if report.holds else "fail"


def _check_json(result: Result) -> dict[str, Any]:
    invariant = result.invariant
    return {
        "name": invariant.name,
        "kind": invariant.kind,
        "about": invariant.about,
        "severity": str(invariant.severity),
        "passed": result.holds,
        "checked": result.found.checked,
        "violations": result.violations,
        "errors": list(result.errors),
        "note": result.found.note,
        "offence": invariant.offence,
        "remedy": invariant.remedy,
        "duration_ms": round(result.duration_ms, 3),
    }
