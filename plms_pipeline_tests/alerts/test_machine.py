"""Is each crossing one event, whoever sees it, in whatever order, and however the value dances?"""

from __future__ import annotations

import random
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.alerts.inputs import INPUTS
from plms_pipeline.alerts.machine import Reading, State, Step, acknowledged, moved
from plms_pipeline.alerts.rules import Rule
from plms_pipeline_tests.alerts.worlds import AT

NONE = timedelta(0)


def rule(**changes: object) -> Rule:
    given_: dict[str, object] = {
        "name": "runway_t15", "title": "x", "input": INPUTS["minutes_to_depletion"], "compare": "<=", "threshold": 15.0,
        "clear": 20.0, "for_span": NONE, "hold": NONE, "severity": "P1", "route": ("chat",),
    }  # fmt: skip
    return Rule(**{**given_, **changes})  # type: ignore[arg-type]


def reading(seconds: float, value: float | None, **more: object) -> Reading:
    return Reading("minutes_to_depletion", "project:42", value, AT + timedelta(seconds=seconds), **more)  # type: ignore[arg-type]


def fed(known: Rule, readings: list[Reading], state: State | None = None) -> tuple[State, list[Step]]:
    state = state or State(known.name, "project:42")
    steps = []
    for one in readings:
        state, step = moved(state, known, one, one.at)
        if step is not None:
            steps.append(step)
    return state, steps


@given(st.integers(1, 3600), st.floats(15.1, 19.9))
def test_what_must_hold_for_a_time_holds_without_a_break(pause_s: int, between: float) -> None:
    """Two crossings two hours apart, and neither high nor calm in between, were told as two hours above the limit."""
    known = rule(for_span=timedelta(seconds=3600))
    first = [reading(0, 10), reading(1800, 10), reading(1801, between), reading(1801 + pause_s, 10)]
    state, steps = fed(known, first)
    assert (state.state, steps) == ("pending", [])
    _, steps = fed(known, [reading(1801 + pause_s + 3599, 10), reading(1801 + pause_s + 3600, 10)], state)
    assert [step.kind for step in steps] == ["fired"]


@given(st.lists(st.floats(15 - 4.9, 15 + 4.9), min_size=1, max_size=60))
def test_a_value_that_dances_on_the_threshold_for_an_hour_is_one_alert(values: list[float]) -> None:
    """Without hysteresis each look that falls on the other side is a page, sixty in an hour."""
    state, steps = fed(rule(), [reading(60 * n, value) for n, value in enumerate(values)])
    assert [step.kind for step in steps] == (["fired"] if any(value <= 15 for value in values) else [])
    over, ended = fed(rule(), [reading(4000, 60)], state)
    assert [step.kind for step in ended] == (["resolved"] if steps else [])
    assert not over.is_open


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 100)), min_size=2, max_size=60))
def test_what_is_never_calm_for_long_enough_is_one_episode_however_far_it_swings(
    moves: list[tuple[float, int]],
) -> None:
    """`hold`: a rate that comes in bursts is refused again a minute after it was calm."""
    known = rule(hold=timedelta(seconds=600))
    readings, at = [], 0.0
    for value, wait in moves:
        at += wait
        # Each time it is calm, something crosses again within ten minutes.
        readings += [reading(at, value), reading(at + 0.5, 10.0)]
    _, steps = fed(known, readings)
    assert [step.kind for step in steps] == ["fired"]


@settings(max_examples=60)
@given(st.lists(st.floats(0, 40), min_size=1, max_size=30), st.integers(0, 2**32))
def test_evaluators_that_overtake_each_other_change_nothing(values: list[float], seed: int) -> None:
    """Two replicas read at two moments and write in the other order: the older reading must not open what is over."""
    readings = [reading(n, value) for n, value in enumerate(values)]
    alone, steps = fed(rule(), readings)
    chance = random.Random(seed)
    state, taken = State("runway_t15", "project:42"), []
    for n, newest in enumerate(readings):
        # Whatever an evaluator read before, and how often, may come once more after the newest.
        for one in [newest, *chance.choices(readings[: n + 1], k=3)]:
            state, step = moved(state, rule(), one, newest.at)
            taken += [] if step is None else [step]
    assert state == alone
    assert [step.event_key for step in taken] == [step.event_key for step in steps]
    assert len({step.event_key for step in taken}) == len(taken)


