"""Are refused events and failed effects kept, tried again when that may help, and told what came of it?"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, select, update

from plms_pipeline.letters import store as letters
from plms_pipeline.letters.actions.deciding import reset_retries
from plms_pipeline.letters.actions.retrying import Round, retry_due
from plms_pipeline.letters.rules import Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import InboxEvent, OutboxEvent, ProjectRun, TaskReceipt
from plms_pipeline.runs.actions import settle
from plms_pipeline.runs.actions.settle import MOST_ATTEMPTS, settle_due
from plms_pipeline.runs.letters.actions import Retries, learn
from plms_pipeline.runs.letters.store import effect_failed
from plms_pipeline.settings import Settings
from plms_pipeline_tests.letters.desk import ANN
from plms_pipeline_tests.runs.worked import Planned, Worked, ended, rows
from plms_pipeline_tests.runs.worlds import WORLD


@pytest.fixture
def worked(registry: Registry, settings: Settings) -> Worked:
    return Worked(registry, settings)


def retry(worked: Worked, **how: Any) -> Round:
    learn(worked.registry, clock=worked.clock)
    handlers = Retries(
        worked.registry, worked.clock, lambda: str(uuid4()), lambda: WORLD, lambda: None
    ).handlers()  # fmt: skip
    return retry_due(worked.registry, clock=worked.clock, holder="here", handlers=handlers, **how)


def letter(worked: Worked, kind: str) -> Letter:
    with worked.registry.reading() as session:
        (one,) = letters.listed(session, kind=kind, limit=None)
    return one


def settled(worked: Worked) -> None:
    """Until nothing is due, whatever it takes."""
    for _ in range(MOST_ATTEMPTS + 1):
        settle_due(worked.world, holder="here")
        worked.clock.passes(seconds=60)


def test_an_event_about_no_run_of_ours_is_put_aside_with_its_reason(worked: Worked) -> None:
    """A refused event used to be a row that nobody looks for."""
    worked.tell(ended("nobody", "a"), event_id="e1")
    worked.clock.passes(minutes=5)
    settle_due(worked.world, holder="here")
    found = letter(worked, "event")
    assert (found.subject_id, found.error_class, found.state, found.run_id) == (
        "e1",
        "PERMANENT",
        "permanent",
        "nobody",
    )
    assert "no run nobody was ever started here" in found.reason
    worked.clock.passes(days=1)
    assert not retry(worked, is_forced=True).lines


def test_an_event_that_could_not_be_settled_in_passing_is_settled_later(
    worked: Worked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five failures within minutes are an outage, and what the attempt took is a fact that must not be lost."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a"), event_id="e1")
    real = settle._settle_once

    def away(*_: Any) -> Any:
        raise RuntimeError("connection reset by peer")

    monkeypatch.setattr(settle, "_settle_once", away)
    settled(worked)
    assert (letter(worked, "event").error_class, letter(worked, "event").state) == ("TRANSIENT", "ready")
    assert retry(worked).count("begun") == 1
    settled(worked)
    assert (letter(worked, "event").state, letter(worked, "event").attempts) == ("ready", 1)
    monkeypatch.setattr(settle, "_settle_once", real)
    assert retry(worked).count("begun") == 1
    settled(worked)
    assert rows(worked.registry, ProjectRun, "status") == [("SUCCESS",)]
    assert len(rows(worked.registry, TaskReceipt, "task_id")) == 1
    assert letter(worked, "event").state == "processing"
    assert learn(worked.registry, clock=worked.clock) == 1
    assert letter(worked, "event").state == "done"


def test_an_event_is_settled_again_after_a_person_says_so_and_counts_once(
    worked: Worked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the fix of a bug the event is wanted; delivered a second time it must not count a second time."""
    run_id = worked.run([Planned("a")])
    worked.tell(ended(run_id, "a"), event_id="e1")
    real = settle._settle_once
    monkeypatch.setattr(settle, "_settle_once", lambda *_: 1 / 0)
    settled(worked)
    assert letter(worked, "event").state == "permanent"
    monkeypatch.setattr(settle, "_settle_once", real)
    reset_retries(worked.registry, "e1", clock=worked.clock, actor=ANN, reason="fixed", is_transient=True)
    assert retry(worked).count("begun") == 1
    worked.tell(ended(run_id, "a"), event_id="e1-again")
    settled(worked)
    retry(worked)
    assert letter(worked, "event").state == "done"
    assert len(rows(worked.registry, TaskReceipt, "task_id")) == 1


