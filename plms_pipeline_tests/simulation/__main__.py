"""`python -m plms_pipeline_tests.simulation --days 100 --seeds 4`: simulated days, and what was found in them."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from plms_pipeline.registry import migrate
from plms_pipeline_tests.proofs.api import say
from plms_pipeline_tests.simulation.checks import Violated, Watcher
from plms_pipeline_tests.simulation.world import STORMY, Room

STEPS_A_DAY = 14
CALM_EVERY = 10


@dataclass(frozen=True)
class Outcome:
    """What became of one seed."""

    seed: int
    days: int
    steps: int
    crashes: int
    runs: int
    violated: str | None
    trace: tuple[str, ...]


def simulate(template: Path, folder: Path, seed: int, days: int) -> Outcome:
    """So many days of one room; ends at the first rule that does not hold."""
    room = Room.open(template, folder, seed)
    room.executor.faults = STORMY
    watcher = Watcher(room)
    violated, day = None, 0
    try:
        for day in range(1, days + 1):
            one_day(room, watcher)
            if day % CALM_EVERY == 0 or day == days:
                room.calm()
                watcher.look()
                watcher.settled()
    except Violated as error:
        violated = f"day {day}, step {watcher.looked}: {error}"
    finally:
        room.registry.close()
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(seed, day, watcher.looked, room.crashes, len(room.starts), violated, tuple(room.trace[-30:]))


def one_day(room: Room, watcher: Watcher) -> None:
    """A day's steps, in an order that nobody chose."""
    room.plan()
    steps = (room.start, room.dispatch, room.deliver, room.settle, room.reconcile, room.decide, room.jump)
    weights = (3, 5, 4, 4, 1, 1, 0.3)
    for _ in range(STEPS_A_DAY):
        room.passes(minutes=room.rng.expovariate(STEPS_A_DAY / (24 * 60)))
        room.rng.choices(steps, weights)[0]()
        watcher.look()


def main() -> None:
    """Run the seeds, two at a time, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=10_000, help="simulated days in all")
    parser.add_argument("--seeds", type=int, default=100, help="among how many seeds")
    parser.add_argument("--seed", type=int, default=1, help="the first of them")
    given = parser.parse_args()
    began = time.monotonic()
    days = max(1, given.days // given.seeds)
    place = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="plms-sim-", dir=place) as home:
        template = Path(home) / "template.db"
        migrate.upgrade(f"sqlite:///{template}")
        seeds = range(given.seed, given.seed + given.seeds)
        outcomes = []
        with ProcessPoolExecutor(max_workers=min(os.cpu_count() or 1, len(seeds))) as pool:
            jobs = [pool.submit(simulate, template, Path(home) / str(seed), seed, days) for seed in seeds]
            for job in jobs:
                outcome = job.result()
                outcomes.append(outcome)
                if outcome.violated:
                    say("\n".join(outcome.trace))
                    say(f"seed {outcome.seed}: {outcome.violated}")
    took = time.monotonic() - began
    total = sum(each.days for each in outcomes)
    failed = [each for each in outcomes if each.violated]
    say(
        f"simulation: {total} days, {len(outcomes)} seeds from {given.seed}, {sum(each.steps for each in outcomes)} steps, "
        f"{sum(each.runs for each in outcomes)} starts, {sum(each.crashes for each in outcomes)} crashes, "
        f"{len(failed)} violations; {took:.0f} s, {1000 * took / max(total, 1):.0f} ms a day"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
