"""How do the dead letters stand?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal

from plms_pipeline.clock import Clock
from plms_pipeline.letters import store
from plms_pipeline.letters.reasons import classify, template_of
from plms_pipeline.letters.rules import OPEN, Letter
from plms_pipeline.letters.store import Group
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables.vocabulary import LETTER_CLASSES, LETTER_STATES

# What may be listed: letters in one state, `open`: what is still owed, `all`.
Shown = Literal["open", "ready", "processing", "done", "permanent", "quarantined", "all"]
_STATES: Final[dict[Shown, Collection[str] | None]] = {"open": None, "all": ()}


@dataclass(frozen=True, slots=True)
class Status:
    """The letters by state and class. `backlog` is what is still owed; `retry_success` of those whose retries are over, the
    share that a retry helped, None before any was."""

    by_state: dict[str, int]
    by_class: dict[str, int]
    by_kind: dict[str, int]
    backlog: int
    due: int
    oldest_open_at: datetime | None
    helped: int
    over: int
    groups: tuple[Group, ...]
    letters: tuple[Letter, ...]

    @property
    def retry_success(self) -> float | None:
        """Between 0 and 1."""
        return self.helped / self.over if self.over else None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "backlog": self.backlog, "due": self.due, "by_state": self.by_state, "by_class": self.by_class,
            "by_kind": self.by_kind, "oldest_open_at": self.oldest_open_at.isoformat() if self.oldest_open_at else None,
            "retries_helped": self.helped, "retries_over": self.over, "retry_success_ratio": self.retry_success,
            "fingerprints": [asdict(group) | {"newest_at": group.newest_at.isoformat()} for group in self.groups],
            "letters": [as_json(letter) for letter in self.letters],
        }  # fmt: skip


def status(
    registry: Registry, *, clock: Clock, limit: int = 20, states: Collection[str] | None = None
) -> Status:  # fmt: skip
    """Count the letters; the first `limit` of those in `states` (None: still owed; none named: all), those due first."""
    with registry.reading() as session:
        counted = store.counts(session)
        helped, over = store.retried(session)
        due = store.count_due(session, now=clock.now())
        oldest = store.oldest_open(session)
        groups = store.groups(session)
        letters = store.listed(session, states=OPEN if states is None else states or None, limit=limit)
    by_state, by_class, by_kind = (
        Counter(dict.fromkeys(LETTER_STATES, 0)),
        Counter(dict.fromkeys(LETTER_CLASSES, 0)),
        Counter[str](),
    )
    for kind, error_class, state, n in counted:
        by_state[state] += n
        if state != "done":
            by_class[error_class] += n
            by_kind[kind] += n
    return Status(
        dict(by_state), dict(by_class), dict(by_kind), sum(by_state[state] for state in OPEN), due, oldest, helped, over,
        tuple(groups), tuple(letters),
    )  # fmt: skip


def states_of(shown: Shown) -> Collection[str] | None:
    """What `status` is asked for, by the word that people say."""
    return _STATES.get(shown, (shown,))


def decisions_about(registry: Registry, letter: Letter) -> list[dict[str, str | None]]:
    """What people did about a letter, the oldest first: `at`, `by`, `what`, and `why`; None where no reason is asked for."""
    with registry.reading() as session:
        rows = store.decided(session, letter)
    return [
        {"at": at.isoformat(), "by": actor, "what": action, "why": (details or {}).get("reason")}
        for at, actor, action, details in rows
    ]


def as_json(letter: Letter) -> dict[str, Any]:
    """One letter for machines, with what its reason was taken for."""
    told = asdict(letter) | {"label": classify(letter.reason).label, "template": template_of(letter.reason)}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()}
