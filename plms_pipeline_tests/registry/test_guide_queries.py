"""Do the SQL statements of the operations guides run as they are printed, on both databases?

People paste them from the guides at three in the morning. The texts below are the guides', letter for letter; only the
placeholders `?` are filled in.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    ActionLog,
    EstimateVersion,
    Project,
    ProjectRun,
    ReceiptDay,
    RunTask,
    TaskEstimate,
    TaskReceipt,
)

DAILY_REVIEW = """
SELECT lane_id,
       AVG(utilization) as avg_util,
       MAX(queue_length) as max_queue,
       AVG(task_duration_ms) as avg_duration
FROM portfolio_metrics
WHERE date >= NOW() - INTERVAL '7 days'
GROUP BY lane_id
ORDER BY avg_util DESC;
"""
CALIBRATION_INVARIANT = """
-- Alert if any rehearsal/replay runs are in calibration dataset
SELECT COUNT(*) as violation_count
FROM estimate_versions
WHERE run_kind NOT IN ('baseline', 'hotfix')
   OR validation_pass = FALSE
   OR write_sandbox = TRUE;
"""
OVERRIDE = """
-- Record override (emergency only)
UPDATE project_runs
SET validation_pass_override = TRUE,
    override_reason = 'Test infra outage - manual validation passed',
    overridden_by = 'eng-manager@company.com',
    overridden_at = NOW()
WHERE run_id = 'abc-123';
"""
TODAY = SystemClock().now().replace(hour=1, minute=0, second=0, microsecond=0)


@pytest.fixture
def books(registry: Registry) -> Registry:
    """One project with one ended run, its task and receipt of yesterday, one of a month ago, a prior and an action."""
    with registry.writing() as session:
        project = Project(name="Test Project", created_at=TODAY)
        session.add(project)
        session.flush()
        session.add(TaskEstimate(project_id=project.id, task_name="write it", tmd_lane=4200))
        session.add(ActionLog(task_id="t", run_id="abc-123", timestamp=TODAY, action_type="directive"))
        for run_id, lane, days, hours in (("abc-123", 4200, 1, 12), ("old", 4201, 30, 1)):
            ended = TODAY - timedelta(days=days)
            session.add(
                ProjectRun(
                    run_id=run_id, project_id=project.id, status="SUCCESS", created_at=ended, started_at=ended,
                    completed_at=ended, validation="failed",
                )
            )  # fmt: skip
            session.flush()
            session.add(
                RunTask(
                    run_id=run_id, task_id="t", lane_id=lane, provider="p", status="SUCCESS",
                    queued_at=ended - timedelta(days=3), started_at=ended, completed_at=ended,
                )
            )  # fmt: skip
            session.add(
                TaskReceipt(
                    run_id=run_id, task_id="t", project_id=project.id, lane_id=lane, provider="p", status="SUCCESS",
                    duration_ms=hours * 3_600_000, started_at=ended, completed_at=ended, completed_on=ended.date(),
                    natural_key=run_id, source="test", row_sha256="0" * 64, recorded_at=ended,
                )
            )  # fmt: skip
        session.add(
            EstimateVersion(
                lane_id=4200, provider_name="p", basis="effort", version=1, created_at=TODAY, as_of=TODAY,
                priors_hash="0" * 64, source_digest="0" * 64, priors_json="{}", cost_usd_mean=Decimal("0.18"),
                run_kind="baseline", validation_pass=True, write_sandbox=False, n_observations=3,
            )
        )  # fmt: skip
    return registry


def test_the_daily_review_shows_the_busy_lanes_of_the_week(books: Registry) -> None:
    """The lane that was busy yesterday is in it with its share of the slots' day; the one of last month is not."""
    with books.reading() as session:
        rows = session.execute(text(DAILY_REVIEW)).all()
    assert [(row.lane_id, row.max_queue) for row in rows] == [(4200, 0)]
    assert float(rows[0].avg_util) == pytest.approx(12 / (24 * 4))
    assert float(rows[0].avg_duration) == 12 * 3_600_000


