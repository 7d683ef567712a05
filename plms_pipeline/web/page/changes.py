"""What changed between two snapshots, and what has a reader missed who was away for a while?

A change names sections of the page, projects, lanes and runs: the page asks again for those and no others. Changes are
numbered, and the newest few hundred are remembered. Who comes back with the number that he saw last is told everything since
as one change; who was away for too long, or was told by another process, is told to look at everything again. A reader who is
slow costs no memory: what he has not read is put together when he reads it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from plms_pipeline.web.page.facts import ProjectFacts, Snapshot

SECTIONS: Final = (
    "projects", "portfolio", "runs", "inbox", "killswitch", "alerts", "risk", "drift", "proofs",
)  # fmt: skip
REMEMBERED: Final = 512


@dataclass(frozen=True, slots=True)
class Change:
    """What to look at again."""

    sections: frozenset[str] = frozenset()
    projects: frozenset[int] = frozenset()
    lanes: frozenset[int] = frozenset()
    runs: frozenset[str] = frozenset()

    def __or__(self, other: Change) -> Change:
        """Both."""
        return Change(
            self.sections | other.sections, self.projects | other.projects, self.lanes | other.lanes,
            self.runs | other.runs,
        )  # fmt: skip

    def __bool__(self) -> bool:
        return bool(self.sections)

    def as_json(self) -> dict[str, Any]:
        """For the stream: everything in order."""
        return {
            "sections": [name for name in SECTIONS if name in self.sections], "projects": sorted(self.projects),
            "lanes": sorted(self.lanes), "runs": sorted(self.runs),
        }  # fmt: skip


EVERYTHING: Final = Change(sections=frozenset(SECTIONS))


def between(old: Snapshot, new: Snapshot) -> Change:
    """What differs between two snapshots; an empty change when they are equal."""
    sections: set[str] = set()
    before, after = _by(old.projects, lambda one: one.project_id), _by(new.projects, lambda one: one.project_id)
    projects = _differing(before, after)
    if projects or old.projects_in_all != new.projects_in_all:
        sections.add("projects")
    if any(_taught(before.get(number)) != _taught(after.get(number)) for number in projects):
        sections |= {"risk", "drift"}
    lanes = _differing(_by(old.lanes, lambda one: one.lane_id), _by(new.lanes, lambda one: one.lane_id))
    if lanes or old.queue != new.queue:
        sections.add("portfolio")
    runs = _differing(_by(old.runs, lambda one: one.run_id), _by(new.runs, lambda one: one.run_id))
    if runs:
        sections.add("runs")
    if old.waiting != new.waiting:
        sections.add("inbox")
    if old.switches != new.switches or _flag(old) != _flag(new):
        sections |= {"killswitch", "portfolio"}
    if old.alerts != new.alerts:
        sections.add("alerts")
    if old.outside[1:] != new.outside[1:]:
        sections.add("proofs")
    return Change(frozenset(sections), frozenset(projects), frozenset(lanes), frozenset(runs))


@dataclass(slots=True)
class Log:
    """The newest changes, numbered from 1.

    Args:
        name: of this log; numbers of another one mean nothing here.
    """

    name: str
    last: int = 0
    _kept: deque[Change] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def add(self, change: Change) -> int:
        """Remember a change; its number."""
        self._kept.append(change)
        self.last += 1
        return self.last

    def id_of(self, number: int) -> str:
        """A number as the stream tells it."""
        return f"{self.name}-{number}"

    def number_of(self, event_id: str | None) -> int | None:
        """The number that an id of this log stands for; None for any other."""
        name, dash, number = (event_id or "").rpartition("-")
        if not dash or name != self.name or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        found = int(number)
        return found if found <= self.last else None

    def since(self, number: int) -> Change | None:
        """Everything after a number as one change; None when that is not remembered any more."""
        missed = self.last - number
        if missed > len(self._kept):
            return None
        whole = Change()
        for place in range(len(self._kept) - missed, len(self._kept)):
            whole |= self._kept[place]
        return whole


def event(name: str, data: Mapping[str, Any], event_id: str | None = None) -> bytes:
    """One event of a stream (text/event-stream)."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    # JSON without spaces has no line break in it: the one thing that would end the data early.
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def told(change: Change, at: datetime) -> dict[str, Any]:
    """A change with the moment at which it was seen."""
    return {"at": at.isoformat(), **change.as_json()}


def _by(things: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, Any]:
    return {key(one): one for one in things}


def _differing(old: Mapping[Any, Hashable], new: Mapping[Any, Hashable]) -> set[Any]:
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


def _taught(project: ProjectFacts | None) -> tuple[int, int] | None:
    """What risk and drift are made of: they change when a receipt or a measured gate comes."""
    return None if project is None else (project.receipts, project.gates)


def _flag(snapshot: Snapshot) -> object:
    return snapshot.outside[0] if snapshot.outside else None