@given(st.lists(st.floats(0, 40), min_size=1, max_size=40))
def test_steps_alternate_and_states_follow_the_only_way_there_is(values: list[float]) -> None:
    """A resolve without a trigger closes what somebody else opened."""
    allowed = {
        ("ok", "firing"), ("firing", "resolved"), ("resolved", "firing"), ("ok", "ok"), ("firing", "firing"),
        ("resolved", "resolved"),
    }  # fmt: skip
    state, kinds = State("runway_t15", "project:42"), []
    for n, value in enumerate(values):
        after, step = moved(state, rule(), reading(n, value), AT + timedelta(seconds=n))
        assert (state.state, after.state) in allowed
        kinds += [] if step is None else [step.kind]
        state = after
    assert kinds == ["fired", "resolved"] * (len(kinds) // 2) + ["fired"] * (len(kinds) % 2)


def test_what_must_last_counts_only_when_it_has() -> None:
    """A queue that is long for a minute needs nobody."""
    known = rule(for_span=timedelta(minutes=30))
    state, steps = fed(known, [reading(0, 10), reading(1000, 12)])
    assert (state.state, steps) == ("pending", [])
    assert fed(known, [reading(1200, 30)], state)[0].state == "ok"
    after, steps = fed(known, [reading(1800, 12)], state)
    assert [(step.kind, step.at) for step in steps] == [("fired", AT + timedelta(seconds=1800))]
    assert after.crossed_at == AT


def test_a_crossing_that_is_found_late_is_the_one_that_it_was() -> None:
    """Nobody looked for an hour: it fires at once, and its episode is that of whoever had seen it in time."""
    known = rule(for_span=timedelta(minutes=30))
    since = AT - timedelta(hours=1)
    early, first = fed(known, [reading(-1800, 10, since=since)])
    late, second = fed(known, [reading(0, 10, since=since)])
    assert first[0].event_key == second[0].event_key
    assert early.episode_id == late.episode_id


def test_what_nobody_knows_moves_nothing_and_what_is_gone_is_over() -> None:
    """No burn means unknown, not infinite; but a project that is completed needs no budget."""
    state, _ = fed(rule(), [reading(0, 10)])
    assert fed(rule(), [reading(60, None)], state) == (state, [])
    over, steps = fed(rule(), [reading(60, None, is_absent=True)], state)
    assert (over.state, [step.kind for step in steps]) == ("resolved", ["resolved"])


def test_after_the_clock_went_back_readings_count_again() -> None:
    """Otherwise nothing would be told until it is as late as it was."""
    state, _ = fed(rule(), [reading(0, 10)])
    hour_before = reading(-3600, 60)
    assert moved(state, rule(), hour_before, AT)[0] is state
    assert moved(state, rule(), hour_before, hour_before.at)[0].state == "resolved"


def test_acknowledged_it_goes_on_until_it_is_over() -> None:
    """Whoever has it in hand still wants to hear of its end."""
    state, _ = fed(rule(), [reading(0, 10)])
    acked, step = acknowledged(state, by="ann", at=AT)
    assert step is not None
    assert (acked.state, acked.acked_by) == ("acked", "ann")
    assert acknowledged(acked, by="bob", at=AT) == (acked, None)
    assert fed(rule(), [reading(60, 10)], acked)[0].state == "acked"
    assert [one.kind for one in fed(rule(), [reading(60, 60)], acked)[1]] == ["resolved"]
