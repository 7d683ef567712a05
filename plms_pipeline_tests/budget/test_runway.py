"""How long a budget lasts and what a project will have cost: hand-worked examples, and the laws between the numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.budget.depletion import Lumps
from plms_pipeline.budget.runway import Activity, Runway, Spell, chance_of_overrun, runway, status_of
from plms_pipeline.estimates.extrapolation import Extrapolation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTHING = Extrapolation(0, 0, 0, 0, 0, 0, None, 1)


def exactly(usd: float) -> Extrapolation:
    """A forecast that nobody doubts."""
    return Extrapolation(usd, usd, usd, usd, 0.0, 0.0, None, 1.0)


def under_way(minutes: float, window: float, run: float, lumpiness: float | None = None, receipts: int = 1) -> Activity:
    """Something runs since so many minutes, and took so much in its last ten, and since it began, in equal receipts."""
    lumps = 1 / receipts if lumpiness is None else lumpiness
    spells = (Spell(window, lumps, receipts), Spell(run, lumps, receipts))
    return Activity(NOW - timedelta(minutes=minutes), *spells, durations=Lumps(receipts, lumps))


def told(**changes: Any) -> Runway:
    given_: dict[str, Any] = {
        "spent": 1.10, "reserved": 0.0, "budget": 2.0, "left": NOTHING, "activity": Activity(None), "now": NOW,
    }  # fmt: skip
    return runway(**{**given_, **changes})


@pytest.mark.parametrize(
    ("changes", "status", "minutes", "overrun"),
    [
        # Zero burn: nothing is under way.
        ({}, "ok", None, 0.0),
        # Zero burn: something runs, and has cost nothing yet.
        ({"activity": under_way(5, 0, 0)}, "ok", None, 0.0),
        # The sources' sample: 0.90 left at 0.083 a minute are 10.84 minutes, not the 12 that they print.
        ({"activity": under_way(20, 0.83, 1.1)}, "warning", 10.84, 0.0),
        # A run of two minutes has no window of ten.
        ({"activity": under_way(2, 0.83, 0.83)}, "critical", 2.17, 0.0),
        # Nothing ended in the last ten minutes: the run so far.
        ({"activity": under_way(120, 0, 1.1)}, "ok", 98.18, 0.0),
        # Exactly 30 minutes is not above 30, exactly 10 not below 10.
        ({"activity": under_way(20, 0.3, 1.1)}, "warning", 30.0, 0.0),
        ({"activity": under_way(20, 0.9, 1.1)}, "warning", 10.0, 0.0),
        # Overrun of 5 %, of 20 % exactly, and of 25 %.
        ({"left": exactly(1.0)}, "warning", None, 0.1),
        ({"left": exactly(1.3)}, "critical", None, 0.4),
        ({"left": exactly(1.4)}, "critical", None, 0.5),
        # No budget: nothing to overrun.
        ({"budget": None, "left": exactly(5.0)}, "ok", None, None),
        ({"budget": None, "activity": under_way(5, 1, 1)}, "ok", None, None),
        # A spent budget: still burning, with work left, and exactly used up at the end.
        ({"spent": 2.0, "activity": under_way(5, 1, 1)}, "critical", 0.0, 0.0),
        ({"spent": 2.5}, "critical", None, 0.5),
        ({"spent": 2.0, "left": exactly(0.1)}, "warning", None, 0.1),
        ({"spent": 2.0}, "ok", None, 0.0),
        # No forecast: unknown, and a warning as soon as something runs; what is over already is known.
        ({"left": None}, "ok", None, None),
        ({"left": None, "activity": under_way(120, 0, 1.1)}, "warning", 98.18, None),
        ({"left": None, "spent": 2.1}, "warning", None, 0.1),
        ({"left": None, "spent": 2.5}, "critical", None, 0.5),
        # A budget of nothing suffices for nothing.
        ({"budget": 0.0, "spent": 0.0}, "ok", None, 0.0),
        ({"budget": 0.0, "spent": 0.0, "left": exactly(0.01)}, "critical", None, 0.01),
        ({"budget": 0.0, "spent": 0.01, "activity": under_way(5, 0.01, 0.01)}, "critical", 0.0, 0.01),
    ],
)
def test_the_runway_equals_hand_worked_examples(
    changes: dict[str, Any], status: str, minutes: float | None, overrun: float | None
) -> None:
    """No burn means unknown, not infinite; what nobody knows is not counted as nothing."""
    found = told(**changes)
    assert found.status == status
    assert found.minutes_left == (None if minutes is None else pytest.approx(minutes, abs=0.01))
    assert found.overrun_usd == (None if overrun is None else pytest.approx(overrun))


def test_one_task_left_is_what_was_spent_and_its_interval() -> None:
    """The last task decides whether the budget holds: its own interval stands, moved by what was spent."""
    found = told(left=Extrapolation(0.25, 0.2, 0.1, 0.5, 0.15, 0.0, None, 1.0))
    assert found.final_usd == pytest.approx(1.3)
    assert found.final_90 == pytest.approx((1.2, 1.6))
    assert (found.overrun_usd, found.overrun_pct, found.status) == (0.0, 0.0, "ok")


def test_the_overrun_in_percent_is_of_the_budget() -> None:
    """The sources' sample has 0.32 of 2.00, which is 16 % and not the 29 % that their page shows."""
    assert told(left=exactly(1.22)).overrun_pct == pytest.approx(16.0)
    assert told(budget=0.0, left=exactly(1)).overrun_pct is None


