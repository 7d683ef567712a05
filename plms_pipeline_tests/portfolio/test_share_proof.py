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
    assert "20 over fewer" in verdict.told


def _one_slot(turns: list[int]) -> dict[int, list[Stay]]:
    """A lane with one slot, tasks of a second that were all eligible at once, in this order."""
    return {1: [Stay(project, 0.0, at * 1000.0, (at + 1) * 1000.0) for at, project in enumerate(turns)]}


def test_fifty_tasks_are_granted_nothing() -> None:
    """Over fifty tasks one of them is none of a share's business: a project that had every third turn was treated badly."""
    assert len(judge_shares(_one_slot([1, 1, 2] * 60), {1: 1}).problems) == 1


@pytest.mark.parametrize(("late", "is_problem"), [(2, False), (6, True)])
def test_few_tasks_are_granted_one_task_and_no_more(late: int, is_problem: bool) -> None:
    """One task of five is a fifth of a share, whatever the scheduler does; six of them are not."""
    verdict = judge_shares(_one_slot([1] * late + [1, 2] * 5 + [1] * 50), {1: 1})
    assert bool(verdict.problems) is is_problem, verdict
    assert "1 below 0.9" in verdict.told


def test_a_lane_that_completed_less_than_fifty_tasks_is_not_judged_and_said_to_be() -> None:
    """Otherwise a proof over three tasks reads like one over three hundred."""
    verdict = judge_shares(_one_slot([1, 1, 2]), {1: 1})
    assert verdict.problems == []
    assert "1 lanes not judged" in verdict.told
