"""What is a rule of the simulation?

A rule reads the changes of each transaction and keeps a small model of its own: plain dictionaries that are filled from the
journal and from the executor's truth, never from the product's code. It says what does not hold at the first transaction after
which it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from plms_pipeline_tests.simulation.journal import Change

if TYPE_CHECKING:
    from plms_pipeline_tests.simulation.world import Room

Handler = Callable[[Change], None]
ENDS = frozenset({"SUCCESS", "FAIL", "SKIPPED"})


# Of cards and effects; events may be claimed for longer where they are measured, which no world does.
LONGEST = timedelta(minutes=10)


class Violated(AssertionError):
    """A rule does not hold: which, and where."""

    def __init__(self, check: str, said: str) -> None:
        super().__init__(f"{check}: {said}")
        self.check = check


def holds(check: str, is_true: bool, said: str) -> None:
    """Insist.

    Raises:
        Violated: it is not true.
    """
    if not is_true:
        raise Violated(check, said)


def moment(text: str) -> datetime:
    """A moment as SQLite holds it."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Rule:
    """One rule; `handlers` says which tables it reads. `committed` is called after each transaction, `settled` after a calm."""

    room: Room
    tables: ClassVar[tuple[str, ...]] = ()

    def saw(self, change: Change) -> None:
        """One change."""

    def committed(self) -> None:
        """The transaction is over."""

    def settled(self) -> None:
        """Everything has come to rest."""


@dataclass
class States(Rule):
    """Every state only moves on, and what has ended stays ended."""

    tables = (
        "projects", "project_runs", "run_tasks", "job_cards", "slots", "obligations", "inbox_events", "outbox_events",
        "dead_letters",
    )  # fmt: skip
    MAY: ClassVar[dict[str, dict[str, str]]] = {
        "projects": {
            "approved": "executing cancelled", "executing": "validating cancelled", "completed": "", "cancelled": "",
            "validating": "completed needs_review cancelled", "needs_review": "executing completed cancelled",
        },
        "project_runs": {"QUEUED": "RUNNING FAIL SKIPPED", "RUNNING": "SUCCESS FAIL"},
        "run_tasks": {"QUEUED": "RUNNING FAIL SKIPPED", "RUNNING": "SUCCESS FAIL"},
        "job_cards": {"WAITING": "SUBMITTED ENDED CANCELLED", "SUBMITTED": "WAITING ENDED CANCELLED"},
        "slots": {"HELD": "SUSPECT RELEASED", "SUSPECT": "HELD RELEASED"},
        "obligations": {"pending": "terminal"},
        "inbox_events": {"pending": "settled ignored refused"},
        # What failed for good is done again when its dead letter is retried.
        "outbox_events": {"pending": "done failed", "failed": "pending"},
        "dead_letters": {
            "ready": "processing permanent quarantined done", "processing": "ready permanent quarantined done",
            "permanent": "ready done quarantined", "quarantined": "ready done permanent", "done": "ready permanent",
        },
    }  # fmt: skip
    states: dict[tuple[str, object], str] = field(default_factory=dict)

    def saw(self, change: Change) -> None:
        before = self.states.get((change.table, change.key))
        now = str(change.now)
        if change.table != "slots" and before is not None and before != now:
            allowed = self.MAY[change.table].get(before, "").split()
            holds("states move on", now in allowed, f"{change.table} {change.key} was {before} and is {now}")
        elif change.table == "slots" and change.was is not None and change.was != now:
            allowed = self.MAY["slots"].get(change.was, "").split()
            holds("states move on", now in allowed, f"the slot of {change.key} was {change.was} and is {now}")
        self.states[change.table, change.key] = now

    def settled(self) -> None:
        for table, bad in (
            ("project_runs", ("QUEUED", "RUNNING")), ("run_tasks", ("QUEUED", "RUNNING")),
            ("job_cards", ("WAITING", "SUBMITTED")), ("slots", ("HELD", "SUSPECT")), ("obligations", ("pending",)),
            ("inbox_events", ("pending",)), ("outbox_events", ("pending",)), ("dead_letters", ("processing",)),
        ):  # fmt: skip
            stuck = [key for (of, key), state in self.states.items() if of == table and state in bad]
            if table == "outbox_events":
                # A copy of the passport is a file that this world does not write.
                stuck = [key for key in stuck if not str(key).startswith("passport:")]
            holds("nothing is stuck", not stuck, f"{table} at rest: {stuck[:3]} ({len(stuck)})")


@dataclass
class Leases(Rule):
    """What somebody has claimed under a lease that goes on is nobody else's.

    One that ends later than any claim made now would is from before the clock went back: it may be taken, or what a wrong
    clock claimed would wait for years.
    """

    tables = ("job_cards", "inbox_events", "outbox_events", "dead_letters")

    def saw(self, change: Change) -> None:
        old, new, until = change.a, change.b, change.c
        if old is None or new is None or old == new or until is None:
            return
        goes_on = self.room.clock.latest < moment(until) <= self.room.clock.now() + LONGEST
        taken = goes_on and self.room.is_alive(old)
        holds(
            "a lease is one's own", not taken,
            f"{change.table} {change.key} is {old}'s until {until}, and {new} took it",
        )  # fmt: skip


def watched(rules: Sequence[Rule]) -> dict[str, list[Handler]]:
    """Table → what reads its changes."""
    found: dict[str, list[Handler]] = {}
    for rule in rules:
        for table in rule.tables:
            found.setdefault(table, []).append(rule.saw)
    return found
