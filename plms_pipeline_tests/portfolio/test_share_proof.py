"""Would the proof of shares notice a scheduler that is not fair?"""

from __future__ import annotations

from random import Random

import pytest

from plms_pipeline.portfolio.shares import Stay
from plms_pipeline_tests.portfolio.lane_sim import Lane, Task
from plms_pipeline_tests.proofs.portfolio import judge_shares

CAP = 3


class FirstComeFirstServed(Lane):
    """The same lane without fairness: whoever queued first goes first, as in the prototype."""

    def _round(self, now: float, released: list[Task]) -> list[Task]:
        taken = []
        for task in sorted(self.waiting, key=lambda task: task.eligible_ms):
            if len(self.held) < self.cap:
                self.waiting.remove(task)
                self.held.append(task)
                taken.append(task)
        return taken


def arrivals(seed: int) -> list[Task]:
    """Ten projects that come one after the other with bursts of tasks of about a second."""
    chance = Random(seed)
    return [
        Task(project, 2000.0 * project + chance.random(), 500 + 1000 * chance.random())
        for project in range(10)
        for _ in range(20)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_first_come_first_served_is_caught_and_fairness_passes(seed: int) -> None:
    """A proof that a queue would pass proves nothing about shares."""
    lanes = {1: FirstComeFirstServed(CAP), 2: Lane(CAP)}
    stays = {}
    for number, lane in lanes.items():
        lane.run(arrivals(seed))
        stays[number] = lane.stays()
    verdict = judge_shares(stays, dict.fromkeys(lanes, CAP))
    assert {problem.partition(":")[0] for problem in verdict.problems} == {"lane 1"}, verdict
    assert "of 20 judged" in verdict.told


def test_few_tasks_are_granted_one_task_and_many_are_not() -> None:
    """One task of five is a fifth of a share, whatever the scheduler does; of fifty it is none of its business."""

    def late(tasks: int) -> list[Stay]:
        """One slot, two projects with equal tasks of a second: the second one had every third turn."""
        turns = [1, 1, 2] * tasks
        began = [place * 1000.0 for place in range(len(turns))]
        return [Stay(project, 0.0, at, at + 1000.0) for project, at in zip(turns, began, strict=True)]

    assert judge_shares({1: late(1)}, {1: 1}).problems == []
    assert len(judge_shares({1: late(60)}, {1: 1}).problems) == 1
