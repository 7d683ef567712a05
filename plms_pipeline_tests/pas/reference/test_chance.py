"""Does the same card meet the same fate, and different ones different fates?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.pas.reference.chance import between, draw, pick


@given(st.integers(), st.lists(st.text() | st.integers(), max_size=4))
def test_the_same_question_has_the_same_answer(seed: int, about: list[str | int]) -> None:
    """A failing test that cannot be run again is no test."""
    assert 0 <= draw(seed, *about) == draw(seed, *about) < 1


def test_draws_are_spread_evenly() -> None:
    """A fault of ten percent must strike about every tenth card."""
    draws = [draw(1, "card", number) for number in range(20_000)]
    for tenth in range(10):
        share = sum(tenth / 10 <= one < (tenth + 1) / 10 for one in draws) / len(draws)
        assert 0.09 < share < 0.11


def test_subjects_do_not_run_into_each_other() -> None:
    """("a", "bc") and ("ab", "c") are different subjects."""
    assert draw(1, "a", "bc") != draw(1, "ab", "c")
    assert draw(1, 1) != draw(1, "1")


def test_choices_and_ranges_keep_their_bounds() -> None:
    """An index one too far ends the executor."""
    for number in range(1000):
        assert pick("abc", 3, number) in "abc"
        assert 2 <= between(2, 5, 3, number) < 5
