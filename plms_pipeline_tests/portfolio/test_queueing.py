"""Is the reason why a task waits the first obstacle in its way, and is the right task put aside?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from plms_pipeline.portfolio.fairness import LaneBook, Standing
from plms_pipeline.portfolio.preemption import Choice, Running, victim
from plms_pipeline.portfolio.queueing import REASONS, Announcement, Facts, reason

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL = Facts(
    "QUEUED", switch="fire", hold="lunch", missing=("a", "b", "c", "d"), not_before=AT + timedelta(seconds=5),
    last_error="503", held=4, cap=4, refused="budget_exceeded: nothing left", before=3, announcement=Announcement(active=1),
)  # fmt: skip


def test_the_first_obstacle_is_named_and_then_the_next() -> None:
    """Somebody who removes the named obstacle must find the next one named, not the same sentence."""
    seen, facts = [], ALL
    for change in (
        {"switch": None}, {"hold": None}, {"run_status": "RUNNING"}, {"missing": ()}, {"not_before": AT}, {"refused": None},
        {"held": 0},
    ):  # fmt: skip
        seen.append(reason(facts, now=AT).code)
        facts = replace(facts, **change)
    seen.append(reason(facts, now=AT).code)
    assert seen == ["killswitch", "held", "run_queued", "dependency", "retry", "budget", "lane_full", "turn"]
    assert set(seen) <= set(REASONS)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"holds_slot": True}, "handing_over", "goes again in 5 s"),
        ({}, "retry", "503"),
        ({"not_before": None, "refused": None, "cap": 0}, "lane_closed", "cap 0"),
    ],
)
def test_a_sentence_says_what_people_can_act_on(change: dict[str, object], code: str, words: str) -> None:
    """A word alone does not tell whether to wait or to call somebody."""
    facts = replace(ALL, run_status="RUNNING", switch=None, hold=None, missing=(), **change)  # type: ignore[arg-type]
    found = reason(facts, now=AT)
    assert found.code == code
    assert words in found.text


@pytest.mark.parametrize(
    ("about", "code", "words"),
    [
        (Announcement(active=2, most_active=2), "run_queued", "2 of at most 2 runs of the project are at work"),
        (Announcement(active=1, most_active=2), "dispatcher", "`plms run dispatch`"),
        (Announcement(), "dispatcher", "`plms serve`"),
        (Announcement(active=1, tries=1, due_at=AT + timedelta(seconds=9), last_error="away"), "retry", "in 9 s: away"),
        (Announcement(active=1, tries=1, due_at=AT), "dispatcher", "`plms run dispatch`"),
        (Announcement(out=7, most_out=7), "executor_full", "PLMS_PAS_MAX_RUNS"),
    ],
)
def test_a_run_that_is_not_out_says_what_it_really_waits_for(about: Announcement, code: str, words: str) -> None:
    """ "It waits for its turn" was said where nothing dispatched: whoever read it waited for ever."""
    found = reason(Facts("QUEUED", announcement=about), now=AT)
    assert (found.code, words in found.text) == (code, True), found


def test_whose_turn_it_is_learns_who_takes_turns() -> None:
    """A task of which nothing stands in the way goes nowhere while nobody dispatches."""
    assert "`plms run dispatch`" in reason(Facts("RUNNING", cap=1), now=AT).text


BOOK = LaneBook(0.0, {1: Standing(9000.0, 1.0, 1000.0), 2: Standing(-9000.0, 1.0, 1000.0)}, 1000.0)
RUNNING = [Running("old", 2, 400.0), Running("new", 2, 100.0)]


def test_the_newest_task_of_whoever_has_too_much_is_put_aside() -> None:
    """Little is lost by it, and the project that gives had more than its share."""
    assert victim(BOOK, RUNNING, {1: 5}, cap=2) == Choice("new", 2, 1)


def test_nobody_is_put_aside_without_need() -> None:
    """A free slot, a small debt, a task that is nearly done or was paused before: each is a reason to wait instead."""
    assert victim(BOOK, RUNNING, {1: 5}, cap=3) is None
    assert victim(BOOK, RUNNING, {1: 0}, cap=2) is None
    small = LaneBook(0.0, {1: Standing(1900.0, 1.0, 1000.0), 2: Standing(-1900.0, 1.0, 1000.0)}, 1000.0)
    assert victim(small, RUNNING, {1: 5}, cap=2) is None
    assert victim(BOOK, [Running("x", 2, 900.0), Running("y", 2, 950.0)], {1: 5}, cap=2) is None
    assert victim(BOOK, [replace(one, stays=True) for one in RUNNING], {1: 5}, cap=2) is None
    assert victim(BOOK, RUNNING, {1: 5}, cap=2, allowed={1}) is None
    assert victim(BOOK, [Running("mine", 1, 0.0), Running("y", 2, 0.0)], {1: 5}, cap=2) is None
