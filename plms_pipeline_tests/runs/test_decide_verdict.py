"""Overrides of failed verdicts in both databases: asked by the owner, decided by another, who is shown what was measured."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from plms_pipeline.access.actors import Actor
from plms_pipeline.errors import Conflict, Forbidden, NotFound, PlmsError
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProjectRun, ReceiptDay
from plms_pipeline.runs.actions.decide_project import project_approvals
from plms_pipeline.runs.actions.decide_verdict import (
    OverrideDecided,
    decide_kpi_override,
    override_case,
    request_kpi_override,
)
from plms_pipeline.runs.actions.projects import project
from plms_pipeline.runs.files.kpi_logs import TAIL_BYTES, log_reader
from plms_pipeline_tests.runs.desk import ANN, BEN, EVE, LOCAL, Desk


@pytest.fixture
def desk(registry: Registry) -> Desk:
    return Desk(registry)


def no_log(_path: str) -> str | None:
    return None


def ask(desk: Desk, run_id: str = "r1", actor: Actor = ANN, **changes: Any) -> OverrideDecided:
    facts: dict[str, Any] = {
        "clock": desk.clock, "ids": desk.ids, "actor": actor, "reason": "the runner was down", "teach": False,
        "read_log": no_log,
    }  # fmt: skip
    return request_kpi_override(desk.registry, run_id, **(facts | changes))


def decide(desk: Desk, run_id: str = "r1", actor: Actor = BEN, **changes: Any) -> OverrideDecided:
    facts: dict[str, Any] = {
        "clock": desk.clock, "ids": desk.ids, "actor": actor, "approve": True, "reason": "I ran them", "read_log": no_log,
    }  # fmt: skip
    return decide_kpi_override(desk.registry, run_id, **(facts | changes))


def refused(code: str, call: Any) -> None:
    with pytest.raises((Conflict, Forbidden, NotFound)) as error:
        call()
    found: PlmsError = error.value
    assert found.code == code


@pytest.fixture
def reviewed(desk: Desk) -> int:
    """A project in review, because its newest run failed a gate."""
    project_id = desk.approved().id
    desk.run(project_id, "r1")
    desk.put(project_id, "needs_review")
    return project_id


def test_an_override_completes_the_project_and_leaves_the_measurement(desk: Desk, reviewed: int) -> None:
    """The gate said no and still does; a person said yes, and stands beside it with name and reason."""
    asked = ask(desk)
    assert asked.case.request is not None
    assert asked.case.kpis[0].kpi == "test_pass_rate"
    desk.later()
    done = decide(desk, evidence_sha256=asked.case.evidence_sha256)
    run = done.case.run
    assert (run.validation, run.effective, run.override, run.override_teaches) == ("failed", "passed", True, False)
    assert (run.override_reason, run.overridden_by, run.overridden_at) == ("I ran them", "ben", desk.clock.at)
    assert done.case.project_status == project(desk.registry, reviewed).status == "completed"
    assert desk.states(reviewed)[-2:] == ["needs_review", "completed"]
    decision, request = desk.decided("run:r1")
    assert (request.actor, request.role, decision.actor, decision.requested_by) == ("ann", "owner", "ben", "ann")
    assert decision.evidence_sha256 == asked.case.evidence_sha256
    [row, _] = project_approvals(desk.registry, reviewed)
    assert (row.gate, row.status, row.approver, row.run_id) == ("quality_override", "approved", "ben", "r1")


def test_the_guide_s_query_finds_the_columns(desk: Desk, reviewed: int) -> None:
    """Whoever kept the guide's SQL gets an answer."""
    ask(desk)
    decide(desk)
    with desk.registry.reading() as session:
        row = session.scalars(select(ProjectRun).where(ProjectRun.validation_pass_override)).one()
    assert (row.run_id, row.override_reason, row.overridden_by) == ("r1", "I ran them", "ben")
    assert row.validation_pass is False
    assert project(desk.registry, reviewed).status == "completed"


@pytest.mark.parametrize(
    ("asked", "decided", "teaches"),
    [(True, None, True), (True, False, False), (False, True, False), (False, None, False)],
)
def test_it_teaches_only_if_it_says_so(
    desk: Desk, reviewed: int, asked: bool, decided: bool | None, teaches: bool
) -> None:
    """Work that was let pass because a customer waited is no evidence of what good work takes."""
    before = changed(desk)
    ask(desk, teach=asked)
    done = decide(desk, teach=decided)
    assert done.case.run.override_teaches is teaches
    # The night summarises the day again.
    assert changed(desk) == before + 1
    assert reviewed


def changed(desk: Desk) -> int:
    with desk.registry.reading() as session:
        return session.scalars(select(ReceiptDay.changed_seq)).one()


