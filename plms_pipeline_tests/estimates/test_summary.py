from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.summary import Summary, decode, digest, empty, encode, is_current, merge, merge_all

receipts = st.lists(st.one_of(st.floats(1e-4, 1e4), st.just(0.0), st.just(float("nan"))), max_size=40)


def of(xs: list[float]) -> Summary:
    found = summarise(np.zeros(len(xs), np.int32), 1, np.array(xs, dtype=float), "cost_usd", alpha=0.3)
    return found.get(0) or empty()


def assert_equal(one: Summary, other: Summary) -> None:
    assert (one.n, one.n_zero) == (other.n, other.n_zero)
    for name in ("log_mean", "log_m2", "first", "last", "ewma_a", "ewma_b", "moments", "weights"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-9, err_msg=name)
    np.testing.assert_array_equal(one.positions, other.positions)


@given(receipts, receipts, receipts)
def test_merging_is_associative(a: list[float], b: list[float], c: list[float]) -> None:
    """Days are summarised on many machines; how the merges are nested must not change a prior."""
    x, y, z = of(a), of(b), of(c)
    assert_equal(merge(merge(x, y), z), merge(x, merge(y, z)))


@given(receipts, receipts)
def test_two_days_merged_are_the_two_days_read_as_one(a: list[float], b: list[float]) -> None:
    """What is folded by day must be what one pass over all receipts would have found."""
    assert_equal(merge(of(a), of(b)), of(a + b))


@given(st.lists(receipts, max_size=7))
def test_many_days_at_once_are_merged_as_if_one_by_one(days: list[list[float]]) -> None:
    """The fold of a history takes the short way; it must arrive at the same state."""
    parts = [of(day) for day in days]
    assert_equal(merge_all(parts), functools.reduce(merge, parts, empty()))


@given(receipts)
def test_no_receipt_is_the_neutral_element(xs: list[float]) -> None:
    """A day without included receipts changes nothing."""
    assert_equal(merge(of(xs), empty()), of(xs))
    assert_equal(merge(empty(), of(xs)), of(xs))


@given(st.lists(receipts, min_size=1, max_size=6))
def test_a_late_receipt_gives_the_state_of_a_rebuild(days: list[list[float]]) -> None:
    """Settlement and nightly rebuild must agree, counts exactly and the rest to 1e-9, however late a receipt comes."""
    late = [*days[0], 7.5]
    repeated = functools.reduce(merge, [of(late), *(of(day) for day in days[1:])])
    rebuilt = of([x for day in [late, *days[1:]] for x in day])
    assert_equal(repeated, rebuilt)


@given(receipts)
def test_bytes_give_back_the_summary_and_equal_summaries_give_equal_bytes(xs: list[float]) -> None:
    """The digest of a summary is the source of a prior: it must not depend on when it was written."""
    data = encode(of(xs), alpha=0.3)
    assert_equal(decode(data), of(xs))
    assert digest(data) == digest(encode(decode(data), alpha=0.3))


def test_a_summary_of_another_method_is_not_current() -> None:
    """After α is changed in the settings, old days must be summarised again instead of being mixed with new ones."""
    data = encode(of([1.0, 2.0]), alpha=0.3)
    assert is_current(data, alpha=0.3)
    assert not is_current(data, alpha=0.2)
    assert not is_current(b"something else", alpha=0.3)


@pytest.mark.parametrize("data", [b"", b"PLDS", encode(empty(), alpha=0.3)[:-1], b"{}"])
def test_bytes_that_are_no_summary_are_refused(data: bytes) -> None:
    """A damaged row must be an error with a name, not a prior of rubbish."""
    with pytest.raises(ValueError, match="day summary"):
        decode(data)
