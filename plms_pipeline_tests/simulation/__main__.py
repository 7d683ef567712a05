"""`make simulate DAYS=… SEED=…` and `make prove-simulation N=… SEED=…`: simulated days, and what was found in them.

A failing seed prints the rule that does not hold, its last steps, and the command that plays it again; the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from plms_pipeline_tests.proofs.api import say
from plms_pipeline_tests.simulation.days import STEPS_A_DAY
from plms_pipeline_tests.simulation.home import workplace
from plms_pipeline_tests.simulation.mutants import MUTANTS, planted
from plms_pipeline_tests.simulation.running import Outcome, all_of, simulate

DAYS_OF_A_SEED = 100
# A planted mistake is looked for in so many days, in worlds of so many.
MUTANT_DAYS = 1_000
MUTANT_SEED_DAYS = 50


def main() -> None:
    """Simulate, and with `prove` also plant mistakes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("simulate", "prove"), default="simulate")
    parser.add_argument("--days", type=int, default=None, help="simulated days in all")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--verbose", action="store_true", help="count every kind of change")
    given = parser.parse_args()
    days = given.days or (10_000 if given.what == "prove" else DAYS_OF_A_SEED)
    with workplace() as template:
        if given.what == "simulate":
            is_fine = simulated(template, [given.seed], days, verbose=given.verbose)
        else:
            # Few days are shared by the cores all the same.
            per_seed = min(DAYS_OF_A_SEED, max(20, days // 2))
            seeds = list(range(given.seed, given.seed + max(1, days // per_seed)))
            is_fine = simulated(template, seeds, per_seed, verbose=given.verbose)
            is_fine = caught(template, given.seed, only_quick=days < MUTANT_DAYS) and is_fine
    sys.exit(0 if is_fine else 1)


def simulated(template: Path, seeds: list[int], days: int, *, verbose: bool) -> bool:
    """Simulate the seeds, and say what was found; whether nothing was."""
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for outcome in all_of(simulate, [(template, seed, days) for seed in seeds]):
        outcomes.append(outcome)
        if outcome.said:
            say("\n".join(outcome.trace))
            say(f"seed {outcome.seed}, day {outcome.days}: {outcome.said}")
            say(f"again: make simulate DAYS={days} SEED={outcome.seed}")
    if verbose:
        counted = sum((each.happened for each in outcomes), Counter[tuple[str, str]]())
        for (table, state), count in sorted(counted.items()):
            say(f"{count:8} {table} {state}")
    total = sum(each.days for each in outcomes)
    cpu_s = sum(each.cpu_s for each in outcomes)
    say(
        f"simulation: {total} days of {STEPS_A_DAY} steps and more, {len(outcomes)} seeds from {seeds[0]}, "
        f"{sum(each.steps for each in outcomes)} actions, {sum(each.commits for each in outcomes)} commits, "
        f"{sum(each.crashes for each in outcomes)} deaths, {sum(bool(each.said) for each in outcomes)} violations; "
        f"{time.monotonic() - began:.0f} s, {1000 * cpu_s / max(total, 1):.0f} ms of CPU a day"
    )
    return not any(each.said for each in outcomes)


def hunt(template: Path, number: int, seed: int) -> tuple[int, int, str | None]:
    """(mistake, days until it was caught, by which check); None when it was not in `MUTANT_DAYS` days."""
    days = 0
    while days < MUTANT_DAYS:
        with planted(MUTANTS[number]):
            try:
                outcome = simulate(template, seed, MUTANT_SEED_DAYS)
            except Exception as error:  # whatever breaks the product's own rules is found too
                return number, days + 1, " ".join(f"{type(error).__name__}: {error}".split())[:90]
        days += outcome.days
        if outcome.check is not None:
            return number, days, outcome.check
        seed += 1
    return number, days, None


def caught(template: Path, seed: int, *, only_quick: bool) -> bool:
    """Plant every mistake, or only those that show within days; say after how many days each was found; whether each was.

    Each is looked for in one world after the other until it is found, in `MUTANT_DAYS` at most: that one world does not show it
    says nothing.
    """
    began = time.monotonic()
    wanted = [number for number, mutant in enumerate(MUTANTS) if mutant.is_quick or not only_quick]
    found = sorted(all_of(hunt, [(template, number, seed) for number in wanted]))
    for number, days, check in found:
        said = f"caught on day {days}: {check}" if check else f"NOT CAUGHT in {days} days"
        say(f"planted: {MUTANTS[number].name}: {said}")
    missed = [number for number, _, check in found if check is None]
    days = sum(each for _, each, _ in found)
    say(f"planted: {len(found) - len(missed)} of {len(found)} caught in {days} days; {time.monotonic() - began:.0f} s")
    return not missed


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets are gone through in an order that must be the same again.
        again = [sys.executable, "-m", "plms_pipeline_tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})
    main()
