"""Does the breaker stop asking a dead executor, and start again by itself?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.pas.breaker import Breaker, BreakerPolicy, ask, failed, succeeded

POLICY = BreakerPolicy(failures=3, pause_s=5, longest_pause_s=20, probe_s=60)


def opened(at_s: float = 0.0) -> Breaker:
    state = Breaker()
    for _ in range(POLICY.failures):
        state = failed(state, POLICY, at_s)
    return state


def test_it_opens_after_failures_in_a_row_only() -> None:
    """One failure among many good answers must not cut the line."""
    state = failed(failed(Breaker(), POLICY, 0), POLICY, 0)
    assert ask(state, POLICY, 0).may_pass
    state = failed(failed(succeeded(state), POLICY, 0), POLICY, 0)
    assert ask(state, POLICY, 0).may_pass
    assert not ask(opened(), POLICY, 0).may_pass


def test_after_the_pause_one_probe_passes_and_no_second() -> None:
    """A hundred waiting threads that all probe at once knock a recovering executor over again."""
    state = opened()
    refused = ask(state, POLICY, 4.9)
    assert not refused.may_pass
    assert refused.wait_s == pytest.approx(0.1)
    probe = ask(state, POLICY, 5)
    assert probe.may_pass
    assert not ask(probe.breaker, POLICY, 5).may_pass


def test_a_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    """A constant pause asks an executor that is down for the night every five seconds."""
    state, now, pauses = opened(), 0.0, []
    for _ in range(4):
        now += state.pause_s
        state = failed(ask(state, POLICY, now).breaker, POLICY, now)
        pauses.append(state.pause_s)
    assert pauses == [10, 20, 20, 20]


def test_a_good_probe_closes_and_forgets() -> None:
    """After recovery the next single failure must not open it again."""
    state = succeeded(ask(opened(), POLICY, 5).breaker)
    assert state == Breaker()


def test_a_probe_that_never_reports_is_given_up() -> None:
    """The thread with the probe died; without this the breaker would stay shut for ever."""
    probing = ask(opened(), POLICY, 5).breaker
    assert not ask(probing, POLICY, 64).may_pass
    assert ask(probing, POLICY, 65).may_pass


def test_stragglers_do_not_prolong_the_pause() -> None:
    """Calls that were under way when it opened fail later; each would push recovery away."""
    state = opened(at_s=0)
    assert failed(state, POLICY, 4) == state


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=60))
def test_it_is_never_shut_longer_than_the_longest_pause(story: list[tuple[bool, float]]) -> None:
    """Whatever happened before, a caller who waits long enough may always try."""
    state, now = Breaker(), 0.0
    for is_good, wait in story:
        now += wait
        passage = ask(state, POLICY, now)
        state = passage.breaker
        assert passage.may_pass == (passage.wait_s == 0)
        assert 0 <= passage.wait_s <= POLICY.probe_s
        if passage.may_pass:
            state = succeeded(state) if is_good else failed(state, POLICY, now)
    assert ask(state, POLICY, now + POLICY.probe_s).may_pass


@pytest.mark.parametrize("bad", [{"failures": 0}, {"pause_s": 0}, {"pause_s": 9, "longest_pause_s": 8}, {"probe_s": 0}])
def test_a_policy_that_cannot_work_is_refused(bad: dict[str, float]) -> None:
    """A pause of zero is no breaker, zero failures a permanent one."""
    with pytest.raises(ValueError, match="breaker needs"):
        BreakerPolicy(**bad)  # type: ignore[arg-type]  # wrong on purpose
