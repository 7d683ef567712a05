"""Equal rows have equal digests and different rows different ones."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.intake.identity import natural_keys, row_digests

WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)


def test_a_key_is_written_the_same_on_every_machine() -> None:
    """If this changes, every row that is imported again conflicts with itself."""
    moment = datetime(2025, 7, 20, 12, tzinfo=UTC)
    text = "\x1f".join(["plms-receipt/1", "s", "k", "True", "0.180000", "2025-07-20T12:00:00+00:00", "", "3"])
    digests = row_digests("s", [["k"], [True], [Decimal("0.180000")], [moment], [None], [3]])
    assert digests == [hashlib.sha256(text.encode()).hexdigest()]


@given(st.lists(st.tuples(WORDS, WORDS), min_size=2, max_size=20))
def test_joined_keys_sort_as_their_tuples(pairs: list[tuple[str, str]]) -> None:
    """If this fails the canonical order is another in the files than in the design."""
    keys = natural_keys([[a for a, _ in pairs], [b for _, b in pairs]], len(pairs))
    assert [key for _, key in sorted(zip(pairs, keys, strict=True))] == sorted(keys)


@given(st.lists(st.one_of(st.none(), WORDS, st.integers(), st.booleans()), min_size=1, max_size=6), st.data())
def test_another_value_is_another_digest(values: list[object], data: st.DataObject) -> None:
    """If this fails a changed row counts as unchanged."""
    place = data.draw(st.integers(0, len(values) - 1))
    other = list(values)
    other[place] = data.draw(WORDS.filter(lambda word: word != str(values[place])))
    one, two = (row_digests("s", [[value] for value in row])[0] for row in (values, other))
    assert one != two


def test_the_same_values_from_another_source_are_another_row() -> None:
    assert row_digests("a", [["x"]]) != row_digests("b", [["x"]])
