"""Whose task is put aside for a project that has waited too long?

Slots are not taken away lightly: what was worked is not lost, but the task will hold its place twice. A task is paused when no
slot is free, a project is owed more than two of its own tasks, and another one holds more slots than it is entitled to. The
executor must be able to pause a single task (capability `pause_task`). No card is ever put aside twice, one at a time is in a
lane, and no more than the lane has slots: so there are never more pauses than tasks, whatever the shares do meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plms_pipeline.portfolio.fairness import TYPICAL_MS, LaneBook, Standing

PATIENCE_TASKS: Final = 2.0
# Pausing a task that is nearly done frees nothing. One that has taken twice its time is not: nobody knows when it ends.
LEAST_LEFT: Final = 0.5
OVERDUE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Running:
    """A task that holds a slot: for how long (ms), and whether it stays there whatever happens: it was put aside before, or the
    executor does not have it yet."""

    card_key: str
    project_id: int
    held_ms: float
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The card to pause, whose it is, and the project that has waited too long."""

    card_key: str
    project_id: int
    for_project_id: int


def victim(
    book: LaneBook, running: Sequence[Running], waiting: Mapping[int, int], *, cap: int,
    allowed: Collection[int] | None = None, least_owed_ms: float = 0.0,
) -> Choice | None:  # fmt: skip
    """What to pause for whom, or None.

    Args:
        book: of the lane, as the last round left it.
        running: what holds its slots.
        waiting: project → its eligible tasks that wait.
        cap: the lane's slots.
        allowed: projects whose tasks may be paused; None: all.
        least_owed_ms: nobody has waited too long who is owed less.
    """
    if len(running) < cap:
        return None
    typical = book.typical_ms or TYPICAL_MS
    held: dict[int, int] = {}
    for one in running:
        held[one.project_id] = held.get(one.project_id, 0) + 1

    def task_ms(project: int) -> float:
        return book.standings.get(project, Standing()).typical_ms or typical

    def standing(project: int) -> Standing:
        return book.standings.get(project, Standing())

    starved = {
        project for project, tasks in waiting.items()
        if tasks > 0
        and held.get(project, 0) < standing(project).rate
        and standing(project).owed_ms > max(least_owed_ms, PATIENCE_TASKS * task_ms(project))
    }  # fmt: skip
    candidates = [
        one for one in running
        if one.project_id not in starved and not one.stays and (allowed is None or one.project_id in allowed)
        and held[one.project_id] > standing(one.project_id).rate
        and not 1.0 - LEAST_LEFT < one.held_ms / task_ms(one.project_id) < OVERDUE
    ]  # fmt: skip
    if not starved or not candidates:
        return None
    given = min(candidates, key=lambda one: (standing(one.project_id).owed_ms, one.held_ms, one.card_key))
    most = max(starved, key=lambda project: (standing(project).owed_ms / task_ms(project), -project))
    return Choice(given.card_key, given.project_id, most)
