"""What do cards give back when they leave the executor?

Slot and reservation of whatever ended there or was lost with its run; also where the end comes too late to change a state: a
slot that is held for a task that is over is held for nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from plms_pipeline.runs.actions.queueing import ended
from plms_pipeline.runs.settling import Attempt, Books, Completion, Run, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leaving:
    """A card that is no more at the executor; `is_booked`: its receipt is booked in this settlement."""

    card_key: str
    project_id: int
    run_id: str
    task_id: str
    lane_id: int
    attempt: int
    is_booked: bool = False


def leaving_of(books: Books, found: Iterable[Completion]) -> dict[str, Leaving]:
    """The cards that leave with these completions, and those that were cancelled; by their key.

    An attempt that was booked before has given back what it held then.
    """
    booked = {(done.run_id, done.task_id, done.attempt) for done in books.effects.booked}
    leaving: dict[str, Leaving] = {}
    for done in found:
        run = books.runs.get(done.run_id)
        task = run.tasks.get(done.task_id) if run else None
        attempt = task.attempts.get(done.attempt) if task else None
        if run is None or task is None or attempt is None:
            continue
        is_new = (done.run_id, done.task_id, done.attempt) in booked
        if is_new or not attempt.is_booked:
            leaving[attempt.card_key] = _one(run, task, attempt, is_booked=is_new)
    cancelled = {key for key, _ in books.effects.cards_cancelled}
    for run in books.runs.values() if cancelled else ():
        for task in run.tasks.values():
            for attempt in task.attempts.values():
                if attempt.card_key in cancelled:
                    leaving.setdefault(attempt.card_key, _one(run, task, attempt, is_booked=False))
    return leaving


def give_back(
    session: Session, leaving: Mapping[str, Leaving], rows: Iterable[Mapping[str, Any]], *, now: datetime
) -> None:
    """Release slots and settle reservations.

    Args:
        rows: the receipts that are booked in this settlement, with what was spent.
    """
    costs = {(row["run_id"], row["task_id"], row["attempt"]): row["cost_usd"] for row in rows}
    for key, one in sorted(leaving.items()):
        overrun = ended(
            session, key, one.lane_id, one.project_id, one.run_id, now=now, reason="ended", has_receipt=one.is_booked,
            cost_usd=costs.get((one.run_id, one.task_id, one.attempt)),
        )  # fmt: skip
        if overrun:
            log.info("overrun run_id=%s task_id=%s usd=%s", one.run_id, one.task_id, overrun)


def _one(run: Run, task: Task, attempt: Attempt, *, is_booked: bool) -> Leaving:
    return Leaving(
        attempt.card_key, run.project_id, run.run_id, task.task_id, task.lane_id, attempt.attempt, is_booked=is_booked
    )
