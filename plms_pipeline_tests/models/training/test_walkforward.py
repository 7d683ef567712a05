from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.training.walkforward import Plan, Split, leaks, members, splits

plans = st.builds(
    Plan, st.integers(1, 60), st.integers(1, 30), st.integers(0, 10), st.integers(0, 10), expanding=st.booleans()
)


@settings(max_examples=40)
@given(st.integers(1, 400), plans)
def test_training_never_comes_within_purge_and_embargo_of_its_test(bars: int, plan: Plan) -> None:
    """A target that reaches into the test tells the model the answer."""
    assume(bars > plan.train + plan.gap)
    for one in splits(bars, plan):
        assert 0 <= one.train_first < one.train_end
        assert one.test_first - one.train_end == plan.purge + plan.embargo
        assert one.train_end - one.train_first >= plan.train
        assert plan.expanding or one.train_end - one.train_first == plan.train


@settings(max_examples=40)
@given(st.integers(1, 400), plans)
def test_tests_lie_end_to_end_up_to_the_last_bar(bars: int, plan: Plan) -> None:
    """A bar judged twice counts twice; a tail that is never judged is the part that matters most."""
    assume(bars > plan.train + plan.gap)
    found = splits(bars, plan)
    judged = [place for one in found for place in range(one.test_first, one.test_end)]
    assert judged == list(range(plan.train + plan.gap, bars))
    assert [one.number for one in found] == list(range(len(found)))
    assert leaks(found, np.arange(bars).astype("datetime64[D]"), plan) == ()


def test_too_short_a_history_says_how_much_is_missing() -> None:
    """`IndexError` does not tell anybody to import three more years."""
    with pytest.raises(NoData, match=r"There are 10 moments with features .* split needs more than 12"):
        splits(10, Plan(train=10, test=5, purge=1, embargo=1))
    for plan in (Plan(train=0), Plan(test=0), Plan(purge=-1), Plan(embargo=-1)):
        with pytest.raises(BadInput):
            splits(1_000, plan)


def test_shuffled_time_is_caught_by_name() -> None:
    """Sorted by row number, a panel of two symbols trains on the moment that it is judged on."""
    calendar = np.array(["2024-01-01", "2024-01-03", "2024-01-02", "2024-01-02"], dtype="datetime64[D]")
    found = leaks((), calendar, Plan())
    assert [(one.name, one.count) for one in found] == [("shuffled_time", 2)]


def test_splits_of_others_are_held_to_the_same_rules() -> None:
    """The source drew its validation at random from overlapping windows."""
    calendar = np.arange(100).astype("datetime64[D]")
    touching = Split(0, 0, 50, 50, 60)
    overlapping = Split(1, 0, 50, 55, 65)
    after = Split(2, 70, 99, 65, 70)
    found = leaks((touching, overlapping, after), calendar, Plan(purge=1))
    assert [one.name for one in found] == ["training_touches_test", "tests_overlap"]
    assert found[0].offenders == ("split 0", "split 2")


def test_members_are_all_rows_of_a_span_of_time() -> None:
    """Every symbol of a moment belongs to the same side of a split."""
    times = np.array(["2024-01-01", "2024-01-02", "2024-01-03"] * 2, dtype="datetime64[D]")
    assert members(times, np.unique(times), 1, 3).tolist() == [False, True, True] * 2
    for nothing in (0, 1, 3):
        assert not members(times, np.unique(times), nothing, nothing).any()
