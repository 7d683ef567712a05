"""Is every try counted, once?"""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.models.training.trials import Trial, count, trial


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


NAMES = st.sampled_from([sha(name) for name in "abcde"])
TRIALS = st.builds(trial, NAMES, st.none() | NAMES)


@given(st.lists(TRIALS), st.lists(NAMES), TRIALS)
def test_a_further_try_never_makes_the_others_fewer(here: list[Trial], ancestors: list[str], more: Trial) -> None:
    """A count that falls makes the gates more lenient the more is tried."""
    before, after = count(here, ancestors), count([*here, more], ancestors)
    assert before <= after <= before + 1
    assert count([*here, more, more], [*ancestors, *ancestors]) == after
    if more in here:
        assert after == before
    assert count(here, ancestors) <= len(set(here)) + len(set(ancestors))


def test_weights_make_another_try_and_the_same_experiment_on_more_data_does_not() -> None:
    """Ten starts from ten champions on the same data counted as one."""
    one = sha("experiment")
    assert trial(one) == Trial(one, one)
    warm = [trial(one, sha(f"parent {number}")) for number in range(3)]
    assert count([trial(one), *warm]) == 4
    assert count([trial(one)], [one]) == 1
    assert count([trial(one)], [one, sha("another")]) == 2