@pytest.mark.parametrize("age", ["7 DAYS", "1 hour", "45 days"])
def test_the_interval_may_be_written_as_people_write_it(books: Registry, age: str) -> None:
    """A query that works in capitals only is found broken when it is needed."""
    query = DAILY_REVIEW.replace("7 days", age).replace("NOW() - INTERVAL", "now() - interval")
    with books.reading() as session:
        assert len(session.execute(text(query)).all()) == {"7 DAYS": 1, "1 hour": 0, "45 days": 2}[age]


def test_the_calibration_invariant_expects_zero(books: Registry) -> None:
    """The night's own proof, as the guide prints it; and the database refuses what would make it one."""
    with books.reading() as session:
        assert session.execute(text(CALIBRATION_INVARIANT)).scalar_one() == 0
    for wrong in ({"run_kind": "rehearsal"}, {"validation_pass": False}, {"write_sandbox": True}):
        row = {
            "lane_id": 4200, "provider_name": "p", "basis": "effort", "version": 2, "created_at": TODAY, "as_of": TODAY,
            "priors_hash": "0", "source_digest": "0", "priors_json": "{}", "run_kind": "baseline",
            "validation_pass": True, "write_sandbox": False,
        }  # fmt: skip
        with pytest.raises(IntegrityError), books.writing() as session:
            session.add(EstimateVersion(**{**row, **wrong}))


def test_the_emergency_override_is_recorded(books: Registry) -> None:
    """The statement stands in the runbook of the person on call; the verdict itself stays what the gates said."""
    before = datetime.now(UTC)
    with books.writing() as session:
        session.execute(text(OVERRIDE))
    with books.reading() as session:
        run = session.query(ProjectRun).filter_by(run_id="abc-123").one()
    assert run.validation_pass_override is True
    assert run.validation_pass is False
    assert run.overridden_by == "eng-manager@company.com"
    assert run.overridden_at is not None
    assert timedelta(minutes=-1) < run.overridden_at - before < timedelta(minutes=1)


def test_an_override_typed_as_sql_marks_the_days_of_its_receipts(books: Registry) -> None:
    """Else what the override teaches would wait until some other receipt of that day arrives."""
    with books.reading() as session:
        day = session.scalars(select(TaskReceipt.completed_on).where(TaskReceipt.run_id == "abc-123").limit(1)).one()
        other = day - timedelta(days=1)
    with books.writing() as session:
        session.merge(ReceiptDay(day=day, changed_seq=3, written_seq=3, summarised_seq=3))
        session.merge(ReceiptDay(day=other, changed_seq=3, written_seq=3, summarised_seq=3))
    with books.writing() as session:
        session.execute(text(OVERRIDE))
    with books.reading() as session:
        seen = {row.day: row.changed_seq for row in session.scalars(select(ReceiptDay))}
    assert seen[day] > 3
    assert seen[other] == 3


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SELECT * FROM task_estimates WHERE project_id=1", 1),
        ("SELECT * FROM action_logs WHERE run_id='abc-123'", 1),
        ("SELECT * FROM estimate_versions WHERE lane_id=4200 AND provider='p'", 1),
        ("SELECT * FROM estimate_versions WHERE lane_id=4200 AND provider='q'", 0),
        ("SELECT * FROM project_runs WHERE project_id = 1;", 2),
    ],
)
def test_the_implementation_guides_reads_answer(books: Registry, statement: str, found: int) -> None:
    """Notebooks and scripts of other teams read these tables by these names."""
    with books.reading() as session:
        assert len(session.execute(text(statement)).all()) == found


def test_the_day_of_the_view_is_a_utc_day(books: Registry) -> None:
    """A view that groups by the server's zone puts a night's work on two days."""
    with books.reading() as session:
        days = set(session.scalars(text("SELECT date FROM portfolio_metrics")))
    expected = {TODAY.date() - timedelta(days=1), TODAY.date() - timedelta(days=30)}
    assert {day if isinstance(day, date) else date.fromisoformat(day) for day in days} == expected
