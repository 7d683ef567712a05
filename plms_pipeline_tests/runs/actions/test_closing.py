"""Is everything written that belongs to a run that ended, once and whole?"""

from __future__ import annotations

import errno
import json

import pytest
from sqlalchemy import update

from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProjectArtifact, ProjectRun, SessionReport
from plms_pipeline.runs.actions.closing import close_due, report_document, run_lines
from plms_pipeline.runs.actions.settle import settle_due
from plms_pipeline.runs.files import reports
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


def ended_run(worked: Worked, lane_id: int = 6100) -> str:
    run_id = worked.run([Planned("a", lane_id=lane_id)])
    worked.tell(ended(run_id, "a"))
    settle_due(worked.world, holder="here")
    return run_id


def test_a_run_that_cannot_be_closed_holds_up_no_other(worked: Worked, caplog: pytest.LogCaptureFixture) -> None:
    """One folder that could not be written, of the oldest run, and no run had a report ever after."""
    first, second = ended_run(worked), ended_run(worked)
    in_the_way = worked.settings.reports_dir / "sessions" / first
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where a folder should be")
    assert close(worked) == [second]
    assert close(worked) == []  # or whoever asks while there is something to do would ask for ever
    assert rows(worked.registry, SessionReport, "run_id") == [(second,)]
    assert f"session_not_closed run_id={first}" in caplog.text
    in_the_way.unlink()
    close(worked)
    assert sorted(rows(worked.registry, SessionReport, "run_id")) == sorted([(first,), (second,)])


def test_a_full_disk_is_told_once_and_what_is_left_is_due_again(
    worked: Worked, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hundred runs that each say so, every few seconds, fill what is left of the disk."""
    for _ in range(3):
        ended_run(worked)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(reports, "write_report", full)
        assert close(worked) == []
    assert caplog.text.count("session_not_closed") == 1
    assert rows(worked.registry, SessionReport, "run_id") == []
    close(worked)
    assert len(rows(worked.registry, SessionReport, "run_id")) == 3


def test_two_who_close_a_run_at_once_leave_one_report_in_the_history(
    worked: Worked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API and the daemon did, a second apart: `grep RESULT reports/history/*/…` counted the run twice."""
    run_id = ended_run(worked)
    write = reports.write_report

    def slowly(*arguments: object, **more: object) -> object:
        monkeypatch.setattr(reports, "write_report", write)
        worked.clock.passes(seconds=5)
        close(worked)  # somebody else, meanwhile
        worked.clock.passes(seconds=5)
        return write(*arguments, **more)  # type: ignore[arg-type] - handed on as they came

    monkeypatch.setattr(reports, "write_report", slowly)
    close(worked)
    assert len(list((worked.settings.reports_dir / "history").iterdir())) == 1
    assert rows(worked.registry, SessionReport, "revision") == [(1,)]
    found = report_document(worked.registry, run_id)
    text = (worked.settings.reports_dir / "sessions" / run_id / "session_report.json").read_text()
    assert json.loads(text) == found.report


def test_who_was_overtaken_by_an_override_does_not_bring_back_the_old_report(
    worked: Worked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report would say FAIL for ever beside a verdict that was let pass: nothing would be due any more."""
    run_id = ended_run(worked, lane_id=4202)
    write = reports.write_report

    def slowly(*arguments: object, **more: object) -> object:
        monkeypatch.setattr(reports, "write_report", write)
        close(worked)
        worked.clock.passes(seconds=5)
        with worked.registry.writing() as session:
            values = {"validation_pass_override": True, "override_reason": "seen", "overridden_by": "ann"}
            session.execute(update(ProjectRun).values(**values, overridden_at=worked.clock.now()))
        worked.clock.passes(seconds=5)
        close(worked)
        return write(*arguments, **more)  # type: ignore[arg-type] - handed on as they came

    monkeypatch.setattr(reports, "write_report", slowly)
    close(worked)
    assert rows(worked.registry, SessionReport, "revision") == [(2,)]
    folder = worked.settings.reports_dir / "sessions" / run_id
    assert json.loads((folder / "session_report.json").read_text()) == report_document(worked.registry, run_id).report
    assert "RESULT: FAIL" not in (folder / "session_report.md").read_text()
