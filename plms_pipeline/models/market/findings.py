"""What does a check say?

A stable name for machines, a count, the first offenders for people, and the remedy. A check that finds nothing says
nothing; whether an error stops the work (`strict`) or only takes the rows out is decided by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from plms_pipeline.errors import VerdictNo

Severity: TypeAlias = Literal["error", "warning"]
SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. An `error` makes rows unusable; a `warning` is for a person to judge."""

    name: str
    severity: Severity
    count: int
    offenders: tuple[str, ...]
    offence: str
    remedy: str

    @property
    def sentence(self) -> str:
        """The finding for people."""
        more = f", and {self.count - len(self.offenders)} more" if self.count > len(self.offenders) else ""
        named = f" ({'; '.join(self.offenders)}{more})" if self.offenders else ""
        return f"{self.name}: {self.count} × {self.offence}{named}. {self.remedy}"


def finding(
    name: str, severity: Severity, offenders: Sequence[str], offence: str, remedy: str, *, count: int | None = None
) -> Finding:
    """A finding that keeps the first `SHOWN` offenders; `count` when `offenders` is only the beginning."""
    total = len(offenders) if count is None else count
    return Finding(name, severity, total, tuple(offenders[:SHOWN]), offence, remedy)


def warned(
    name: str, offenders: Sequence[str], offence: str, remedy: str, *, count: int | None = None
) -> Finding | None:
    """A warning where there are offenders, else nothing."""
    return finding(name, "warning", offenders, offence, remedy, count=count) if offenders else None


def errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that make rows unusable."""
    return tuple(found for found in findings if found.severity == "error")


def insist(findings: Sequence[Finding], thing: str) -> None:
    """Strict mode: nothing may be found at all.

    Raises:
        VerdictNo: something was found; the message names each finding.
    """
    if findings:
        lines = "\n".join(f"- {found.sentence}" for found in findings)
        raise VerdictNo(f"{thing} does not pass the strict checks:\n{lines}", code="data_not_valid")
