"""Do the states of runs and cards follow only where they may?"""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.pas.reference.machine import (
    ENDED,
    CardState,
    RunState,
    RunVerb,
    card_by_its_dependencies,
    has_cycle,
    run_after,
    run_by_its_tasks,
)

RUN_STATES: tuple[RunState, ...] = get_args(RunState)
CARD_STATES: tuple[CardState, ...] = get_args(CardState)
VERBS: tuple[RunVerb, ...] = get_args(RunVerb)


@given(st.sampled_from(["completed", "terminated"]), st.lists(st.sampled_from(VERBS)))
def test_nothing_moves_a_run_that_is_over(state: RunState, verbs: list[RunVerb]) -> None:
    """The stub let "completed" overwrite "terminated": a killed run came back as a success."""
    for verb in verbs:
        after = run_after(state, verb)
        assert after in (None, state)
    assert run_by_its_tasks(state, ["failed", "running"], 1) == state


@given(st.lists(st.sampled_from(CARD_STATES), max_size=6), st.integers(1, 6))
def test_a_run_ends_exactly_when_all_announced_tasks_have(states: list[CardState], total: int) -> None:
    """With "start, then cards" the stub completed the run before its first card came."""
    after = run_by_its_tasks("executing", states, total)
    all_ended = len(states) >= total and set(states) <= ENDED
    if not all_ended:
        assert after == "executing"
    else:
        assert after == ("completed" if set(states) == {"succeeded"} else "needs_review")


@given(st.dictionaries(st.integers(0, 6).map(str), st.lists(st.integers(0, 6).map(str), max_size=4), max_size=7))
def test_cycles_are_found_as_by_brute_force(graph: dict[str, list[str]]) -> None:
    """A cycle waits for itself for ever."""

    def reaches(start: str) -> bool:
        seen, todo = set(), list(graph.get(start, []))
        while todo:
            task = todo.pop()
            if task == start:
                return True
            if task not in seen:
                seen.add(task)
                todo += graph.get(task, [])
        return False

    assert has_cycle(graph) == any(reaches(task) for task in graph)


@given(st.lists(st.sampled_from(CARD_STATES), max_size=5))
def test_a_card_goes_when_everything_before_it_is_good(states: list[CardState]) -> None:
    """Started early it works on nothing; never skipped it holds its run open for ever."""
    after = card_by_its_dependencies(states)
    if any(state in ENDED and state != "succeeded" for state in states):
        assert after == "skipped"
    elif all(state == "succeeded" for state in states):
        assert after == "queued"
    else:
        assert after == "waiting"