def test_the_time_that_is_left_is_the_less_certain_the_fewer_receipts_it_rests_on() -> None:
    """One receipt a minute ago says hardly anything about the next half hour."""
    few, many = (told(activity=under_way(20, 0.3, 0.6, receipts=n)) for n in (1, 400))
    assert few.depletion_90 is not None
    assert many.depletion_90 is not None
    assert few.depletion_90[0] < 10 < 30 < 120 < few.depletion_90[1]
    assert 25 < many.depletion_90[0] < 30 < many.depletion_90[1] < 36


def test_attempts_of_uneven_length_leave_less_certain_when_the_budget_is_gone() -> None:
    """The interval that took receipts for a Poisson process held the moment in two of three cases."""
    steady, uneven = (
        told(activity=replace(under_way(100, 0.0, 1.1, receipts=20), durations=Lumps(20, lumps)))
        for lumps in (0.05, 0.4)
    )
    assert steady.minutes_left == uneven.minutes_left
    assert steady.depletion_90 is not None
    assert uneven.depletion_90 is not None
    assert uneven.depletion_90[0] < steady.depletion_90[0] < steady.depletion_90[1] < uneven.depletion_90[1]


def test_a_window_of_ten_minutes_is_not_believed_against_hours_before_it_contradicts_them() -> None:
    """One cheap receipt in the last ten minutes is chance; a hundred expensive ones mean that burn has changed."""
    hours = NOW - timedelta(hours=5)
    chance = told(activity=Activity(hours, Spell(0.001, receipts=1), Spell(1.0, 1 / 60, 60)))
    assert chance.minutes_left == pytest.approx(9000)
    assert chance.depletion_90 is not None
    assert chance.depletion_90[0] < 300
    changed = told(
        spent=100.0, budget=190.0, activity=Activity(hours, Spell(90, 1 / 300, 300), Spell(100, 1 / 360, 360))
    )
    assert changed.minutes_left == pytest.approx(10)
    assert changed.depletion_90 is not None
    assert 6 < changed.depletion_90[0] < 10 < changed.depletion_90[1] < 15


def test_the_chance_of_an_overrun_is_the_share_of_the_forecast_beyond_the_budget() -> None:
    """Half beyond the median; none and all where nobody doubts the forecast."""
    doubtful = Extrapolation(1.0, 1 / math.sqrt(2), 0.2, 3.0, 1.0, 0.0, None, 1.0)
    assert chance_of_overrun(1.0, 1.0 + doubtful.median, doubtful) == pytest.approx(0.5)
    assert chance_of_overrun(1.0, 3.0, exactly(1.9)) == 0.0
    assert chance_of_overrun(1.0, 3.0, exactly(2.1)) == 1.0
    assert chance_of_overrun(3.0, 3.0, NOTHING) == 0.0
    assert chance_of_overrun(3.1, 3.0, NOTHING) == 1.0
    assert chance_of_overrun(1.0, 3.0, None) is None
    assert chance_of_overrun(1.0, None, doubtful) is None


money = st.floats(0, 1e4)


@given(
    spent=money, budget=st.none() | money, left=st.none() | money, window=money, minutes=st.floats(0, 1e4),
    lumps=st.floats(1e-4, 1), receipts=st.integers(0, 10_000),
)  # fmt: skip
def test_the_numbers_of_a_runway_never_contradict_each_other(
    spent: float, budget: float | None, left: float | None, window: float, minutes: float, lumps: float, receipts: int
) -> None:  # fmt: skip
    """Whoever reads one of them acts; it must not matter which."""
    found = told(
        spent=spent, budget=budget, left=None if left is None else exactly(left),
        activity=under_way(minutes, window, window, lumps, receipts),
    )  # fmt: skip
    assert found.status == status_of(
        budget=budget, minutes=found.minutes_left, overrun=found.overrun_usd, is_active=True
    )
    if found.final_usd is not None and found.final_90 is not None:
        assert found.spent_usd <= found.final_90[0] <= found.final_usd <= found.final_90[1]
    if found.minutes_left is not None:
        assert found.depletion_90 is not None
        assert 0 <= found.depletion_90[0] <= found.minutes_left <= found.depletion_90[1] < math.inf
    if found.overrun_usd:
        assert found.status != "ok"
    if budget is None:
        assert (found.minutes_left, found.overrun_usd, found.overrun_chance) == (None, None, None)
