"""Gates: noise is kept out, signal let through, and each reason is named."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.evaluation.bootstrap import Interval
from plms_pipeline.models.evaluation.gates import Evidence, GateConfig, GateVerdict, evidence_of, judge
from plms_pipeline.models.evaluation.thresholds import Alert

CONFIG = GateConfig(resamples=1_000)
GOOD = Evidence(
    periods=1_000,
    information=Interval(0.09, 0.05, 0.13, 0.99),
    sharpe=Interval(2.0, 0.8, 3.2, 0.99),
    deflated=0.99,
    trials=3,
)


def world(signal: float, seed: int, *, moments: int = 2_000, symbols: int = 4, cost: float = 2e-4) -> pd.DataFrame:
    """Predictions whose correlation with the outcome is `signal`, traded after costs, in a market with a common factor."""
    chance = np.random.default_rng(seed)
    shape = (moments, symbols)
    volatility = 0.01 * np.exp(0.5 * np.sin(np.arange(moments) / 90))[:, None]
    noise = 0.5 * chance.normal(size=(moments, 1)) + np.sqrt(0.75) * chance.standard_t(5, shape) * np.sqrt(3 / 5)
    predicted = chance.normal(size=shape)
    actual = signal * predicted + np.sqrt(1 - signal**2) * noise
    position = np.tanh(predicted)
    traded = np.abs(np.diff(position, axis=0, prepend=0.0))
    earned = position * volatility * actual - cost * traded
    at = np.repeat(pd.date_range("2020-01-01", periods=moments, tz="UTC"), symbols)
    return pd.DataFrame(
        {
            "timestamp": at,
            "symbol": np.tile(list("ABCDEFGH"[:symbols]), moments),
            "predicted": predicted.ravel(),
            "actual": actual.ravel(),
            "realised_return": earned.ravel(),
        }
    )


def verdict(signal: float, seed: int) -> GateVerdict:
    return judge(evidence_of(world(signal, seed), trials=5, config=CONFIG), CONFIG)


def test_noise_is_blocked_and_signal_passes() -> None:
    """One seed of each: more are in the test that takes seconds."""
    noise, signal = verdict(0.0, 0), verdict(0.09, 0)
    assert {gate.name for gate in noise.blocking} >= {"information_coefficient_is_more_than_noise"}
    assert signal.passed, signal.blocking


@pytest.mark.live
def test_twenty_worlds_of_noise_are_blocked_and_twenty_with_a_signal_pass() -> None:
    """At least 19 of each, or the gates are a coin. `make prove-gates` takes 40 of each, from their prices on."""
    blocked = [seed for seed in range(20) if not verdict(0.0, seed).passed]
    passed = [seed for seed in range(20) if verdict(0.09, seed).passed]
    assert min(len(blocked), len(passed)) >= 19, (len(blocked), len(passed))


@pytest.mark.live
def test_noise_without_costs_passes_less_often_than_one_time_in_a_hundred() -> None:
    """Costs must not be what keeps noise out: a venue without fees would open the gate."""
    config = replace(CONFIG, resamples=500)
    frames = (world(0.0, seed, moments=500, cost=0.0) for seed in range(200))
    found = [judge(evidence_of(frame, trials=1, config=config), config).passed for frame in frames]
    assert sum(found) <= 2


def test_a_good_candidate_has_no_reasons_against_it() -> None:
    """An empty list is what the reviewer sees."""
    found = judge(GOOD, CONFIG)
    assert found.passed
    assert [gate.reason for gate in found.gates] == [""] * 6
    json.dumps(found.as_document(), allow_nan=False)


@pytest.mark.parametrize(
    ("evidence", "name", "word"),
    [
        (replace(GOOD, periods=249), "has_enough_periods_out_of_sample", "at least 250"),
        (
            replace(GOOD, information=Interval(0.02, -0.01, 0.05, 0.99)),
            "information_coefficient_is_more_than_noise",
            "-0.01",
        ),
        (replace(GOOD, sharpe=Interval(0.9, -0.2, 2.0, 0.99)), "sharpe_after_costs_is_more_than_noise", "-0.2"),
        (replace(GOOD, deflated=0.7), "sharpe_is_more_than_the_luck_of_all_trials", "3 trials"),
        (replace(GOOD, deflated=None), "sharpe_is_more_than_the_luck_of_all_trials", "unknown"),
        (
            replace(GOOD, information=Interval(0.9, 0.8, 1.0, 0.99)),
            "information_coefficient_is_believable",
            "seen the future",
        ),
        (replace(GOOD, sharpe=Interval(40.0, 30.0, 50.0, 0.99)), "sharpe_is_believable", "seen the future"),
        (replace(GOOD, sharpe=Interval(None, None, None, 0.99)), "sharpe_is_believable", "unknown"),
    ],
)
def test_each_gate_blocks_and_says_why(evidence: Evidence, name: str, word: str) -> None:
    """A refusal without a reason is argued with, and switched off."""
    found = judge(evidence, CONFIG)
    reasons = {gate.name: gate.reason for gate in found.blocking}
    assert word in reasons[name]
    assert not found.passed


def test_a_broken_limit_of_the_summary_blocks() -> None:
    """What alerts an operator must not be promoted meanwhile."""
    alert = Alert("drawdown_above_limit", "max_drawdown", -0.3, 0.1, "The deepest drawdown is too deep.")
    found = judge(GOOD, CONFIG, alerts=[alert])
    assert [(gate.name, gate.reason) for gate in found.blocking] == [("limit:drawdown_above_limit", alert.message)]


def test_many_trials_raise_the_bar() -> None:
    """The best of a thousand tries passed by trying."""
    frame = world(0.05, 3, moments=600)
    few, many = (evidence_of(frame, trials=trials, config=CONFIG).deflated for trials in (1, 1_000))
    assert few > many


def test_prices_instead_of_returns_are_refused_by_name() -> None:
    """The mistake for which the sources' whole evaluation was worthless."""
    frame = world(0.0, 1, moments=300)
    frame["realised_return"] = 100.0
    with pytest.raises(BadInput, match="`realised_return` are not simple returns"):
        evidence_of(frame, trials=1, config=CONFIG)


