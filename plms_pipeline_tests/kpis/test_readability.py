"""Flesch-Kincaid on the prose of Markdown."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.kpis.readability import TextCounts, count, grade, measure_readability, prose_of, syllables_in

SYLLABLES = {
    # From a pronouncing dictionary, not from our rules.
    1: "the is file files time times makes walked used called cache does judged queue smile house passed names types",
    2: "table little wanted boxes changes people being flying apple houses added needed really quiet science client create "
    "creates every function value simple server system poem lion region onion million nation social special trial reading",
    3: "created idea area syllable video radio serious various creating studying library database theory museum musician "
    "guardian period audience obvious previous artifact engineer efficient italian",
    4: "parameter databases application material experience",
    5: "readability documentation configuration",
}


def test_most_words_have_the_syllables_of_a_dictionary() -> None:
    """The grade weighs a syllable per word with 11.8: a biased count would shift every verdict."""
    known = {word: number for number, words in SYLLABLES.items() for word in words.split()}
    wrong = {word: syllables_in(word) for word, number in known.items() if word and syllables_in(word) != number}
    assert len(wrong) <= 0.03 * len(known), wrong


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz'", min_size=1, max_size=30))
def test_every_word_has_a_syllable(word: str) -> None:
    """A word of none would make a text easier by being in it."""
    assert 1 <= syllables_in(word) <= len(word)


def test_the_formula_is_the_one_of_1975() -> None:
    """100 words, 5 sentences, 150 syllables: 0.39·20 + 11.8·1.5 − 15.59, by hand."""
    assert grade(TextCounts(100, 5, 150)) == pytest.approx(9.91)


@given(st.integers(1, 1000), st.integers(1, 100), st.integers(0, 3000))
def test_longer_sentences_and_longer_words_are_harder(words: int, sentences: int, more: int) -> None:
    """The two directions that the gate rests on."""
    base = TextCounts(words, sentences, words)
    assert grade(TextCounts(words, sentences, words + more)) >= grade(base)
    assert grade(TextCounts(words, sentences + 1, words)) <= grade(base)


def test_counts_a_short_text_by_hand() -> None:
    """Two sentences, nine words, ten syllables."""
    assert count("The cat sat on the mat. The dog slept.") == TextCounts(9, 2, 9)


def test_abbreviations_and_numbers_do_not_end_sentences() -> None:
    """ "e.g." would otherwise make every guide look easy."""
    assert count("Use a tool, e.g. ruff or mypy, at version 3.11 or later.").sentences == 1


def test_code_tables_and_markup_are_not_prose() -> None:
    """A forty-line code block would count as one sentence of two hundred words."""
    text = """---
title: not prose
---
# A heading

Some *plain* words with [a link](https://example.org/very/long/address) and `inline_code()`.

```python
def hidden_function(argument): return argument.attribute.another_attribute
```

~~~
also hidden
~~~

| column | other |
|---|---|
| cell | cell |

    indented_code_is_hidden = True

<!-- a comment --> ![picture of nothing](x.png) <b>bold</b>

- one item
- another item
  that goes on
"""
    assert prose_of(text).splitlines() == [
        "A heading",
        "Some plain words with a link and  .",
        "bold",
        "one item",
        "another item that goes on",
    ]


def test_headings_and_items_end_sentences() -> None:
    """Without full stops a list would be one endless sentence."""
    assert (
        count(prose_of("# One heading\n\n- first thing\n- second thing\n\nA paragraph\nover two lines")).sentences == 4
    )


EASY = "The cat sat on the mat. The dog ran to the door. We all had a good day in the sun. " * 6
HARD = (
    "Notwithstanding considerable organisational heterogeneity, institutional stakeholders systematically operationalise "
    "multidimensional accountability methodologies throughout interdependent administrative infrastructures and "
    "incorporate retrospective evaluations concerning technological implementation characteristics. "
) * 6


def test_easy_text_has_a_low_grade_and_hard_text_a_high_one() -> None:
    """The gate of lane 4202 stands at 10."""
    assert float(measure_readability(EASY).value or 99) < 3
    assert float(measure_readability(HARD).value or 0) > 20


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "missing"),
        ("", "only 0 words"),
        ("Short. Very short.", "only 3 words"),
        ("```\n" + EASY + "\n```", "only 0 words"),
        ("мир труд май " * 60 + " word" * 100, "Latin"),
    ],
)
def test_what_cannot_be_graded_says_why(text: str | None, reason: str) -> None:
    """The original answered 12.0, and nobody could tell a missing file from hard words."""
    found = measure_readability(text)
    assert found.value is None
    assert reason in str(found.reason)


HOSTILE = [
    "![",
    "<!--",
    "`a",
    "[",
    "[a](",
    "| ",
    "- ",
    "<a",
    "`",
    "* ",
    "_",
    "---\n",
    "1. ",
    "word.\n",
    "    x\n",
    "\t",
    "ia",
]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_no_text_takes_long(pattern: str) -> None:
    """A pattern with a quadratic search would stop the night on one small file."""
    text = pattern * (100_000 // len(pattern)) + "x"
    began = time.process_time()
    measure_readability(text)
    assert time.process_time() - began < 3.0


@given(st.text(max_size=300))
def test_any_text_has_a_measurement(text: str) -> None:
    """Whatever an artifact calls documentation."""
    found = measure_readability(text)
    assert (found.value is None) == (found.reason is not None)
