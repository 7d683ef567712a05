"""Does the score order tasks as the executor's documents say, and does nothing wait for ever?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.portfolio.urgency import (
    AGES_IN,
    aged,
    deadline_urgency,
    interval_width,
    priority_urgency,
    rank,
    runway_risk,
    score,
)

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PART = st.floats(-2, 3)


@given(PART, PART, PART, PART)
def test_a_score_lies_between_zero_and_one(urgency: float, width: float, risk: float, share: float) -> None:
    """Ageing overtakes any score after half an hour only because no score passes one."""
    assert 0.0 <= score(urgency=urgency, ci_width=width, runway_risk=risk, fairshare=share) <= 1.0 + 1e-9


def test_the_score_has_the_documents_weights() -> None:
    """0.4, 0.2, 0.3 and 0.1; who got all of a fair share gains nothing by it."""
    assert score(urgency=1, ci_width=0, runway_risk=0, fairshare=1) == pytest.approx(0.4)
    assert score(urgency=0, ci_width=1, runway_risk=0, fairshare=1) == pytest.approx(0.2)
    assert score(urgency=0, ci_width=0, runway_risk=1, fairshare=1) == pytest.approx(0.3)
    assert score(urgency=0, ci_width=0, runway_risk=0, fairshare=0) == pytest.approx(0.1)


def test_a_deadline_presses_as_the_time_runs_out() -> None:
    """What is left takes an hour: with ten hours to go that is calm, with one hour it is not."""
    left = timedelta(hours=1)
    assert deadline_urgency(now=AT, deadline=None, left=left) == 0.0
    assert deadline_urgency(now=AT, deadline=AT + timedelta(hours=10), left=left) == pytest.approx(0.1)
    assert deadline_urgency(now=AT, deadline=AT + timedelta(hours=1), left=left) == 1.0
    assert deadline_urgency(now=AT, deadline=AT - timedelta(seconds=1), left=timedelta(0)) == 1.0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_whoever_waits_half_an_hour_longer_goes_first(p: float, q: float, wide: float, narrow: float) -> None:
    """Without ageing a stream of urgent tasks keeps an ordinary one waiting for ever."""
    old = rank(priority=p, ci_width=wide, ready_at=AT - AGES_IN)
    new = rank(priority=q, ci_width=narrow, ready_at=AT)
    assert old > new - 1e-6
    assert aged(0.0, AGES_IN) >= 1.0


def test_unknown_intervals_are_wide_and_missing_budgets_no_risk() -> None:
    """What nothing is known of is learnt first; a project without a budget has no runway to lose."""
    assert interval_width(None, None) == 1.0
    assert interval_width(1.0, 1.0) == 0.0
    assert interval_width(1.0, 3.0) == pytest.approx(0.5)
    assert runway_risk(left=None, needed=Decimal(5)) == 0.0
    assert runway_risk(left=Decimal(0), needed=Decimal(5)) == 1.0
    assert runway_risk(left=Decimal(10), needed=Decimal(5)) == pytest.approx(0.5)
    assert priority_urgency(0.5) == 0.0
    assert priority_urgency(1.0) == 1.0
