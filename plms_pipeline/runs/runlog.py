"""What happened in a run, line by line, in words that can be searched for?

The lines are made from the rows of `state_transitions`, never written beside them: a process that dies between a change and
its line would otherwise leave a log that knows less than the books. `State transition` and `SECURITY VIOLATION` are the words
that the guides search for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened: `kind` is transition or violation. `number` orders lines of the same moment."""

    at: datetime
    number: int
    kind: str
    subject: str
    old: str | None
    new: str
    actor: str
    reason: str | None

    def text(self) -> str:
        """As it stands in the log."""
        stamp = self.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        why = f" reason={_quoted(self.reason)}" if self.reason else ""
        if self.kind == "violation":
            return f"{stamp} [ERROR] SECURITY VIOLATION {self.subject}: {self.new} actor={self.actor}{why}"
        level = "ERROR" if self.new == "FAIL" else "INFO"
        return f"{stamp} [{level}] State transition {self.subject}: {self.old or '(new)'} -> {self.new} actor={self.actor}{why}"

    def as_json(self) -> dict[str, Any]:
        """As a program reads it."""
        return {
            "at": self.at.isoformat(), "kind": self.kind, "subject": self.subject, "from": self.old, "to": self.new,
            "actor": self.actor, "reason": self.reason,
        }  # fmt: skip


def log_text(run_id: str, lines: Iterable[Line]) -> str:
    """The whole log of a run."""
    return "".join([f"# run {run_id}\n", *(f"{line.text()}\n" for line in lines)])


def _quoted(text: str) -> str:
    return '"' + "".join(c if c.isprintable() else " " for c in text).replace('"', "'")[:500] + '"'