def test_only_the_owner_asks_and_only_another_decides(desk: Desk, reviewed: int) -> None:
    """Four eyes, two of which own the work."""
    refused("not_the_owner", lambda: ask(desk, actor=EVE))
    refused("not_requested", lambda: decide(desk))
    ask(desk)
    refused("already_requested", lambda: ask(desk))
    refused("same_person", lambda: decide(desk, actor=ANN))
    refused("unverified_decider", lambda: decide(desk, actor=LOCAL))
    assert project(desk.registry, reviewed).status == "needs_review"
    assert ("ann", "refused") in desk.audited("decide.kpi_override")
    assert decide(desk, actor=LOCAL, auth_disabled=True).case.run.effective == "passed"


def test_a_rejected_override_leaves_everything_and_may_be_asked_again(desk: Desk, reviewed: int) -> None:
    """With a better reason."""
    ask(desk)
    done = decide(desk, approve=False, reason="the tests are right")
    assert (done.decision, done.case.run.override, done.case.project_status) == ("reject", None, "needs_review")
    refused("not_requested", lambda: decide(desk))
    ask(desk)
    assert decide(desk).case.project_status == "completed"
    refused("already_overridden", lambda: ask(desk))
    assert [one.decision for one in desk.decided("run:r1")] == ["approve", "request", "reject", "request"]
    assert reviewed


def test_other_measurements_than_were_shown_are_not_decided_upon(desk: Desk, reviewed: int) -> None:
    """A second evaluation may have found something worse."""
    asked = ask(desk)
    refused("evidence_changed", lambda: decide(desk, evidence_sha256="ab" * 32))
    assert decide(desk, evidence_sha256=asked.case.evidence_sha256).decision == "approve"
    assert reviewed


@pytest.mark.parametrize(
    ("status", "validation", "code"),
    [("RUNNING", "pending", "run_not_ended"), ("FAIL", "failed", "run_failed"), ("SUCCESS", "passed", "nothing_to_override"),
     ("SUCCESS", "ungated", "nothing_to_override")],
)  # fmt: skip
def test_only_a_failed_verdict_of_done_work_is_overridden(desk: Desk, status: str, validation: str, code: str) -> None:
    """No decision makes work that was not done into work that was."""
    project_id = desk.approved().id
    desk.run(project_id, "r1", status=status, validation=validation)
    refused(code, lambda: ask(desk))
    refused("unknown_run", lambda: ask(desk, "nowhere"))
    assert desk.decided("run:r1") == []


def test_an_override_of_an_older_run_does_not_complete_the_project(desk: Desk, reviewed: int) -> None:
    """The newest work is what is delivered."""
    desk.later()
    desk.run(reviewed, "r2")
    desk.run(reviewed, "canary", run_kind="rehearsal", validation="passed", write_sandbox=True)
    ask(desk, "r1")
    assert decide(desk, "r1").case.project_status == "needs_review"
    ask(desk, "r2")
    assert decide(desk, "r2").case.project_status == "completed"


def test_two_deciders_at_once_decide_once(desk: Desk, reviewed: int) -> None:
    """One row of override columns, one decision."""
    ask(desk)
    told: list[str] = []

    def one(actor: Actor) -> None:
        try:
            told.append(decide(desk, actor=actor).decision)
        except Conflict as error:
            told.append(error.code)

    threads = [threading.Thread(target=one, args=(actor,)) for actor in (BEN, EVE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["already_overridden", "approve"]
    assert project(desk.registry, reviewed).status == "completed"


def test_the_decider_is_shown_the_newest_measurement_and_the_end_of_its_log(
    desk: Desk, reviewed: int, tmp_path: Path
) -> None:
    """Deciding without reading the log is signing unread."""
    home = tmp_path / "artifacts" / "kpi" / "e"
    home.mkdir(parents=True)
    log = home / "test_pass_rate.log"
    log.write_text("x" * TAIL_BYTES + "\nassert 1 == 2\n")
    desk.later()
    desk.run(reviewed, "r2", kpis=(("test_pass_rate", 0.5, False), ("linter_pass", 1.0, True)), logs=str(log))
    case = override_case(desk.registry, "r2", read_log=log_reader(tmp_path))
    assert [(row.kpi, row.value, row.passed) for row in case.kpis] == [
        ("linter_pass", 1.0, True), ("test_pass_rate", 0.5, False),
    ]  # fmt: skip
    [(name, text)] = case.logs.items()
    assert name == "api/test_pass_rate"
    assert text.endswith("assert 1 == 2\n")
    assert len(text) == TAIL_BYTES
    shown = case.as_json()
    assert shown["kpi_receipts"][1]["logs_path"] == str(log)
    assert shown["effective_verdict"] == "failed"


def test_a_log_is_read_only_where_logs_are_kept(tmp_path: Path) -> None:
    """A row that names /etc/passwd shows nothing, nor does a link that leads there."""
    home = tmp_path / "artifacts" / "kpi"
    home.mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    (home / "link.log").symlink_to(secret)
    (home / "good.log").write_text("fine")
    read = log_reader(tmp_path)
    assert read(str(home / "good.log")) == "fine"
    for path in (str(secret), str(home / "link.log"), f"{home}/../../secret", "/etc/passwd", str(home), "\x00", ""):
        assert read(path) is None
