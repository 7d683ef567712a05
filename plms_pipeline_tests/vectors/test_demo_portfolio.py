"""Can the lanes of the portfolio's picture be compared with each other?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace as Row

import pytest

from plms_pipeline.portfolio.shares import Share
from plms_pipeline_tests.vectors.demo_portfolio import painted

pytestmark = pytest.mark.live  # what draws takes a second to import

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def slot(project: int, start_s: float, end_s: float) -> Row:
    return Row(project_id=project, taken_at=AT + timedelta(seconds=start_s), released_at=AT + timedelta(seconds=end_s))


def test_all_lanes_have_one_time_axis_and_one_order_of_projects() -> None:
    """With an axis of its own a lane that was busy for a second looked as busy as one that worked for a minute."""
    names = dict(enumerate(("short", "long", "other"), start=1))
    used = {6100: [slot(1, 0, 1)], 6101: [slot(2, 5, 60), slot(3, 2, 30)]}
    shares = {lane: [Share(row.project_id, 1.0, 1.0) for row in rows] for lane, rows in used.items()}
    axes = painted(used, {6100: 2, 6101: 2}, shares, names).axes
    times, bars = axes[0::2], axes[1::2]
    assert len({axis.get_xlim() for axis in times}) == 1
    places = [patch.get_x() + patch.get_width() / 2 for axis in bars for patch in axis.patches]
    assert places == pytest.approx([0, 1, 2])
