"""The rate: at most burst + rate × t in any span of t seconds, for rates that are no whole numbers too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.portfolio.buckets import Level, Rate, full, take
from plms_pipeline.portfolio.store import buckets as store
from plms_pipeline.registry.engine import Registry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def admitted(rate: Rate, gaps_s: list[float], skews_s: list[float] | None = None) -> list[float]:
    """The moments (the bucket's, in seconds) at which one that asked after each gap was admitted.

    Who asks looked at the clock some time (`skews_s`, again and again) before its turn came.
    """
    skews = cycle(skews_s or [0.0])
    level, at_s, found = full(rate, NOW), 0.0, []
    for gap in gaps_s:
        at_s += gap
        level, wait_s = take(level, rate, NOW + timedelta(seconds=at_s - next(skews)))
        if wait_s == 0:
            found.append((level.at - NOW).total_seconds())
    return found


def test_two_per_second_over_a_minute_are_a_hundred_and_twenty() -> None:
    """Otherwise QPS_LIMIT=2.0 admits everything: the sources' shell could not compare with a fraction."""
    moments = admitted(Rate(2.0), [0.01] * 6000)
    assert 119 <= len(moments) <= 121


@given(
    rate=st.floats(0.1, 50),
    burst=st.floats(1, 10),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
    skews=st.lists(st.floats(0, 5), min_size=1, max_size=20),
)
def test_no_span_wherever_it_lies_holds_more_than_burst_and_rate_allow(
    rate: float, burst: float, gaps: list[float], skews: list[float]
) -> None:
    """Otherwise twice the limit passes around the edge of a window."""
    moments = admitted(Rate(rate, burst), gaps, skews)
    for first in range(len(moments)):
        for last in range(first, len(moments)):
            span_s = moments[last] - moments[first]
            assert last - first + 1 <= burst + rate * span_s + 1e-3


@given(rate=st.floats(0.1, 50))
def test_who_waits_as_long_as_it_was_told_is_admitted(rate: float) -> None:
    """Otherwise a client that obeys Retry-After is refused again."""
    level, _ = take(full(Rate(rate), NOW), Rate(rate), NOW)
    _, wait_s = take(level, Rate(rate), NOW)
    later = NOW + timedelta(seconds=wait_s) + timedelta(microseconds=1)
    assert take(level, Rate(rate), later)[1] == 0


def test_who_waited_for_a_lock_brings_no_time_back() -> None:
    """Otherwise the time between its look at the clock and its turn is counted twice, and more begin than the rate allows."""
    rate = Rate(2.0, 3.0)
    level = Level(2.0, NOW)
    late, wait_s = take(level, rate, NOW - timedelta(seconds=5))
    assert wait_s == 0
    assert late == Level(1.0, NOW)
    empty = Level(0.0, NOW)
    assert take(empty, rate, NOW - timedelta(seconds=5)) == (empty, 5.5)


def test_a_small_step_back_is_not_followed_in_the_books(registry: Registry) -> None:
    """Eight processes on PostgreSQL began three starts within 0.93 s at two per second: each refusal set the clock back."""
    with registry.writing() as session:
        assert store.spend(session, "launcher", Rate(2.0), now=NOW) == 0
    for _ in range(3):
        with registry.writing() as session:
            earlier = NOW - timedelta(seconds=0.4)
            assert store.spend(session, "launcher", Rate(2.0), now=earlier) > 0
            store.follow_clock(session, "launcher", now=earlier)
    with registry.writing() as session:
        assert store.spend(session, "launcher", Rate(2.0), now=NOW + timedelta(seconds=0.3)) > 0


def test_a_clock_that_jumped_back_brings_no_tokens() -> None:
    """Otherwise every correction of a machine's clock is a burst."""
    empty = Level(0.0, NOW)
    assert take(empty, Rate(2.0), NOW - timedelta(hours=1))[1] == 0.5


@pytest.mark.parametrize(("per_s", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (float("inf"), 1), (1, 0.5)])
def test_a_rate_that_is_none_is_refused(per_s: float, burst: float) -> None:
    """Otherwise a misconfigured guard passes for ever."""
    with pytest.raises(ValueError, match="is no rate"):
        Rate(per_s, burst)


def test_the_bucket_in_the_books_is_shared(registry: Registry) -> None:
    """Otherwise each process has a rate of its own."""
    with registry.writing() as session:
        assert store.spend(session, "launcher", Rate(2.0), now=NOW) == 0
    with registry.writing() as session:
        assert store.spend(session, "launcher", Rate(2.0), now=NOW) == pytest.approx(0.5)
    with registry.writing() as session:
        assert store.spend(session, "launcher", Rate(2.0), now=NOW + timedelta(seconds=0.5)) == 0


def test_after_a_clock_that_jumped_back_things_begin_again(registry: Registry) -> None:
    """Otherwise nothing starts until the clock is as late as it was."""
    with registry.writing() as session:
        assert store.spend(session, "launcher", Rate(2.0), now=NOW) == 0
    earlier = NOW - timedelta(hours=1)
    with registry.writing() as session:
        assert store.spend(session, "launcher", Rate(2.0), now=earlier) > 0
        store.follow_clock(session, "launcher", now=earlier)
    with registry.writing() as session:
        assert store.spend(session, "launcher", Rate(2.0), now=earlier + timedelta(seconds=1)) == 0
