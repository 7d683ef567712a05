"""Do the questions that settlement asks all day read what they are about, and not the whole history?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.orm import Session

from plms_pipeline.estimates.store.summaries import latest_versions
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import EstimateVersion, Project, ProjectRun, TaskReceipt
from plms_pipeline.runs.store import completions, listing, reconcile, sessions

AT = datetime(2026, 3, 1, tzinfo=UTC)
IMPORTED = 4000
QUESTIONS: dict[str, Callable[[Session], object]] = {
    "runs that have nothing left to do but end": lambda s: completions.finished_but_open(s, limit=10),
    "runs that the executor is asked about": lambda s: reconcile.open_runs(
        s, begun_before=AT, limit=5, pivot="", only=None
    ),
    "runs without a report": lambda s: sessions.due_reports(s, limit=5),
    "our newest runs": lambda s: listing.runs(s, limit=5),
    "what a project took": lambda s: completions.put_actuals(s, [2]),
    "the newest version of every prior": latest_versions,
}


@pytest.fixture
def history(registry: Registry) -> Registry:
    """A long imported history beside one project of ours."""
    with registry.writing() as session:
        session.add_all(
            [Project(name="history", source="swebench", created_at=AT), Project(name="ours", created_at=AT)]
        )
        session.flush()
        ids = [f"old-{place}" for place in range(IMPORTED)]
        facts = {"project_id": 1, "status": "SUCCESS", "created_at": AT, "completed_at": AT, "source": "swebench"}
        session.execute(insert(ProjectRun), [{"run_id": name, **facts} for name in ids])
        session.add(ProjectRun(run_id="ours", project_id=2, status="RUNNING", created_at=AT, started_at=AT))
        session.flush()
        session.execute(
            insert(TaskReceipt),
            [
                {
                    "run_id": name, "task_id": "t", "project_id": 1, "lane_id": 4200, "provider": "m", "status": "SUCCESS",
                    "started_at": AT, "completed_at": AT, "completed_on": AT.date(), "natural_key": name,
                    "source": "swebench", "row_sha256": "0" * 64, "recorded_at": AT, "cost_usd": Decimal(1),
                }
                for name in ids
            ],
        )  # fmt: skip
        session.execute(
            insert(EstimateVersion),
            [
                {
                    "lane_id": 4200, "provider_name": "m", "basis": "spend", "version": place + 1, "created_at": AT,
                    "as_of": AT + timedelta(seconds=place), "priors_hash": "0" * 64, "source_digest": "0" * 64,
                    "priors_json": "{}" * 500, "run_kind": "baseline", "write_sandbox": False, "n_observations": 1,
                }
                for place in range(IMPORTED)
            ],
        )  # fmt: skip
    if registry.dialect == "postgresql":
        with registry.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return registry


def plans_of(history: Registry, question: Callable[[Session], object]) -> list[str]:
    """The lines of the plans of every SELECT that the question asks."""
    asked: list[tuple[str, Any]] = []
    with history.writing() as session:
        connection = session.connection()

        def remember(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", remember)
        question(session)
        event.remove(connection, "before_cursor_execute", remember)
        how = "EXPLAIN QUERY PLAN " if history.dialect == "sqlite" else "EXPLAIN "
        read = [(statement, parameters) for statement, parameters in asked if statement.lstrip().startswith("SELECT")]
        plans = [
            [str(row[-1]) for row in connection.exec_driver_sql(how + statement, parameters)]
            for statement, parameters in read
        ]
    return [line for plan in plans for line in plan]


def test_a_question_about_our_runs_does_not_read_the_imported_history(history: Registry) -> None:
    """Settlement asks these with the books locked: a scan of a million imported rows would hold up every start."""
    tables = ("project_runs", "task_receipts", "estimate_versions")
    whole = ("SCAN {}", "Seq Scan on {}")
    for name, question in QUESTIONS.items():
        lines = plans_of(history, question)
        assert lines, name
        scans = [
            line
            for line in lines
            for table in tables
            if any(line.strip(" ->").startswith(w.format(table)) for w in whole)
        ]
        assert [line for line in scans if "COVERING INDEX" not in line] == [], (name, lines)
