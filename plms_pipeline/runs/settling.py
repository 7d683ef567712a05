"""What follows when an attempt at a task has ended?

The rules of settlement without database, clock or files: the books of a few runs come in as plain values, completions are
booked into them one by one, and what must be written comes out. Whatever order and however often the same completions
come, the same books come out; that is a property of this module, and tested here. The sources' version believed the
event: a second delivery counted twice, a late one overwrote "terminated" with "completed".

An attempt counts once. What ended never changes: a completion that comes too late books what was spent, because money that
was spent is a fact, and moves no state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from plms_pipeline.kpis.gates import Verdict
from plms_pipeline.runs.ids import card_key
from plms_pipeline.runs.lifecycle import Subject, is_terminal

Outcome = tuple[Literal["settled", "ignored", "refused"], str]
OPEN_CARDS: Final = frozenset({"WAITING", "SUBMITTED"})


@dataclass(slots=True)
class Attempt:
    """One attempt at a task, as handed over or waiting for it. `is_booked`: its receipt is in the books."""

    card_key: str
    attempt: int
    state: str
    depends_on: tuple[str, ...] = ()
    is_booked: bool = False


@dataclass(slots=True)
class Task:
    """One task of a run."""

    task_id: str
    lane_id: int
    status: str = "QUEUED"
    validation: str = "pending"
    attempts: dict[int, Attempt] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return is_terminal("task", self.status)

    @property
    def never_went(self) -> bool:
        """Whether the executor will never have it: it was skipped, or refused when handed over and so never judged."""
        return self.status == "SKIPPED" or (self.status == "FAIL" and self.validation == "pending")


@dataclass(slots=True)
class Run:
    """One run. `moves_project`: it is its project's work; `is_stopping`: somebody asked the executor to end it;
    `is_sandbox`: its writes are suppressed."""

    run_id: str
    project_id: int
    status: str = "RUNNING"
    validation: str = "pending"
    max_attempts: int = 1
    moves_project: bool = True
    is_stopping: bool = False
    is_sandbox: bool = False
    started_at: datetime | None = None
    tasks: dict[str, Task] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return is_terminal("run", self.status)


@dataclass(slots=True)
class Project:
    """A project and its runs that are its work and have not ended."""

    project_id: int
    status: str
    open_runs: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Completion:
    """One attempt ended. `has_receipt`: something is known of what it took. `is_retryable`: it failed by itself, that is,
    nobody cancelled it."""

    event: int
    run_id: str
    task_id: str
    attempt: int
    succeeded: bool
    has_receipt: bool = True
    is_retryable: bool = True
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a state; `task_id` only for tasks, `run_id` empty for projects."""

    subject: Subject
    run_id: str
    task_id: str
    project_id: int
    old: str
    new: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """A card for another attempt at a task, made after the card of the attempt that failed."""

    after: str
    card_key: str
    attempt: int


@dataclass(slots=True)
class Effects:
    """What must be written, in the order in which it happened."""

    moves: list[Move] = field(default_factory=list)
    booked: list[Completion] = field(default_factory=list)
    judged: list[Completion] = field(default_factory=list)
    cards_ended: list[str] = field(default_factory=list)
    cards_cancelled: list[tuple[str, str]] = field(default_factory=list)
    next_attempts: list[NextAttempt] = field(default_factory=list)
    task_verdicts: list[tuple[str, str, str]] = field(default_factory=list)
    run_verdicts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ended_runs(self) -> tuple[str, ...]:
        """The runs that ended."""
        return tuple(move.run_id for move in self.moves if move.subject == "run" and is_terminal("run", move.new))


