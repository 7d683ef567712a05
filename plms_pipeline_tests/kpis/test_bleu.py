"""BLEU against its own definition."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.kpis.bleu import bleu, measure_bleu

WORDS = st.lists(
    st.sampled_from(["cat", "dog", "sat", "on", "the", "mat", "ran", "a", "red", "blue"]), min_size=6, max_size=14
)


def textbook(candidate: list[str], reference: list[str]) -> float:
    """Papineni et al. 2002, one segment, four orders, brevity penalty; only where no precision is zero."""
    logs = 0.0
    for order in range(1, 5):
        ours = Counter(tuple(candidate[i : i + order]) for i in range(len(candidate) - order + 1))
        theirs = Counter(tuple(reference[i : i + order]) for i in range(len(reference) - order + 1))
        matched = sum(min(number, theirs[gram]) for gram, number in ours.items())
        if matched == 0:
            return math.nan
        logs += math.log(matched / sum(ours.values())) / 4
    penalty = min(0.0, 1 - len(reference) / len(candidate))
    return math.exp(logs + penalty)


@settings(max_examples=60)
@given(WORDS, WORDS)
def test_agrees_with_the_definition(candidate: list[str], reference: list[str]) -> None:
    """The gate stands at 0.40; a different formula would be a different gate."""
    expected = textbook(candidate, reference)
    if not math.isnan(expected):
        assert bleu(" ".join(candidate), " ".join(reference)) == pytest.approx(expected, rel=1e-9)


@given(WORDS)
def test_a_text_equals_itself(words: list[str]) -> None:
    """sacrebleu says 100.00000000000004 for that; a fraction never exceeds 1."""
    assert bleu(" ".join(words), " ".join(words)) == pytest.approx(1.0)
    assert bleu(" ".join(words), " ".join(words)) <= 1.0


@given(WORDS, WORDS)
def test_lies_between_0_and_1(first: list[str], second: list[str]) -> None:
    """Whatever the texts."""
    assert 0.0 <= bleu(" ".join(first), " ".join(second)) <= 1.0


def test_punctuation_is_a_token_of_its_own() -> None:
    """Splitting at spaces makes "end." and "end" different words, as the original did."""
    assert bleu("this is the very end .", "this is the very end.") == pytest.approx(1.0)


def test_equal_numbers_of_lines_are_compared_line_by_line() -> None:
    """Swapped lines are not the same text."""
    first, second = "the cat sat on the mat", "a dog ran very far today"
    assert bleu(f"{first}\n{second}", f"{first}\n{second}") == pytest.approx(1.0)
    assert bleu(f"{second}\n{first}", f"{first}\n{second}") < 0.2


@pytest.mark.parametrize(
    ("generated", "reference", "reason"),
    [
        (None, "x", "generated text is missing"),
        ("x", None, "reference text is missing"),
        (" \n", "x", "generated text is empty"),
        ("x", "", "reference text is empty"),
    ],
)
def test_a_missing_text_is_a_reason_not_a_zero(generated: str | None, reference: str | None, reason: str) -> None:
    """0.0 would look like a bad text that somebody measured."""
    found = measure_bleu(generated, reference)
    assert found.value is None
    assert reason in str(found.reason)
