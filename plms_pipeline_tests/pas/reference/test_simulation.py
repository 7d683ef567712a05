"""Is the executor's projection of a run what statistics say it is?"""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.pas.reference.simulation import project, sample

STRATA = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 4), min_size=1, max_size=40)


@given(strata=STRATA, pct=st.floats(0.001, 1.0), stratified=st.booleans(), seed=st.integers(0, 1000))
def test_a_sample_holds_every_group_once_it_is_stratified(
    strata: dict[str, int], pct: float, stratified: bool, seed: int
) -> None:
    """A kind of work that is in no sample is a kind of cost that nobody expects."""
    chosen = sample(strata, pct, stratified=stratified, seed=seed, about="r")
    assert len(chosen) == len(set(chosen)) >= 1
    assert set(chosen) <= set(strata)
    assert len(chosen) >= pct * len(strata)
    if stratified:
        assert {strata[task] for task in chosen} == set(strata.values())
    assert chosen == sample(strata, pct, stratified=stratified, seed=seed, about="r")


@given(strata=STRATA, tokens=st.lists(st.integers(0, 10**6), min_size=40, max_size=40))
def test_a_sample_of_everything_is_the_truth(strata: dict[str, int], tokens: list[int]) -> None:
    """With nothing left to guess, the interval must be gone."""
    known = dict(zip(strata, tokens, strict=False))
    found = project(known, strata, tasks_total=len(strata))
    assert (found.tokens, found.low, found.high, found.coverage, found.risk) == (
        sum(known.values()), sum(known.values()), sum(known.values()), 1.0, 0.0,
    )  # fmt: skip


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """An interval of ±12 % around everything, as the source's stub gives, holds what it happens to hold."""
    draw = random.Random(5)
    strata = {f"t{number}": number % 3 for number in range(300)}
    tokens = {task: round(draw.gauss(1000 * (group + 1), 150)) for task, group in strata.items()}
    whole = sum(tokens.values())
    held = []
    for seed in range(300):
        chosen = sample(strata, 0.1, stratified=True, seed=seed, about="r")
        found = project({task: tokens[task] for task in chosen}, strata, tasks_total=300)
        held.append(found.low <= whole <= found.high)
    assert 0.83 <= fmean(held) <= 0.96


def test_groups_that_were_not_sampled_lower_the_coverage_and_raise_the_risk() -> None:
    """A projection from half of the kinds of work must not look as sure as one from all."""
    strata = {"a": 1, "b": 1, "c": 2}
    found = project({"a": 100, "b": 100}, strata, tasks_total=3)
    assert (found.coverage, found.tokens) == (0.5, 300)
    assert found.risk == pytest.approx(0.5)
