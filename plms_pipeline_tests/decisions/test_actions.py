"""Decisions in both databases: appended with their audit entry, never changed, refusals kept."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.decisions.actions import decide, deciding, decision_of, decisions
from plms_pipeline.decisions.store import newest
from plms_pipeline.errors import BadInput, Forbidden, NotFound
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, Decision

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BEN = Actor("ann", is_verified=True), Actor("ben", is_verified=True)
numbers = itertools.count(1)


def decided(registry: Registry, **changes: Any) -> str:
    facts: dict[str, Any] = {
        "clock_now": NOON, "ids": lambda: f"id-{next(numbers)}", "kind": "project_approval", "subject_type": "project",
        "subject_id": "42", "decision": "approve", "reason": "within plan", "actor": BEN,
    }  # fmt: skip
    with registry.writing() as session:
        return decide(session, **(facts | changes))


def test_a_decision_and_its_audit_entry_stand_together(registry: Registry) -> None:
    """A decision that nobody can trace, or an audit entry of none, is worse than nothing."""
    decision_id = decided(
        registry, requested_by="ann", role="approver", evidence_sha256="ab" * 32, payload={"usd": "2.00"},
        second_person=True, reason="  within plan \n",
    )  # fmt: skip
    found = decision_of(registry, decision_id)
    assert (found.actor, found.actor_verified, found.requested_by) == ("ben", True, "ann")
    assert (found.reason, found.decided_at, found.payload) == ("within plan", NOON, {"usd": "2.00"})
    with registry.reading() as session:
        [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "decide.project_approval"))
    assert (entry.subject, entry.outcome, entry.actor) == ("project:42", "approve", "ben")
    assert entry.details_json == {"decision_id": decision_id, "evidence_sha256": "ab" * 32}


def test_decisions_are_never_changed(registry: Registry) -> None:
    """Who rewrites yesterday's reason rewrites who is to blame."""
    decided(registry)
    for statement in (update(Decision).values(reason="other"), delete(Decision)):
        with pytest.raises(DBAPIError, match="append-only"), registry.writing() as session:
            session.execute(statement)


def test_the_newest_decision_about_a_subject_counts(registry: Registry) -> None:
    """An acceptance that was withdrawn must not be found again."""
    for word in ("approve", "reject", "approve", "reject"):
        decided(registry, kind="accept_ungated", subject_type="lane", subject_id="6100", decision=word)
    decided(registry, kind="accept_ungated", subject_type="lane", subject_id="6101")
    with registry.reading() as session:
        last = newest(session, "accept_ungated", "lane", "6100")
        approved = newest(session, "accept_ungated", "lane", "6100", decision="approve")
        assert newest(session, "accept_ungated", "lane", "1") is None
    assert last is not None
    assert last.decision == "reject"
    assert approved is not None
    assert approved.decision == "approve"


def test_a_refused_decider_leaves_a_trace_and_nothing_else(registry: Registry) -> None:
    """Somebody who tries to approve his own spending should be found by whoever reads the audit log."""
    with (
        pytest.raises(Forbidden),
        deciding(registry, FrozenClock(NOON), ANN, "decide.project_approval", "project:42") as session,
    ):
        decide(
            session, clock_now=NOON, ids=lambda: "x", kind="project_approval", subject_type="project", subject_id="42",
            decision="approve", reason="mine", actor=ANN, requested_by="ann", second_person=True,
        )  # fmt: skip
    assert decisions(registry) == []
    with registry.reading() as session:
        [entry] = session.scalars(select(AuditEntry))
    assert (entry.actor, entry.outcome, entry.details_json) == ("ann", "refused", {"code": "same_person"})


def test_a_decision_without_reason_is_none(registry: Registry) -> None:
    """It would stand for ever, explaining nothing."""
    with pytest.raises(BadInput, match="needs a reason"):
        decided(registry, reason=" \n")
    assert decisions(registry) == []


def test_decisions_are_listed_newest_first_and_by_subject(registry: Registry) -> None:
    """The one that somebody looks for is the last one about one thing."""
    first = decided(registry)
    second = decided(registry, subject_id="7")
    third = decided(registry, kind="kpi_override", subject_type="run", subject_id="r")
    assert [one.decision_id for one in decisions(registry)] == [third, second, first]
    assert [one.decision_id for one in decisions(registry, subject="project:7")] == [second]
    assert [one.decision_id for one in decisions(registry, subject="project")] == [second, first]
    assert [one.decision_id for one in decisions(registry, kind="kpi_override", limit=5)] == [third]
    with pytest.raises(NotFound, match="There is no decision"):
        decision_of(registry, "nowhere")