def test_a_row_that_is_there_twice_is_refused() -> None:
    """Every copy would make the interval narrower."""
    frame = world(0.0, 1, moments=300)
    with pytest.raises(BadInput, match="4 rows repeat"):
        evidence_of(pd.concat([frame, frame.head(4)]), trials=1, config=CONFIG)


def test_predictions_without_a_column_or_a_row_are_refused() -> None:
    """The message names the column."""
    frame = world(0.0, 1, moments=20)
    with pytest.raises(BadInput, match="no column `actual`"):
        evidence_of(frame.drop(columns="actual"), trials=1, config=CONFIG)
    with pytest.raises(NoData):
        evidence_of(frame.head(0), trials=1, config=CONFIG)
    frame.loc[3, "predicted"] = np.inf
    with pytest.raises(BadInput, match="`predicted` holds infinite"):
        evidence_of(frame, trials=1, config=CONFIG)


def test_a_few_moments_are_no_evidence() -> None:
    """A perfect week is blocked for being a week."""
    found = judge(evidence_of(world(0.4, 1, moments=8), trials=1, config=CONFIG), CONFIG)
    assert {gate.name for gate in found.blocking} >= {
        "has_enough_periods_out_of_sample",
        "sharpe_after_costs_is_more_than_noise",
    }


@pytest.mark.parametrize("given_", [{"level": 95.0}, {"min_deflated": 2.0}])
def test_a_level_is_a_probability(given_: dict[str, float]) -> None:
    """95 for 0.95 must not let everything through."""
    with pytest.raises(BadInput, match=next(iter(given_))):
        GateConfig(**given_)  # type: ignore[arg-type] # the names are parameters of the test
