"""What is there to say, before anybody knows over which channel?

A message is kept as data beside the delivery that owes it, and rendered when it is sent: a payload that is refused can then
be mended by a release, and no secret of a channel is ever stored. `key` names the delivery for ever, `thread` everything
that is said about one group of episodes: services that know threads, incidents or references are given it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

Kind = Literal["fired", "acked", "escalated", "resolved", "test"]
WORDS: Final[dict[str, str]] = {
    "fired": "FIRING", "acked": "ACKNOWLEDGED", "escalated": "ESCALATED", "resolved": "RESOLVED", "test": "TEST",
}  # fmt: skip
# So many subjects are listed; the rest is counted.
MOST_LINES: Final = 20
MAX_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One subject of a message: `project:42`, what was measured, and the fact behind it."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Args:
        key: of this delivery; equal whenever it is sent again.
        thread: of everything that is said about these episodes; PagerDuty's `dedup_key`.
        severity: P0 to P3.
        title: one sentence without subjects.
        lines: the subjects that this message is about.
        more: how many are not listed.
        still: subjects of the same group that go on firing.
        at: when it happened, ISO 8601 with a zone.
        runbook: a URL, or the path of the page in the product.
        on_call: who looks after it now.
        level: how often it was escalated.
    """

    kind: Kind
    key: str
    thread: str
    rule: str
    severity: str
    title: str
    lines: tuple[Line, ...]
    at: str
    environment: str = "development"
    runbook: str = ""
    on_call: str = ""
    actor: str = ""
    reason: str = ""
    level: int = 0
    more: int = 0
    still: tuple[str, ...] = field(default=())

    @property
    def headline(self) -> str:
        """The one line that is read on a locked phone: state, severity, rule, and what."""
        count = len(self.lines) + self.more
        several = f" ({count} subjects)" if count > 1 else f" ({self.lines[0].subject})" if self.lines else ""
        return f"{WORDS[self.kind]} {self.severity} {self.rule}: {self.title}{several}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth saying besides: who, why, what goes on."""
        found = []
        if self.still:
            found.append(f"Still firing: {', '.join(self.still)}")
        if self.actor:
            found.append(f"By {self.actor}{f': {self.reason}' if self.reason else ''}")
        if self.level:
            found.append(f"Nobody has acknowledged it; escalation {self.level}")
        if self.on_call:
            found.append(f"On call: {self.on_call}")
        return tuple(found)

    @property
    def told(self) -> tuple[str, ...]:
        """The subjects, a line each."""
        lines = tuple(f"{line.subject}: {line.text}" for line in self.lines)
        return (*lines, f"and {self.more} more") if self.more else lines

    def as_json(self) -> dict[str, Any]:
        """As it is kept beside its delivery."""
        return {
            **asdict(self), "lines": [[line.subject, line.text] for line in self.lines], "still": list(self.still),
        }  # fmt: skip


def message_of(document: dict[str, Any]) -> Message:
    """The message that `as_json` gave."""
    lines = tuple(Line(str(subject), str(text)) for subject, text in document["lines"])
    return Message(**{**document, "lines": lines, "still": tuple(document["still"])})


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters, with a mark where it was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def lines_of(found: list[tuple[str, str]]) -> tuple[tuple[Line, ...], int]:
    """Lines that fit into every channel, and how many were left out."""
    shown = [Line(shortened(subject, 255), shortened(text, MAX_TEXT)) for subject, text in found[:MOST_LINES]]
    return tuple(shown), len(found) - len(shown)
