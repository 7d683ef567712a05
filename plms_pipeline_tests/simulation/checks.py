"""What must be true after every single step, whatever happened before it?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import text

from plms_pipeline_tests.simulation.world import Room

ENDS = {"SUCCESS", "FAIL", "SKIPPED"}


class Violated(AssertionError):
    """A rule does not hold; the message says which and where."""


@dataclass
class Watcher:
    """Looks at rows and at the executor's truth; remembers what has ended."""

    room: Room
    ended: dict[str, str] = field(default_factory=dict)
    looked: int = 0

    def look(self) -> None:
        """After a step.

        Raises:
            Violated: a rule does not hold.
        """
        self.looked += 1
        self._executor_was_told_right()
        with self.room.registry.reading() as session:
            self._what_ended_stays(session)
            self._receipts_are_true(session)

    def settled(self) -> None:
        """After a calm: everything has come to its end.

        Raises:
            Violated: something is stuck, lost, or counted wrong.
        """
        with self.room.registry.reading() as session:
            open_runs = session.execute(
                text("SELECT run_id, status FROM project_runs WHERE status IN ('QUEUED', 'RUNNING')")
            ).all()
            self._holds(not open_runs, f"runs are stuck: {[tuple(run) for run in open_runs][:3]}")
            open_tasks = session.execute(
                text("SELECT run_id, task_id, status FROM run_tasks WHERE status IN ('QUEUED', 'RUNNING')")
            ).all()
            self._holds(not open_tasks, f"tasks are stuck: {[tuple(task) for task in open_tasks][:3]}")
            pending = session.execute(text("SELECT event_id FROM inbox_events WHERE state = 'pending'")).all()
            self._holds(not pending, f"{len(pending)} events were never settled")
            told = {
                (row[0], row[1], row[2])
                for row in session.execute(
                    text("SELECT run_id, task_id, attempt FROM task_receipts WHERE source = 'plms'")
                )
            }
        truth = {each.name for each in self.room.executor.attempts.values() if each.ended_at is not None}
        self._holds(told >= truth, f"work was done that no receipt tells of: {sorted(truth - told)[:3]}")
        running = [each.name for each in self.room.executor.running()]
        self._holds(not running, f"the executor still works on {running[:3]}")

    def _executor_was_told_right(self) -> None:
        self._holds(not self.room.executor.problems, "; ".join(self.room.executor.problems[:3]))

    def _what_ended_stays(self, session: object) -> None:
        rows = list(session.execute(text("SELECT run_id, status FROM project_runs")))  # type: ignore[attr-defined]
        rows += [
            (f"{run}/{task}", status)
            for run, task, status in session.execute(text("SELECT run_id, task_id, status FROM run_tasks"))  # type: ignore[attr-defined]
        ]
        for name, status in rows:
            before = self.ended.get(name)
            self._holds(before is None or before == status, f"{name} was {before} and is {status}")
            if status in ENDS:
                self.ended[name] = status

    def _receipts_are_true(self, session: object) -> None:
        found = session.execute(  # type: ignore[attr-defined]
            text("SELECT run_id, task_id, attempt, cost_usd, status FROM task_receipts WHERE source = 'plms'")
        ).all()
        counted = Counter((run, task, attempt) for run, task, attempt, _, _ in found)
        self._holds(not counted or max(counted.values()) == 1, "an attempt has two receipts")
        truth = {each.name: each for each in self.room.executor.attempts.values()}
        for run, task, attempt, cost, status in found:
            done = truth.get((run, task, attempt))
            self._holds(done is not None, f"a receipt tells of {run}/{task}, which nobody worked on")
            assert done is not None
            if done.ended_at is None:
                continue
            right = int(done.cost_usd * 1_000_000) == cost
            self._holds(right, f"{run}/{task} cost {done.cost_usd}, the receipt says {cost} micro-dollars")
            self._holds((status == "SUCCESS") == done.is_good, f"{run}/{task} ended otherwise than its receipt says")

    def _holds(self, is_true: bool, otherwise: str) -> None:
        if not is_true:
            raise Violated(otherwise)
