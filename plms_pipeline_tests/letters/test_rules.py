"""Does a letter wait as long as it must, count as it must, and end?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.letters.rules import Failure, Letter, Policy, chance_of, due_at, failed_again, opened, wait_s

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def failure(reason: str = "timeout", **facts: object) -> Failure:
    return Failure(kind="run", subject_id="r", reason=reason, run_id="r", **facts)  # type: ignore[arg-type]


def taken(letter: Letter) -> Letter:
    """As the store's claim leaves it once its retry is under way."""
    return replace(letter, state="processing", attempts=letter.attempts + 1)


@pytest.mark.parametrize(("attempt", "bound"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (5000, 30)])
def test_waits_double_from_one_second_to_thirty(attempt: int, bound: float) -> None:
    """Without a bound the tenth retry waits for a quarter of an hour; without doubling a struggling system never recovers."""
    assert wait_s(attempt, 1.0) == bound
    assert wait_s(attempt, 0.0) == 0.0
    assert wait_s(attempt, 0.25) == bound / 4


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_every_wait_lies_between_nothing_and_the_bound(attempt: int, chance: float) -> None:
    """Full jitter: anything in between, so that a thousand letters of one outage do not come back in one second."""
    assert 0 <= wait_s(attempt, chance) <= 30


def test_letters_of_one_outage_come_back_spread_out() -> None:
    """The same wait for all is a second outage."""
    chances = [chance_of(f"letter-{number}", 1) for number in range(4000)]
    assert mean(chances) == pytest.approx(0.5, abs=0.02)
    tenths = [sum(low <= 10 * chance < low + 1 for chance in chances) for low in range(10)]
    assert min(tenths) > 300
    assert chance_of("a", 1) == chance_of("a", 1) != chance_of("a", 2)


def test_a_transient_failure_waits_and_all_others_are_put_aside() -> None:
    """The sources retried violations of policy like timeouts."""
    letter = opened(failure(), now=AT, actor="x")
    assert (letter.state, letter.attempts, letter.ended_at) == ("ready", 0, None)
    assert letter.next_due_at is not None
    assert AT <= letter.next_due_at <= AT + timedelta(seconds=1)
    for reason, error_class in (("pii", "POLICY"), ("whatever", "PERMANENT")):
        letter = opened(failure(reason), now=AT, actor="x")
        assert (letter.error_class, letter.state, letter.next_due_at, letter.ended_at) == (
            error_class, "permanent", None, AT,
        )  # fmt: skip
    assert opened(failure(is_final=True), now=AT, actor="x").state == "permanent"


def test_the_third_failed_retry_ends_it() -> None:
    """The sources ended it at the fourth call, and never where each failure added a new entry with count zero."""
    letter = opened(failure(), now=AT, actor="x")
    for number in (1, 2):
        letter = failed_again(taken(letter), failure(), now=AT, actor="x")
        assert (letter.state, letter.attempts) == ("ready", number)
    letter = failed_again(taken(letter), failure(), now=AT, actor="x")
    assert (letter.state, letter.attempts, letter.next_due_at, letter.ended_at) == ("permanent", 3, None, AT)


def test_a_retry_that_fails_for_a_worse_reason_ends_it_at_once() -> None:
    """A retry that breaks a policy must not be tried twice more because the first failure was a timeout."""
    letter = failed_again(taken(opened(failure(), now=AT, actor="x")), failure("copyright"), now=AT, actor="x")
    assert (letter.error_class, letter.state, letter.attempts) == ("POLICY", "permanent", 1)


def test_a_failure_told_twice_is_told_once() -> None:
    """A second delivery of the same news must neither bring the retry forward nor put it off."""
    first = opened(failure(), now=AT, actor="x")
    again = failed_again(first, failure("timeout"), now=AT + timedelta(seconds=5), actor="y")
    assert (again.state, again.attempts, again.next_due_at) == ("ready", 0, first.next_due_at)


@pytest.mark.parametrize("state", ["permanent", "quarantined"])
def test_what_a_person_put_aside_stays_aside(state: str) -> None:
    """The run that was under way when somebody stopped its retries fails a moment later."""
    letter = replace(opened(failure(), now=AT, actor="x"), state=state, error_class="TRANSIENT")
    after = failed_again(letter, failure("connection reset"), now=AT, actor="x")
    assert (after.state, after.error_class, after.reason) == (state, "TRANSIENT", "connection reset")


def test_what_had_recovered_and_fails_anew_has_all_its_retries() -> None:
    """Three passing failures in three months are not one failure that does not pass."""
    letter = replace(taken(taken(opened(failure(), now=AT, actor="x"))), state="done", ended_at=AT)
    anew = failed_again(letter, failure(), now=AT + timedelta(days=30), actor="x")
    assert (anew.state, anew.attempts, anew.first_failed_at, anew.ended_at) == (
        "ready",
        0,
        AT + timedelta(days=30),
        None,
    )


@given(st.lists(st.sampled_from(["timeout", "pii", "odd", "HTTP 503"]), min_size=1, max_size=12))
def test_no_sequence_of_failures_begins_more_than_three_retries(reasons: list[str]) -> None:
    """Endless retries are the defect of the sources that cost most."""
    letter = opened(failure(reasons[0]), now=AT, actor="x")
    begun = 0
    for reason in reasons[1:]:
        if letter.state == "ready":
            letter, begun = taken(letter), begun + 1
        letter = failed_again(letter, failure(reason), now=AT, actor="x")
    assert begun <= 3
    assert letter.attempts <= letter.max_attempts


def test_each_failed_run_is_retried_under_one_key() -> None:
    """Whoever takes over from a dead process must repeat its start, not add one; a count that was reset is no new run."""
    letter = opened(failure(), now=AT, actor="x")
    keys = {letter.retry_key}
    for number in range(3):
        claimed = taken(letter)
        assert claimed.retry_key == letter.retry_key == replace(claimed, lease_holder="another", attempts=0).retry_key
        letter = replace(claimed, run_id=f"retry-{number}")
        keys.add(letter.retry_key)
    assert len(keys) == 4


def test_waits_of_one_letter_grow_on_average() -> None:
    """The policy is what decides, not the chance of one letter."""
    policy = Policy(max_attempts=9)
    means = [
        mean((due_at(f"l{n}", attempts, AT, policy) - AT).total_seconds() for n in range(500)) for attempts in range(6)
    ]
    assert all(earlier < later for earlier, later in pairwise(means))
    assert means[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("holder", "known", "failed", "counts"),
    [
        ("here", "first", "first", False),
        ("here", "first", "retry", True),
        (None, "retry", "first", False),
        (None, "retry", "retry", True),
    ],
)
def test_news_of_an_earlier_run_do_not_end_the_retry_under_way(
    holder: str | None, known: str, failed: str, counts: bool
) -> None:
    """Failures are told at least once: the second telling of the first one would count as a failed retry."""
    letter = replace(taken(opened(failure(), now=AT, actor="x")), lease_holder=holder, run_id=known)
    after = failed_again(letter, replace(failure(), run_id=failed), now=AT, actor="x")
    assert (after.state == "ready") is counts
    assert (after == letter) is not counts
