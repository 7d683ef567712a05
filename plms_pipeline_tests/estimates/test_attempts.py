"""What the attempts that are left take: hand-worked numbers, laws, and brute force as the oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.estimates.attempts import (
    AttemptBelief,
    TasksLeft,
    attempt_odds,
    belief_of,
    belief_of_interval,
    left_total,
    share_that_fails,
)
from plms_pipeline.estimates.beliefs import Tally
from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.estimates.state import state_of

# A thousand attempts of each kind: how often they fail is not in doubt.
HALF = {"ended": 1e6, "repeated": 1e6}


def belief(**changes: float) -> AttemptBelief:
    told = {
        "mean": 0.3, "stddev": 0.2, "unknown": 0.0, "effect": 1.0, "low": 0.1, "median": 0.25, "high": 0.7, "ended": 1e9,
        "repeated": 0.0,
    }  # fmt: skip
    return AttemptBelief(**{**told, **changes})


def test_nothing_left_takes_nothing() -> None:
    """A project whose tasks have all ended costs what it has cost."""
    found = left_total([TasksLeft(belief(), "m", 0)])
    assert (found.mean, found.median, found.low, found.high) == (0, 0, 0, 0)


def test_one_attempt_is_read_off_its_own_distribution() -> None:
    """The last attempt's interval is the one that was learnt, not that of a log-normal that resembles it."""
    found = left_total([TasksLeft(belief(), "m", 1)])
    assert (found.median, found.low, found.high, found.mean) == (0.25, 0.1, 0.7, 0.3)


def test_many_tasks_are_a_multiple_of_one_and_vary_less() -> None:
    """A hundred tasks at 0.30 ± 0.20 that know nothing of each other: 30 ± 2."""
    found = left_total([TasksLeft(belief(), "m", 100)])
    assert found.mean == pytest.approx(30)
    assert found.stddev == pytest.approx(2.0)


def test_what_is_not_known_of_a_provider_is_wrong_for_all_its_tasks() -> None:
    """Two lanes of one provider err together, two providers may cancel out."""
    doubtful = belief(unknown=0.2)
    same = left_total([TasksLeft(doubtful, "m", 50), TasksLeft(doubtful, "m", 50)])
    other = left_total([TasksLeft(doubtful, "m", 50), TasksLeft(doubtful, "n", 50)])
    assert same.mean == pytest.approx(other.mean)
    assert same.stddev > 1.3 * other.stddev
    assert same.stddev > 3 * left_total([TasksLeft(belief(), "m", 100)]).stddev


def test_tasks_of_one_batch_share_their_luck_but_no_more_of_them_than_there_are() -> None:
    """A design effect of four makes a hundred tasks as uncertain as twenty-five, and two as uncertain as one twice as large."""
    assert left_total([TasksLeft(belief(effect=4), "m", 100)]).stddev == pytest.approx(4.0)
    assert left_total([TasksLeft(belief(effect=4), "m", 2)]).stddev == pytest.approx(0.4, rel=0.05)
    assert left_total([TasksLeft(belief(), "m", 2)]).stddev == pytest.approx(0.2 * math.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("attempts", "limit", "q"), [(1.0, 3, 0.0), (1.5, 2, 0.5), (1.75, 3, 0.5), (3.0, 3, 1.0), (1.0, 1, 1.0), (5.0, 3, 1.0)]
)  # fmt: skip
def test_the_share_that_fails_is_solved_from_the_attempts_per_task(attempts: float, limit: int, q: float) -> None:
    """One, and q more, and q² more: 1.75 attempts under a limit of three are a coin."""
    if (attempts, limit) != (1.0, 1):
        assert share_that_fails(attempts, limit) == pytest.approx(q, abs=1e-9)


def test_retries_count_until_the_limit_of_the_project() -> None:
    """Half of all attempts fail: three attempts at most are 2 of a history of 2, of a project that tries once it is 1."""
    coin = belief(**HALF)
    once = left_total([TasksLeft(coin, "m", 100, most=1, limit=1)])
    assert once.mean == pytest.approx(30)
    # History says 2 attempts a task; under a limit of 3 that is q = 0.618, and the last attempt is followed by none.
    thrice = left_total([TasksLeft(coin, "m", 100, most=3, limit=3)])
    assert thrice.mean == pytest.approx(60, rel=1e-3)
    last = left_total([TasksLeft(coin, "m", 100, most=1, limit=3)])
    assert last.mean == pytest.approx(30)
    second = left_total([TasksLeft(coin, "m", 100, most=2, limit=3)])
    assert second.mean == pytest.approx(30 * (1 + 0.618034), rel=1e-3)