@dataclass(slots=True)
class Books:
    """Some runs and their projects, and what is to be written about them."""

    runs: dict[str, Run]
    projects: dict[int, Project]
    effects: Effects = field(default_factory=Effects)

    @property
    def left_open(self) -> tuple[str, ...]:
        """Runs that ended here while the executor still waits for tasks of theirs that were skipped or refused."""
        ended = (self.runs[run_id] for run_id in self.effects.ended_runs)
        return tuple(
            run.run_id for run in ended if not run.is_stopping and any(task.never_went for task in run.tasks.values())
        )

    def complete(self, done: Completion, verdict: Verdict | None) -> Outcome:
        """Book one completion.

        Args:
            done: what ended; its run is in these books.
            verdict: whether the work is good; needed when it succeeded and `needs_verdict` says so.
        """
        run = self.runs[done.run_id]
        task = run.tasks.get(done.task_id)
        if task is None:
            return "refused", f"run {run.run_id} holds no task {done.task_id}"
        attempt = task.attempts.get(done.attempt)
        if attempt is None:
            return "refused", f"attempt {done.attempt} at {done.task_id} was never asked for"
        if attempt.is_booked:
            return "ignored", "this attempt is booked already"
        if run.has_ended or task.has_ended or attempt.state not in OPEN_CARDS:
            if not done.has_receipt:
                return "ignored", f"too late: the task is {task.status}"
            self._book(attempt, done)
            return "settled", f"too late to change a state (the task is {task.status}); what it took is booked"
        return self._end(run, task, attempt, done, verdict)

    def needs_verdict(self, done: Completion) -> bool:
        """Whether the completion ends a task well, so that its work must be judged first."""
        run = self.runs.get(done.run_id)
        task = run.tasks.get(done.task_id) if run else None
        attempt = task.attempts.get(done.attempt) if task else None
        if run is None or task is None or attempt is None or not done.succeeded:
            return False
        return not (run.has_ended or task.has_ended or attempt.is_booked) and attempt.state in OPEN_CARDS

    def lose(self, run_id: str, reason: str) -> Outcome:
        """The executor does not know a run any more: what is open of it has failed."""
        run = self.runs[run_id]
        if run.has_ended:
            return "ignored", f"too late: the run is {run.status}"
        for task in run.tasks.values():
            for attempt in task.attempts.values():
                self._cancel(attempt, reason)
            if not task.has_ended:
                self._move_task(run, task, "FAIL", reason)
                self._judge_task(run, task, "failed")
        self._finish(run, reason)
        return "settled", reason

    def finish_if_over(self, run_id: str) -> bool:
        """End a run whose tasks have all ended by other hands (refused, skipped); whether it ended by this."""
        run = self.runs[run_id]
        if run.has_ended or not run.tasks or not all(task.has_ended for task in run.tasks.values()):
            return False
        self._finish(run, None)
        return True

    def _end(self, run: Run, task: Task, attempt: Attempt, done: Completion, verdict: Verdict | None) -> Outcome:
        if done.has_receipt:
            self._book(attempt, done)
        attempt.state = "ENDED"
        self.effects.cards_ended.append(attempt.card_key)
        if done.succeeded:
            if verdict is None:
                raise ValueError("work that succeeded is judged before it is booked")
            self._move_task(run, task, "SUCCESS", None)
            self._judge_task(run, task, verdict)
            self.effects.judged.append(done)
            said = f"succeeded, {verdict}"
        elif done.is_retryable and done.attempt < run.max_attempts and not run.is_stopping:
            self._try_again(run, task, attempt)
            return "settled", f"attempt {done.attempt} failed; attempt {done.attempt + 1} waits"
        else:
            self._move_task(run, task, "FAIL", done.reason)
            self._judge_task(run, task, "failed")
            self._skip_dependents(run, task.task_id)
            said = "failed"
        self.finish_if_over(run.run_id)
        return "settled", said

    def _book(self, attempt: Attempt, done: Completion) -> None:
        attempt.is_booked = True
        self.effects.booked.append(done)

    def _try_again(self, run: Run, task: Task, failed: Attempt) -> None:
        number = failed.attempt + 1
        key = card_key(run.run_id, task.task_id, number)
        task.attempts[number] = Attempt(key, number, "WAITING", failed.depends_on)
        self.effects.next_attempts.append(NextAttempt(failed.card_key, key, number))
        if task.status == "QUEUED":
            self._move_task(run, task, "RUNNING", None)

    def _skip_dependents(self, run: Run, failed: str) -> None:
        """Tasks that wait for one that will never succeed would keep their run open for ever."""
        dead = [failed]
        while dead:
            name = dead.pop()
            reason = f"it depends on {name}, which did not succeed"
            for task in run.tasks.values():
                waiting = [one for one in task.attempts.values() if one.state == "WAITING" and name in one.depends_on]
                if task.status != "QUEUED" or not waiting:
                    continue
                for attempt in waiting:
                    self._cancel(attempt, reason)
                self._move_task(run, task, "SKIPPED", reason)
                dead.append(task.task_id)

    def _cancel(self, attempt: Attempt, reason: str) -> None:
        if attempt.state in OPEN_CARDS:
            attempt.state = "CANCELLED"
            self.effects.cards_cancelled.append((attempt.card_key, reason))

    def _judge_task(self, run: Run, task: Task, verdict: str) -> None:
        task.validation = verdict
        self.effects.task_verdicts.append((run.run_id, task.task_id, verdict))

    def _move_task(self, run: Run, task: Task, new: str, reason: str | None) -> None:
        if run.status == "QUEUED":
            # The event was faster than the note that the executor has the run.
            self._move_run(run, "RUNNING", None)
        if task.status == "QUEUED" and new == "SUCCESS":
            self._move_task(run, task, "RUNNING", None)
        self.effects.moves.append(Move("task", run.run_id, task.task_id, run.project_id, task.status, new, reason))
        task.status = new

    def _move_run(self, run: Run, new: str, reason: str | None) -> None:
        self.effects.moves.append(Move("run", run.run_id, "", run.project_id, run.status, new, reason))
        run.status = new

    def _finish(self, run: Run, reason: str | None) -> None:
        status, validation, why = verdict_of_run(run.tasks.values())
        if run.status == "QUEUED" and status == "SUCCESS":
            self._move_run(run, "RUNNING", None)
        self._move_run(run, status, reason or why)
        run.validation = validation
        self.effects.run_verdicts.append((run.run_id, validation))
        if run.moves_project:
            self._conclude(run)

    def _conclude(self, run: Run) -> None:
        """The project's verdict, once the last of its runs that are under way has ended."""
        project = self.projects[run.project_id]
        project.open_runs.discard(run.run_id)
        if project.open_runs or project.status not in ("executing", "validating"):
            return
        reason = f"run {run.run_id}: {run.status}, {run.validation}"
        if project.status == "executing":
            self._move_project(project, "validating", reason)
        is_good = run.status == "SUCCESS" and run.validation in ("passed", "ungated")
        self._move_project(project, "completed" if is_good else "needs_review", reason)

    def _move_project(self, project: Project, new: str, reason: str) -> None:
        self.effects.moves.append(Move("project", "", "", project.project_id, project.status, new, reason))
        project.status = new


def verdict_of_run(tasks: Iterable[Task]) -> tuple[str, str, str | None]:
    """Status, validation and reason of a run whose tasks have all ended.

    FAIL when a task failed or was skipped, and then nothing about it is good. `passed` when a gate was asked and none failed;
    work that nobody asked a question about is `ungated`.
    """
    ended = list(tasks)
    bad = sorted(task.task_id for task in ended if task.status != "SUCCESS")
    if bad:
        return "FAIL", "failed", f"{len(bad)} of {len(ended)} tasks did not succeed: {', '.join(bad[:5])}"
    red = sorted(task.task_id for task in ended if task.validation == "failed")
    if red:
        return "SUCCESS", "failed", f"{len(red)} of {len(ended)} tasks do not pass their gates: {', '.join(red[:5])}"
    return "SUCCESS", "passed" if any(task.validation == "passed" for task in ended) else "ungated", None
