"""Which cards have their turn, which never will, and when is the next attempt?

A card goes out when every task that it depends on has succeeded; it never will when one of them failed or was skipped, and
then neither will those that depend on it. The stub executor of the sources ignored dependencies altogether.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from plms_pipeline.runs.ids import path_safe

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
_DEAD: Final = frozenset({"FAIL", "SKIPPED"})


@dataclass(frozen=True, slots=True)
class WaitingCard:
    """As much of a card as decides whether its turn has come. `depends_on` are task ids of the same run."""

    card_key: str
    run_id: str
    task_id: str
    depends_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """What may go now, and what never will: card → reason. Both in the order of the cards that were asked about."""

    ready: tuple[str, ...]
    hopeless: dict[str, str]


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a card may go now besides its dependencies: lane caps, shares, money. `reason` says why not."""

    admitted: bool
    reason: str | None = None


ADMITTED: Final = Admission(admitted=True)


def turn_of(cards: Iterable[WaitingCard], states: Mapping[str, Mapping[str, str]]) -> Turn:
    """Sort waiting cards by the states of the tasks that they depend on.

    Args:
        cards: cards that wait, in the order in which they should go.
        states: run → task → status, of every task of their runs.
    """
    waiting = list(cards)
    dead = {
        (run_id, task_id) for run_id, tasks in states.items() for task_id, status in tasks.items() if status in _DEAD
    }
    hopeless: dict[str, str] = {}
    found = True
    while found:
        found = False
        for card in waiting:
            if card.card_key in hopeless:
                continue
            broken = _broken(card, states.get(card.run_id, {}), dead)
            if broken is not None:
                hopeless[card.card_key] = broken
                dead.add((card.run_id, card.task_id))
                found = True
    ready = tuple(
        card.card_key
        for card in waiting
        if card.card_key not in hopeless and all(states[card.run_id].get(name) == "SUCCESS" for name in card.depends_on)
    )
    ordered = {card.card_key: hopeless[card.card_key] for card in waiting if card.card_key in hopeless}
    return Turn(ready, ordered)


def _broken(card: WaitingCard, states: Mapping[str, str], dead: Collection[tuple[str, str]]) -> str | None:
    for name in card.depends_on:
        if name not in states:
            return f"it depends on {name}, which the run does not hold"
        if (card.run_id, name) in dead:
            return f"it depends on {name}, which did not succeed"
    return None


def wait_s(attempts: int) -> float:
    """Seconds until the next attempt after `attempts` failed ones: 1, 2, 4 … 30."""
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(16, max(0, attempts - 1))))


def staging_path(run_id: str, task_id: str, attempt: int) -> str:
    """Where an attempt puts its artifacts, below the data directory.

    Raises:
        BadInput: run or task may not become part of a path.
    """
    return f"runs/{path_safe(run_id, 'run id')}/staging/{path_safe(task_id, 'task id')}/{attempt}"
