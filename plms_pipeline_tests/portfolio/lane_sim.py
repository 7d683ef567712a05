"""A lane in which time passes at once: tasks arrive, the race decides, slots are held for as long as chance says."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from plms_pipeline.portfolio.fairness import Contender, LaneBook, Race, advance, learnt
from plms_pipeline.portfolio.shares import Stay


@dataclass
class Task:
    """One task: when it becomes eligible, and how long it will hold its slot."""

    project_id: int
    eligible_ms: float
    takes_ms: float
    taken_ms: float | None = None
    left_ms: float | None = None
    is_rehearsal: bool = False


@dataclass
class Lane:
    """A lane with its book, its queue and its slots."""

    cap: int
    weights: dict[int, float] = field(default_factory=dict)
    scores: Callable[[int, float], float] = lambda _project, _now: 0.0
    book: LaneBook = field(default_factory=LaneBook)
    waiting: list[Task] = field(default_factory=list)
    held: list[Task] = field(default_factory=list)
    done: list[Task] = field(default_factory=list)
    most_held: int = 0
    _since: float | None = None

    def run(self, tasks: list[Task], *, late_ms: float = 0.0) -> None:
        """Work all tasks; each change is seen by the dispatcher `late_ms` after it happened."""
        arrivals = sorted(tasks, key=lambda task: task.eligible_ms)
        looks: list[float] = [task.eligible_ms + late_ms for task in arrivals]
        heapq.heapify(looks)
        ends: list[tuple[float, int, Task]] = []
        released: list[Task] = []
        while looks:
            now = heapq.heappop(looks)
            while arrivals and arrivals[0].eligible_ms <= now:
                self.waiting.append(arrivals.pop(0))
            while ends and ends[0][0] <= now:
                _, _, over = heapq.heappop(ends)
                self.held.remove(over)
                released.append(over)
            for task in self._round(now, released):
                task.taken_ms, task.left_ms = now, now + task.takes_ms
                heapq.heappush(ends, (task.left_ms, id(task), task))
                heapq.heappush(looks, task.left_ms + late_ms)
            self.done += released
            released = []
        assert not self.waiting
        assert not self.held

    def _round(self, now: float, released: list[Task]) -> list[Task]:
        since = self.book.at_ms if self.book.at_ms is not None else now
        received: dict[int, float] = {}
        for task in [*self.held, *released]:
            assert task.taken_ms is not None
            end = min(now, task.left_ms if task in released and task.left_ms is not None else now)
            had = max(0.0, end - max(since, task.taken_ms))
            received[task.project_id] = received.get(task.project_id, 0.0) + had
        self.book = learnt(
            advance(self.book, now_ms=now, received_ms=received),
            [(task.project_id, task.takes_ms) for task in released],
        )
        projects = {task.project_id for task in [*self.waiting, *self.held]}
        contenders = [
            Contender(
                project, sum(task.project_id == project for task in self.waiting),
                tuple(now - (task.taken_ms or now) for task in self.held if task.project_id == project),
                self.weights.get(project, 1.0), self.scores(project, now),
                sum(task.project_id == project and task.is_rehearsal for task in self.waiting),
            )
            for project in sorted(projects)
        ]  # fmt: skip
        race, taken = Race(self.book, contenders, cap=self.cap), []
        while (turn := race.next()) is not None:
            race.took(turn)
            task = next(
                task for task in self.waiting
                if task.project_id == turn.project_id and (task.is_rehearsal or not turn.is_rehearsal)
            )  # fmt: skip
            self.waiting.remove(task)
            self.held.append(task)
            taken.append(task)
        self.book = race.book()
        self.most_held = max(self.most_held, len(self.held))
        return taken

    def stays(self) -> list[Stay]:
        """What happened, for `shares_of`."""
        return [Stay(task.project_id, task.eligible_ms, task.taken_ms, task.left_ms or 0.0) for task in self.done]
