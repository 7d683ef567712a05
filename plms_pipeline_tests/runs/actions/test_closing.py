"""Is everything written that belongs to a run that ended, once and whole?"""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProjectArtifact, ProjectRun, SessionReport
from plms_pipeline.runs.actions.closing import close_due, report_document, run_lines
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.worked import Planned, Worked, ended, rows


@pytest.fixture
def worked(registry: Registry, settings: Settings) -> Worked:
    return Worked(registry, settings)


def close(worked: Worked) -> list[str]:
    return close_due(worked.registry, settings=worked.settings, clock=worked.clock)


def test_a_run_that_ended_gets_outputs_log_and_report(worked: Worked) -> None:
    """Who reads only files must find what the books know."""
    run_id = worked.run([Planned("a")])
    worked.stage(run_id, "a", {"made.py": "x = 1\n", "deep/data.csv": "a\n"})
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    assert close(worked) == [run_id]
    assert close(worked) == []
    base = f"runs/{run_id}/outputs/a/1"
    assert rows(worked.registry, ProjectArtifact, "artifact_path", "artifact_kind") == [
        (f"{base}/deep/data.csv", "config"),
        (f"{base}/made.py", "code"),
    ]
    assert not (worked.settings.data_dir / "runs" / run_id / "staging").exists()
    text = (worked.settings.reports_dir / "sessions" / run_id / "session_report.md").read_text()
    assert "RESULT: WARN\n" in text
    assert "DRY_RUN: false\n" in text
    log = (worked.settings.reports_dir / "RUN_LOGS" / f"session_{run_id}.log").read_text()
    assert log.count("State transition") == 6
    assert len(run_lines(worked.registry, run_id)) == 6
    found = report_document(worked.registry, run_id)
    assert (
        json.loads((worked.settings.reports_dir / "sessions" / run_id / "session_report.json").read_text())
        == found.report
    )


def test_an_override_writes_the_report_anew_and_keeps_the_old_one(worked: Worked) -> None:
    """A report that says FAIL beside a verdict that says otherwise helps nobody, and neither does one that is gone."""
    run_id = worked.run([Planned("a", lane_id=4202)])
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    close(worked)
    assert report_document(worked.registry, run_id).report["RESULT"] == "FAIL"
    worked.clock.passes(minutes=1)
    with worked.registry.writing() as session:
        session.execute(
            update(ProjectRun).values(
                validation_pass_override=True, override_reason="seen by a person", overridden_by="risk",
                overridden_at=worked.clock.now(),
            )
        )  # fmt: skip
    worked.clock.passes(seconds=1)
    assert close(worked) == [run_id]
    assert close(worked) == []
    assert rows(worked.registry, SessionReport, "run_id", "revision") == [(run_id, 2)]
    assert report_document(worked.registry, run_id).report["RESULT"] == "PASS"
    kept = sorted((worked.settings.reports_dir / "history").glob("*/session_report.md"))
    assert ["RESULT: FAIL" in path.read_text() for path in kept] == [True, False]


def test_a_second_closing_changes_nothing(worked: Worked) -> None:
    """A process that dies after the files and before the note does it all again."""
    run_id = worked.run([Planned("a")])
    worked.stage(run_id, "a", {"made.py": "x = 1\n"})
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    close(worked)
    with worked.registry.writing() as session:
        session.execute(SessionReport.__table__.delete())
    worked.clock.passes(days=1)
    assert close(worked) == [run_id]
    assert rows(worked.registry, SessionReport, "revision") == [(1,)]
    assert rows(worked.registry, ProjectArtifact, "artifact_path") == [(f"runs/{run_id}/outputs/a/1/made.py",)]
