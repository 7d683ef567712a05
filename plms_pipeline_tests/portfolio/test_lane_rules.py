"""Do caps, gates and α follow their evidence, and only evidence that suffices?"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.portfolio.aimd import Bounds, Signal, may_move, next_cap
from plms_pipeline.portfolio.lane_rules import GateWeek, LaneWeek, alpha_review, cap_review, gate_review, signal_of

BUSY = LaneWeek(
    cap=4, cap_ms=1_000_000, busy_ms=950_000, ended=200, failed=2, out_of_memory=0, timeouts=0, duration_ms=950_000,
    waited_ms=2_000_000,
)  # fmt: skip


def test_a_busy_healthy_lane_is_raised() -> None:
    """Over 90 % busy, errors under 5 %, short tasks."""
    found = cap_review(BUSY)
    assert found is not None
    assert (found.current, found.recommended, found.rule) == (4, 5, "busy_over_90_percent")
    assert found.evidence["busy_ratio"] == 0.95


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"failed": 11}, "errors_over_5_percent"),
        ({"out_of_memory": 3}, "out_of_memory"),
        ({"timeouts": 3}, "timeouts"),
        ({"busy_ms": 500_000, "waited_ms": 200 * 60_000}, "slow_queue"),
    ],
)
def test_a_lane_in_trouble_is_lowered_however_busy_it_is(change: dict[str, int], rule: str) -> None:
    """More slots for a lane that runs out of memory make it worse."""
    found = cap_review(replace(BUSY, **change))
    assert found is not None
    assert (found.recommended, found.rule) == (3, rule)


def test_the_limits_themselves_change_nothing() -> None:
    """The rules say over and under; exactly 5 % and exactly 90 % are neither."""
    assert signal_of(replace(BUSY, failed=10)) == ("hold", "")
    assert signal_of(replace(BUSY, busy_ms=900_000)) == ("hold", "")
    assert signal_of(replace(BUSY, duration_ms=200 * 600_001)) == ("hold", "")


def test_little_evidence_says_nothing() -> None:
    """Three failures of four tasks are a bad morning, not a reason to halve a lane."""
    assert cap_review(replace(BUSY, ended=4, failed=3)) is None
    assert cap_review(replace(BUSY, cap_ms=0)) is None


def test_a_cap_of_one_is_not_lowered() -> None:
    """A lane without slots would never recover by itself."""
    assert cap_review(replace(BUSY, cap=1, failed=50)) is None


def test_a_gate_that_people_overrule_is_loosened_to_the_middle_case() -> None:
    """A quarter of its failures were let pass: the bar is wrong, not the work. The worst case does not set the new bar."""
    week = GateWeek("test_pass_rate", ">=", 0.9, failed=20, let_pass=(0.1, 0.86, 0.87, 0.88, 0.89))
    found = gate_review(week)
    assert found is not None
    assert (found.subject, found.recommended) == ("test_pass_rate", 0.87)
    assert gate_review(replace(week, let_pass=(0.86, 0.87, 0.88, 0.89))) is None
    assert gate_review(replace(week, failed=9)) is None
    assert gate_review(replace(week, operator="==")) is None
    upper = gate_review(GateWeek("lint_errors", "<=", 0.0, failed=10, let_pass=(1.0, 2.0, 400.0)))
    assert upper is not None
    assert upper.recommended == 2.0


def test_alpha_follows_a_drift_and_leaves_noise_alone() -> None:
    """Where the level moves, the newest receipts say more; where it does not, they say nothing new."""
    rng = random.Random(7)
    level, walking = 0.0, []
    for _ in range(300):
        level += rng.gauss(0, 0.5)
        walking.append(2.718**level)
    drifting = alpha_review([walking], alpha=0.1)
    assert drifting is not None
    assert drifting.recommended > 0.3
    steady = [rng.lognormvariate(0, 1) for _ in range(300)]
    calm = alpha_review([steady], alpha=0.7)
    assert calm is not None
    assert calm.recommended < 0.3
    assert alpha_review([steady], alpha=calm.recommended) is None
    assert alpha_review([steady[:49]], alpha=0.7) is None


@given(st.integers(1, 64), st.sampled_from(["raise", "lower", "hold"]), st.integers(1, 8), st.integers(9, 64))
def test_a_cap_that_moves_by_itself_stays_inside_its_bounds(cap: int, signal: Signal, least: int, most: int) -> None:
    """Whatever the lane does, the machine never opens it further than a person allowed."""
    moved = next_cap(cap, signal, Bounds(least, most))
    assert moved == cap or least <= moved <= most
    if least <= cap <= most:
        assert moved == {"raise": min(most, cap + 1), "lower": max(least, cap // 2), "hold": cap}[signal]


def test_a_cap_moves_at_most_once_an_hour() -> None:
    """A change must show what it did before the next."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert may_move(now=now, moved_at=None)
    assert not may_move(now=now, moved_at=now - timedelta(minutes=59))
    assert may_move(now=now, moved_at=now - timedelta(hours=1))