def effect(worked: Worked, reason: str, key: str = "terminate_run:r") -> Letter:
    now = worked.clock.now()
    with worked.registry.writing() as session:
        session.execute(
            insert(OutboxEvent).values(
                event_key=key, kind="terminate_run", subject_id="r", created_at=now, due_at=now, state="failed", attempts=7,
                done_at=now,
            )
        )  # fmt: skip
        number = session.scalar(select(OutboxEvent.id).where(OutboxEvent.event_key == key))
        assert number is not None
        effect_failed(session, number, error=reason, now=now, actor="dispatcher")
    return letter(worked, "effect")


def test_an_effect_that_failed_in_passing_is_asked_for_again(worked: Worked) -> None:
    """A termination that was refused by a gateway would otherwise never happen, and the run would go on spending."""
    found = effect(worked, "the executor refuses: 502 Bad Gateway")
    assert (found.subject_id, found.run_id, found.payload["effect"]) == ("terminate_run:r", "r", "terminate_run")
    worked.clock.passes(minutes=1)
    assert retry(worked).count("begun") == 1
    assert rows(worked.registry, OutboxEvent, "state", "attempts") == [("pending", 0)]
    assert letter(worked, "effect").state == "processing"
    with worked.registry.writing() as session:
        session.execute(update(OutboxEvent).values(state="done"))
    retry(worked)
    assert letter(worked, "effect").state == "done"


def test_an_effect_that_keeps_failing_ends_permanent(worked: Worked) -> None:
    """Three times, whoever tells of the failure: the dispatcher at once, or the look at what is under way."""
    effect(worked, "HTTP 503")
    for _ in range(3):
        worked.clock.passes(minutes=1)
        assert retry(worked).count("begun") == 1
        with worked.registry.writing() as session:
            session.execute(update(OutboxEvent).values(state="failed", last_error="HTTP 503"))
        learn(worked.registry, clock=worked.clock)
    assert (letter(worked, "effect").state, letter(worked, "effect").attempts) == ("permanent", 3)


def test_what_is_gone_from_the_books_is_given_up(worked: Worked) -> None:
    """A letter about nothing would be under way for ever."""
    effect(worked, "HTTP 503")
    worked.clock.passes(minutes=1)
    retry(worked)
    with worked.registry.writing() as session:
        session.execute(update(OutboxEvent).values(event_key="another"))
    retry(worked)
    assert letter(worked, "effect").state == "permanent"


def test_a_class_that_is_known_not_to_pass_is_not_tried_within_the_run_either(worked: Worked) -> None:
    """The project's own attempts are for work that may come out better, not for a licence that stays violated."""
    lucky, licence = (worked.run([Planned("a")], max_attempts=3) for _ in range(2))
    worked.tell(ended(lucky, "a", ok=False, error="2 of 7 tests fail"))
    worked.tell(ended(licence, "a", ok=False, error="licence of the input forbids it"))
    settle_due(worked.world, holder="here")
    states = dict(rows(worked.registry, ProjectRun, "run_id", "status"))
    assert (states[lucky], states[licence]) == ("RUNNING", "FAIL")
    assert letter(worked, "run").error_class == "POLICY"
    assert rows(worked.registry, InboxEvent, "state") == [("settled",), ("settled",)]
