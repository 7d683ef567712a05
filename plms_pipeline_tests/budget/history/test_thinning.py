"""What is remembered of a project's money as it grows old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.budget.history.thinning import superfluous

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


def test_a_year_of_looks_becomes_a_day_an_hour_and_a_minute() -> None:
    """All of the last day, the last of each hour for a month, the last of each day before."""
    looks = [(n, 1, NOW - timedelta(minutes=10 * n)) for n in range(6 * 24 * 60)]
    gone = set(superfluous(looks, now=NOW))
    kept = [at for number, _, at in looks if number not in gone]
    ages = [NOW - at for at in kept]
    assert sum(age <= timedelta(days=1) for age in ages) == 145
    assert 29 * 24 <= sum(timedelta(days=1) < age <= timedelta(days=30) for age in ages) <= 29 * 24 + 2
    assert 29 <= sum(age > timedelta(days=30) for age in ages) <= 31


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 100_000)), max_size=40))
def test_thinning_keeps_the_newest_of_each_project_and_is_done_after_once(raw: list[tuple[int, int]]) -> None:
    """Whoever thins twice removes nothing more, and no project loses its last word."""
    looks = [(number, project, NOW - timedelta(minutes=m)) for number, (project, m) in enumerate(raw)]
    gone = set(superfluous(looks, now=NOW))
    left = [look for look in looks if look[0] not in gone]
    assert superfluous(left, now=NOW) == []
    newest = {project: max(at for _, one, at in looks if one == project) for _, project, _ in looks}
    assert {project: max(at for _, one, at in left if one == project) for project in newest} == newest
