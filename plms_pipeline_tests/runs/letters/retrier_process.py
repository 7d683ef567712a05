"""A retrier and an executor in one process that a test kills.

Its clock runs SPEED times as fast, so that the lease of a killed one ends while the test waits. Every run that is QUEUED is
ended at once, mostly by a failure in passing.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

from sqlalchemy import select

from plms_pipeline.errors import PlmsError
from plms_pipeline.letters.actions.retrying import retry_due
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProjectRun, RunTask
from plms_pipeline.runs.letters.actions import Retries, learn
from plms_pipeline.runs.store.transitions import move_run, move_task
from plms_pipeline_tests.runs.worlds import AT, WORLD

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Fast:
    """Machine time, SPEED times as fast since the epoch of this test."""

    def __init__(self, speed: float, began_s: float) -> None:
        self._speed, self._began_s = speed, began_s

    def now(self) -> datetime:
        return AT + timedelta(days=1, seconds=(time.time() - self._began_s) * self._speed)


def end_one(registry: Registry, clock: Fast, chance: Random) -> None:
    with registry.reading() as session:
        queued = session.scalars(select(ProjectRun.run_id).where(ProjectRun.status == "QUEUED")).all()
    for run_id in queued[:1]:
        fails = chance.random() < 0.7
        said = {"at": clock.now(), "actor": "settlement"}
        with registry.writing() as session:
            if not move_run(session, run_id, expected="QUEUED", new="RUNNING", **said):
                continue
            for task in session.scalars(select(RunTask.task_id).where(RunTask.run_id == run_id)).all():
                move_task(session, run_id, task, expected="QUEUED", new="RUNNING", **said)
                move_task(
                    session, run_id, task, expected="RUNNING", new="FAIL" if fails else "SUCCESS",
                    reason="connection reset" if fails else None, **said,
                )  # fmt: skip
            move_run(session, run_id, expected="RUNNING", new="FAIL" if fails else "SUCCESS", **said)


def main(url: str, speed: float, began_s: float, seed: int) -> None:
    registry, clock, chance = Registry.open(url), Fast(speed, began_s), Random(seed)
    retries = Retries(registry, clock, lambda: str(uuid4()), lambda: WORLD, lambda: None)
    holder = f"process-{uuid4()}"
    while True:
        with suppress(PlmsError):
            learn(registry, clock=clock)
            retry_due(registry, clock=clock, holder=holder, handlers=retries.handlers(), limit=1)
            end_one(registry, clock, chance)
        time.sleep(0.05 * chance.random())
