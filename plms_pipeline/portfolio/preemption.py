"""Whose task is put aside for a project that has waited too long?

Slots are not taken away lightly: what was worked is not lost, but the task will hold its place twice. A task is paused when no
slot is free, a project is owed more than two of its own tasks, and another one holds more slots than it is entitled to. The
executor must be able to pause a single task (capability `pause_task`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plms_pipeline.portfolio.fairness import TYPICAL_MS, LaneBook, Standing

PATIENCE_TASKS: Final = 2.0
# Pausing a task that is nearly done frees nothing.
LEAST_LEFT: Final = 0.5


@dataclass(frozen=True, slots=True)
class Running:
    """A task that holds a slot: since when (ms), and whether it was put aside before."""

    card_key: str
    project_id: int
    held_ms: float
    was_paused: bool = False


def victim(
    book: LaneBook, running: Sequence[Running], waiting: Mapping[int, int], *, cap: int, allowed: Collection[int] | None = None
) -> str | None:  # fmt: skip
    """The card to pause, or None.

    Args:
        book: of the lane, as the last round left it.
        running: what holds its slots.
        waiting: project → its eligible tasks that wait.
        cap: the lane's slots.
        allowed: projects whose tasks may be paused; None: all.
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
        and standing(project).owed_ms > PATIENCE_TASKS * task_ms(project)
    }  # fmt: skip
    candidates = [
        one for one in running
        if one.project_id not in starved and not one.was_paused and (allowed is None or one.project_id in allowed)
        and held[one.project_id] > standing(one.project_id).rate
        and task_ms(one.project_id) - one.held_ms >= LEAST_LEFT * task_ms(one.project_id)
    ]  # fmt: skip
    if not starved or not candidates:
        return None
    return min(candidates, key=lambda one: (standing(one.project_id).owed_ms, one.held_ms, one.card_key)).card_key
