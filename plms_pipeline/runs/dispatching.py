"""Which cards have their turn, which never will, and when is the next attempt?

A card goes out when every task that it depends on has succeeded; it never will when one of them failed or was skipped, and
then neither will those that depend on it. The stub executor of the sources ignored dependencies altogether.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from plms_pipeline.runs.ids import path_safe

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
LONGEST_HELD_S: Final = 4.0
LONGEST_ASKED_S: Final = 300.0
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


def turn_of(cards: Iterable[WaitingCard], states: Mapping[str, Mapping[str, str]]) -> Turn:
    """Sort waiting cards by the states of the tasks that they depend on.

    Args:
        cards: cards that wait, in the order in which they should go.
        states: run → task → status, of every task of their runs.
    """
    waiting = list(cards)
    hopeless = _hopeless(waiting, states)
    ready = tuple(
        card.card_key
        for card in waiting
        if card.card_key not in hopeless and all(states[card.run_id].get(name) == "SUCCESS" for name in card.depends_on)
    )
    return Turn(ready, {card.card_key: hopeless[card.card_key] for card in waiting if card.card_key in hopeless})


def _hopeless(waiting: Iterable[WaitingCard], states: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Card → why it never has its turn; each dependency is looked at once, however long the chains are."""
    dependents: defaultdict[tuple[str, str], list[WaitingCard]] = defaultdict(list)
    found: dict[str, str] = {}
    spreading: list[tuple[WaitingCard, str]] = []
    for card in waiting:
        for name in card.depends_on:
            state = states.get(card.run_id, {}).get(name)
            dependents[card.run_id, name].append(card)
            if state is None:
                spreading.append((card, f"it depends on {name}, which the run does not hold"))
            elif state in _DEAD:
                spreading.append((card, f"it depends on {name}, which did not succeed"))
    while spreading:
        card, reason = spreading.pop()
        if card.card_key in found:
            continue
        found[card.card_key] = reason
        why = f"it depends on {card.task_id}, which did not succeed"
        spreading += [(dependent, why) for dependent in dependents[card.run_id, card.task_id]]
    return found


def wait_s(attempts: int, asked_s: float | None = None, *, holds_slot: bool = False) -> float:
    """Seconds until the next attempt after `attempts` failed ones: 1, 2, 4 … 30; longer where the executor asks for it.

    Args:
        holds_slot: it may have arrived, and keeps a slot until that is known: 1, 2, 4 at most, for others wait meanwhile. A
            lane has no more of these than slots.
        asked_s: what the executor asks for. Five minutes at most are believed: a number that is wrong by its unit, or meant
            badly, would put work off for years.
    """
    longest = LONGEST_HELD_S if holds_slot else LONGEST_WAIT_S
    ours = min(longest, FIRST_WAIT_S * 2.0 ** min(16, max(0, attempts - 1)))
    return max(ours, min(LONGEST_ASKED_S, asked_s or 0.0))


def staging_path(run_id: str, task_id: str, attempt: int) -> str:
    """Where an attempt puts its artifacts, below the data directory.

    Raises:
        BadInput: run or task may not become part of a path.
    """
    return f"runs/{path_safe(run_id, 'run id')}/staging/{path_safe(task_id, 'task id')}/{attempt}"
