"""Simulated days: a few here, ten thousand in `make prove-simulation`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plms_pipeline_tests.simulation import people
from plms_pipeline_tests.simulation.home import workplace
from plms_pipeline_tests.simulation.mutants import MUTANTS, planted
from plms_pipeline_tests.simulation.running import simulate

SEED = 7
CAUGHT_AT_ONCE = ("a double settle", "an obligation dropped silently")


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    with workplace() as found:
        yield found


@pytest.mark.live
def test_days_with_faults_deaths_and_jumping_clocks_break_no_rule(template: Path) -> None:
    """A cap would be passed, money counted twice or work lost in some order of events that nobody thought of."""
    outcome = simulate(template, SEED, 6)
    assert outcome.said is None, "\n".join((*outcome.trace, outcome.said, f"make simulate DAYS=6 SEED={SEED}"))
    assert outcome.crashes > 0
    assert outcome.happened["task_receipts", ">SUCCESS"] > 0


@pytest.mark.live
def test_the_same_seed_is_the_same_world(template: Path) -> None:
    """A failing seed that does not fail again helps nobody."""
    first, second = (simulate(template, SEED + 1, 2) for _ in range(2))
    assert first.trace == second.trace
    assert first.happened == second.happened


@pytest.mark.parametrize("name", CAUGHT_AT_ONCE)
def test_a_planted_mistake_is_found(template: Path, name: str) -> None:
    """A simulation that finds nothing in a broken product proves nothing about a sound one."""
    [mutant] = [one for one in MUTANTS if one.name == name]
    with planted(mutant):
        assert simulate(template, SEED, 10).check is not None


def test_an_owner_calls_off_what_the_budget_of_a_project_that_is_over_does_not_bear() -> None:
    """A rehearsal asked for before the end would wait for money that nobody may give, and the calm would never end."""
    done: list[str] = []
    room: Any = SimpleNamespace(
        journal=SimpleNamespace(ask=lambda _query: [(7, "run-7", "completed")]), processes={}, cancelled=set(),
        act=lambda name, *_given: done.append(name),
    )  # fmt: skip
    people.pay(room)
    assert done == ["cancel run-7"]
