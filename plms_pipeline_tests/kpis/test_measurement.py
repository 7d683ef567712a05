"""A measurement has a value or a reason, and nothing in between."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.kpis.measurement import Measurement, clean, relative_delta, unmeasured

COUNTS = st.integers(0, 10**12)


def test_no_value_needs_a_reason() -> None:
    """A gate that fails without a reason sends somebody searching at night."""
    with pytest.raises(ValueError, match="reason"):
        Measurement(None)
    assert unmeasured("no file").reason == "no file"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_measurement_is_a_finite_number(value: float) -> None:
    """NaN in a receipt would poison means and break JSON."""
    with pytest.raises(ValueError, match="not a measurement"):
        Measurement(value)


@given(COUNTS, COUNTS)
def test_relative_delta_is_the_exact_fraction(actual: int, expected: int) -> None:
    """Checked against exact rational arithmetic."""
    assert relative_delta(actual, expected) == pytest.approx(float(Fraction(abs(actual - expected), max(1, expected))))


@given(COUNTS)
def test_what_was_expected_is_no_delta(count: int) -> None:
    """Also nothing, when nothing was expected."""
    assert relative_delta(count, count) == 0.0


@pytest.mark.parametrize(("actual", "expected", "delta"), [(95, 100, 0.05), (3, 0, 3.0), (0, 10, 1.0), (20, 10, 1.0)])
def test_relative_delta_by_hand(actual: int, expected: int, delta: float) -> None:
    """The sources' formula."""
    assert relative_delta(actual, expected) == delta


def test_negative_counts_are_an_error() -> None:
    """A count below zero is a bug somewhere, not a small delta."""
    with pytest.raises(ValueError, match="negative"):
        relative_delta(-1, 1)


@given(st.text())
def test_reasons_are_text_that_every_database_takes(text: str) -> None:
    """PostgreSQL refuses NUL, UTF-8 refuses surrogates: an artifact must not be able to break the insert."""
    cleaned = clean(text)
    assert cleaned.isprintable()
    cleaned.encode("utf-8")


def test_surrogates_and_nul_are_replaced() -> None:
    """The two characters that really occur in hostile file names and JSON."""
    assert clean("a\ud800b\0c\nd") == "a?b c d"