@pytest.mark.parametrize(("tasks", "limit", "unknown"), [(1, 3, 0.1), (6, 2, 0.0), (20, 3, 0.05), (60, 1, 0.2)])
def test_the_total_is_that_of_simulated_projects(tasks: int, limit: int, unknown: float) -> None:
    """Brute force: draw the provider's error, each task's attempts, each attempt's cost, and count what lies inside."""
    rng = np.random.default_rng(tasks + limit)
    log_sd, worlds = 0.6, 4000
    centre = math.exp(-1.2)
    whole = log_sd**2 + unknown
    mean = centre * math.exp(whole / 2)
    ends = [centre * math.exp(z * 1.6449 * math.sqrt(whole)) for z in (-1, 0, 1)]
    fails = share_that_fails(2.0, limit) if limit > 2 else 0.5 if limit == 2 else 0.0
    per_task = math.fsum(fails**n for n in range(limit))
    told = AttemptBelief(
        mean, mean * math.sqrt(math.expm1(whole)), unknown, 1.0, *ends, ended=1e6, repeated=1e6 * (per_task - 1)
    )
    found = left_total([TasksLeft(told, "m", tasks, most=limit, limit=limit)])
    alive, attempts = np.full(worlds, tasks), np.full(worlds, tasks)
    for _ in range(limit - 1):
        alive = rng.binomial(alive, fails)
        attempts = attempts + alive
    luck = np.exp(math.sqrt(unknown) * rng.standard_normal(worlds))
    totals = luck * centre * np.asarray([np.exp(log_sd * rng.standard_normal(n)).sum() for n in attempts])
    assert found.mean == pytest.approx(np.mean(totals), rel=0.05)
    assert found.stddev == pytest.approx(np.std(totals), rel=0.12)
    assert np.mean((found.low <= totals) & (totals <= found.high)) == pytest.approx(0.9, abs=0.035)


def test_a_belief_is_the_one_of_the_predictive_distribution() -> None:
    """What a total is made of must not differ from what one task is forecast with."""
    values = np.exp(-1.5 + 0.6 * np.random.default_rng(5).standard_normal(300))
    summary = summarise(np.zeros(300, np.int32), 1, values, "cost_usd", alpha=0.3)[0]
    found = predict(state_of("cost_usd", {(4200, "m"): summary}), 4200, "m")
    told = belief_of(found, Tally(300, 200), Tally(300, 200))
    assert (told.low, told.high) == found.interval()
    draws = found.sample((np.arange(20_000) + 0.5) / 20_000)
    assert told.mean == pytest.approx(draws.mean(), rel=0.01)
    assert told.stddev == pytest.approx(draws.std(), rel=0.03)
    assert AttemptBelief.from_json(told.as_json()).mean == pytest.approx(told.mean, rel=1e-8)
    # 200 ended and 100 repeated, each with its share of the ten of all, and the half of an uninformed guess.
    assert (told.ended, told.repeated) == pytest.approx((200 + 10 * 2 / 3 + 0.5, 100 + 10 / 3 + 0.5))
    assert attempt_odds(Tally(), Tally()) == (10.5, 0.5)


def test_a_correction_stretches_a_belief_around_its_median() -> None:
    """As it stretches the quantiles of one task: the middle stays, the ends move, the mean of a skewed cost too."""
    told = belief_of_interval(0.3, 0.1, 0.7, 0.5)
    wider = told.corrected(1.4)
    assert wider.median == told.median
    assert math.log(wider.high / told.median) == pytest.approx(1.4 * math.log(told.high / told.median))
    assert wider.mean > told.mean
    assert wider.unknown == pytest.approx(1.96 * told.unknown)
    assert told.corrected(1.0) is told


@given(
    median=st.floats(1e-4, 1e3), spread=st.floats(0, 2), unknown=st.floats(0, 4), effect=st.floats(1, 19),
    tasks=st.integers(1, 500), limit=st.integers(1, 20), odds=st.tuples(st.floats(0.5, 1e6), st.floats(0.01, 1e6)),
)  # fmt: skip
def test_whatever_is_believed_the_interval_holds_its_median(
    median: float, spread: float, unknown: float, effect: float, tasks: int, limit: int, odds: tuple[float, float]
) -> None:
    """Numbers, in order, none negative, for any belief that a registry can hold."""
    mean = median * math.exp(spread**2 / 2)
    told = AttemptBelief(
        mean, mean * math.sqrt(math.expm1(spread**2)), unknown, effect, median * math.exp(-1.645 * spread), median,
        median * math.exp(1.645 * spread), *odds,
    )  # fmt: skip
    found = left_total([TasksLeft(told, "m", tasks, most=limit, limit=limit)])
    assert 0 <= found.low <= found.median <= found.high < math.inf
    assert found.mean >= 0.8 * tasks * mean
