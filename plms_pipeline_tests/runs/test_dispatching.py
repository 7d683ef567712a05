"""Does a card go when, and only when, everything that it depends on has succeeded?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.runs.dispatching import LONGEST_WAIT_S, WaitingCard, staging_path, turn_of, wait_s

STATES = ("QUEUED", "RUNNING", "SUCCESS", "FAIL", "SKIPPED")


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[WaitingCard], dict[str, dict[str, str]]]:
    """A run with a random acyclic plan; the QUEUED tasks wait."""
    size = draw(st.integers(1, 9))
    states = {"r": {str(n): draw(st.sampled_from(STATES)) for n in range(size)}}
    cards = [
        WaitingCard(
            f"k{n}", "r", str(n), tuple(map(str, draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else ()))
        )
        for n in range(size)
    ]
    waiting = [card for card in cards if states["r"][card.task_id] == "QUEUED"]
    return draw(st.permutations(waiting)), states


def hopeless_by_hand(task: str, cards: dict[str, WaitingCard], states: dict[str, str]) -> bool:
    """Brute force: some path of waiting tasks leads back to one that failed or was skipped."""
    card = cards.get(task)
    if card is None:
        return states[task] in ("FAIL", "SKIPPED")
    return any(hopeless_by_hand(name, cards, states) for name in card.depends_on)


@given(runs())
def test_each_waiting_card_is_ready_hopeless_or_waits(
    case: tuple[list[WaitingCard], dict[str, dict[str, str]]],
) -> None:
    """A card that is forgotten blocks its run for ever; one that goes too early works on nothing."""
    cards, states = case
    turn = turn_of(cards, states)
    by_task = {card.task_id: card for card in cards}
    hopeless = {c.card_key for c in cards if hopeless_by_hand(c.task_id, by_task, states["r"])}
    ready = [c.card_key for c in cards if all(states["r"][name] == "SUCCESS" for name in c.depends_on)]
    assert set(turn.hopeless) == hopeless
    assert list(turn.ready) == ready
    assert not hopeless & set(turn.ready)
    assert [key for key in (c.card_key for c in cards) if key in hopeless] == list(turn.hopeless)


def test_a_dependency_that_the_run_does_not_hold_is_no_reason_to_wait_for_ever() -> None:
    """The stub accepted unknown dependencies; here the card ends with that reason."""
    turn = turn_of([WaitingCard("k", "r", "a", ("ghost",))], {"r": {"a": "QUEUED"}})
    assert turn.ready == ()
    assert "ghost" in turn.hopeless["k"]


def test_a_long_chain_behind_a_failed_task_is_decided_at_once() -> None:
    """Ten thousand tasks in a row: looking through all of them once per link took minutes."""
    size = 10_000
    states = {"r": {"0": "FAIL", **{str(n): "QUEUED" for n in range(1, size)}}}
    cards = [WaitingCard(f"k{n}", "r", str(n), (str(n - 1),)) for n in range(1, size)]
    assert len(turn_of(reversed(cards), states).hopeless) == size - 1


def test_waits_double_up_to_half_a_minute() -> None:
    """An executor that is away must neither be hammered nor be forgotten."""
    assert [wait_s(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert wait_s(10_000) == LONGEST_WAIT_S


def test_a_card_that_may_have_arrived_goes_again_soon_because_it_holds_a_slot() -> None:
    """An executor that is away for a minute would cost its lanes half a minute more, in which nobody works."""
    assert [wait_s(n, holds_slot=True) for n in range(1, 6)] == [1, 2, 4, 4, 4]
    assert wait_s(5, 20.0, holds_slot=True) == 20.0, "an executor that says when is asked then"


def test_a_task_cannot_name_a_place_outside_its_run() -> None:
    """Task ids come from files that people upload; one of them becomes a folder."""
    assert staging_path("r-1", "write-tests", 2) == "runs/r-1/staging/write-tests/2"
    for bad in ("../../etc", "a/b", "..", "", "a\x00b"):
        with pytest.raises(BadInput, match="no safe name"):
            staging_path("r-1", bad, 1)
