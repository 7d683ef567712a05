"""What does a source of readings get, and what does it give?

A source is a small function: it looks at one kind of fact and says what it found, subject by subject. It decides nothing.
One that cannot look raises, and then nothing of what it would have said moves; one that knows that it did not look at a
subject says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from plms_pipeline.alerts.inputs import INPUTS
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.planning import Look
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """What a source may use.

    Args:
        now: when it is asked; every reading is of this moment.
        memo: what it gave as `memo` at its last successful look, None at the first.
        last_at: when that was.
    """

    registry: Registry
    settings: Settings
    now: datetime
    memo: Any = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a source found.

    Args:
        readings: one per input and subject.
        untouched: subjects that it did not look at this time: they stay as they are.
        unknown: inputs that it could say nothing about.
        memo: JSON that it wants to have at its next look.
    """

    readings: tuple[Reading, ...] = ()
    untouched: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    memo: Any = None

    def looks(self, source: str, at: datetime) -> dict[str, Look]:
        """Input → what was seen of it, for every input of the source that it could look at."""
        return {
            name: Look(tuple(one for one in self.readings if one.input == name), at, self.untouched)
            for name, known in INPUTS.items()
            if known.source == source and name not in self.unknown
        }


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of fact. `every_s`: seconds between two looks."""

    name: str
    look: Callable[[Asked], Seen]
    every_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Sight:
    """One look as it came out."""

    source: str
    at: datetime
    seen: Seen = field(default_factory=Seen)
    error: str | None = None

    def looks(self) -> Mapping[str, Look]:
        """Input → what was seen; nothing when the look failed."""
        return {} if self.error is not None else self.seen.looks(self.source, self.at)
