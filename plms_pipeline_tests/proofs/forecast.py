"""Do nine of ten projects cost what they were forecast to cost, and is a budget that runs dry seen a quarter of an hour before?

`make prove-forecast` lets N projects happen, made of every shipped receipt that knows its price, with failures and retries
(`forecast_world`: three worlds by turns). At the start, and when 25, 50 and 75 % of the tasks have ended, the projected
final is forecast from nothing but the receipts that stand earlier, by the functions that serve the runway. The proof holds when
the 90 % intervals hold 88 to 92 % of all the totals (by a count that is too small for that, as many as chance allows).

Then each project runs against a budget that does not suffice (`forecast_runway`): how long before it is really gone does the
runway first say fifteen minutes or less, and how often does its interval hold the moment? Of the 90 % intervals at least 88 %
must, and in no quarter of the budget fewer than 85 %.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from plms_pipeline.budget.runway import Activity, runway
from plms_pipeline.estimates.attempts import left_total
from plms_pipeline_tests.proofs.api import say
from plms_pipeline_tests.proofs.forecast_runway import EPOCH, Warned, say_depletion, warned
from plms_pipeline_tests.proofs.forecast_world import WORLDS, Story, groups_left, progress, shipped_tasks, story

STAGES: Final = (0.0, 0.25, 0.5, 0.75)
LOWEST, HIGHEST, NOMINAL = 0.88, 0.92, 0.90
# Beyond so many standard errors of a count it is not chance any more.
DOUBT: Final = 3.0
# From so many projects on the bars themselves are asked for, before them what chance allows.
ENOUGH: Final = 1000


@dataclass(frozen=True, slots=True)
class Judged:
    """One forecast of what a project will have cost, and what it cost in USD."""

    world: str
    stage: float
    low: float
    median: float
    high: float
    actual: float

    @property
    def is_inside(self) -> bool:
        """Whether the interval held."""
        return self.low <= self.actual <= self.high


def judged(told: Story, rng: np.random.Generator) -> list[Judged]:
    """The projected final of a project at each stage, against what it came to."""
    total = math.fsum(cost for task in told.tasks for cost in task.costs)
    found = []
    for stage in STAGES:
        behind = progress(told, stage, rng)
        groups = groups_left(told, behind)
        if not groups:
            continue
        spent = math.fsum(cost for task, n in zip(told.tasks, behind, strict=True) for cost in task.costs[:n])
        seen = runway(
            spent=spent, reserved=0.0, budget=None, left=left_total(groups), activity=Activity(None), now=EPOCH
        )
        if seen.final_90 is None or seen.final_usd is None:
            raise AssertionError("everything that is left has a forecast")
        found.append(Judged(told.world, stage, seen.final_90[0], seen.final_usd, seen.final_90[1], total))
    return found


def happen(count: int, seed: int) -> tuple[list[Judged], list[Warned]]:
    """So many projects, each with a generator of its own, so that number 17 is the same in every proof of a seed."""
    finals, alarms = [], []
    for number in range(count):
        rng, told = np.random.default_rng([seed, number]), None
        while told is None:
            told = story(WORLDS[number % len(WORLDS)], rng)
        finals += judged(told, rng)
        found = warned(told, rng)
        alarms += [found] if found is not None else []
    return finals, alarms


def share(finals: Sequence[Judged]) -> float:
    """How many intervals held."""
    return sum(one.is_inside for one in finals) / len(finals)


def told_of(name: str, finals: Sequence[Judged]) -> str:
    """A line of the table."""
    below = sum(one.actual < one.low for one in finals) / len(finals)
    bias = float(np.median([one.median / one.actual for one in finals]))
    width = float(np.median([(one.high - one.low) / one.median for one in finals]))
    return (
        f"  {name:<22} n {len(finals):>5}  coverage {share(finals):6.1%}  below {below:5.1%}  above "
        f"{1 - share(finals) - below:5.1%}  median/actual {bias:.2f}  width/median {width:.2f}"
    )


def prove(count: int, seed: int) -> int:
    """Run the proof; 0 when it holds."""
    began = time.monotonic()
    finals, alarms = happen(count, seed)
    say(
        f"{count} projects, {len(shipped_tasks())} tasks of {sum(len(t.costs) for t in shipped_tasks())} receipts, seed {seed}"
    )
    for stage in STAGES:
        say(told_of(f"{stage:.0%} of tasks ended", [one for one in finals if one.stage == stage]))
    for world in WORLDS:
        say(told_of(world, [one for one in finals if one.world == world]))
    say(told_of("all", finals))
    warns = say_depletion(alarms, is_enough=count >= ENOUGH)
    # The stages of a project are one outcome, not four.
    chance = DOUBT * math.sqrt(NOMINAL * (1 - NOMINAL) / count)
    slack = 0.0 if count >= ENOUGH else chance
    holds = min(LOWEST, NOMINAL - slack) <= share(finals) <= max(HIGHEST, NOMINAL + slack)
    failed = [name for name, is_proven in (("final", holds), ("depletion", warns)) if not is_proven]
    say(f"{'NOT PROVEN: ' + ', '.join(failed) if failed else 'the intervals hold'}; {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def main() -> int:
    """The command line: `python -m plms_pipeline_tests.proofs.forecast --count 1000 --seed 1`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=1000, help="projects (default 1000)")
    parser.add_argument("--seed", type=int, default=1, help="which projects (default 1)")
    given = parser.parse_args()
    return prove(given.count, given.seed)


if __name__ == "__main__":
    sys.exit(main())
