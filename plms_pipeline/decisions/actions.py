"""How does a decision become part of the books?

`decide` appends one row and its audit entry in the caller's transaction, so that a decision and what follows from it stand
or fall together. What follows (an approved project, an overridden verdict) belongs to the domain that it changes; there is
nothing here that undoes a decision but a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions import store
from plms_pipeline.decisions.record import Decided
from plms_pipeline.decisions.rules import reason_of, require_second_person, word_of
from plms_pipeline.errors import Forbidden, NotFound
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.patience import impatient


def decide(
    session: Session,
    *,
    clock_now: datetime,
    ids: Callable[[], str],
    kind: str,
    subject_type: str,
    subject_id: str,
    decision: str,
    reason: str,
    actor: Actor,
    role: str | None = None,
    requested_by: str | None = None,
    evidence_sha256: str | None = None,
    payload: Any = None,
    second_person: bool = False,
    auth_disabled: bool = False,
) -> str:
    """Append one decision and its audit entry in the caller's transaction.

    Args:
        kind, decision: words such as `project_approval` and `approve`.
        evidence_sha256: digest of what the decider was shown.
        payload: JSON; neither secrets nor whole rows of other tables.
        second_person: whether the decider must be verified and other than `requested_by`.
        auth_disabled: whether `PLMS_AUTH=disabled` lifts that rule.

    Returns:
        The decision's id.

    Raises:
        Forbidden: the actor may not be the second person (`unverified_decider`, `same_person`).
        BadInput: there is no reason, or it cannot be kept.
    """
    if second_person:
        require_second_person(actor, requested_by, auth_disabled=auth_disabled)
    decided = Decided(
        ids(), word_of(kind, "kind"), subject_type, subject_id, word_of(decision, "decision"), reason_of(reason),
        requested_by, actor.name[:255], actor.is_verified, role, evidence_sha256, payload, clock_now,
    )  # fmt: skip
    store.append(session, decided)
    audit.record(
        session, at=clock_now, actor=actor, action=f"decide.{kind}", subject=f"{subject_type}:{subject_id}",
        outcome=decision, details={"decision_id": decided.decision_id, "evidence_sha256": evidence_sha256},
    )  # fmt: skip
    return decided.decision_id


@contextmanager
def deciding(registry: Registry, clock: Clock, actor: Actor, action: str, subject: str) -> Iterator[Session]:
    """A write transaction for one decision; who may not decide is audited in a transaction of its own.

    The refusal's own transaction is rolled back with everything in it, so an audit entry written there would be lost. A person
    waits for it: what another transaction holds is waited for as long as on SQLite, and then told.
    """
    try:
        with registry.writing() as session:
            impatient(session)
            yield session
    except Forbidden as refusal:
        with registry.writing() as session:
            audit.record(
                session, at=clock.now(), actor=actor, action=action, subject=subject, outcome="refused",
                details={"code": refusal.code},
            )  # fmt: skip
        raise


def decisions(
    registry: Registry, *, kind: str | None = None, subject: str | None = None, limit: int = 100
) -> list[Decided]:
    """Decisions, newest first.

    Args:
        subject: `<type>:<id>`, such as `project:42`, or only `<type>`; None: all.
    """
    subject_type, _, subject_id = (subject or "").partition(":")
    with registry.reading() as session:
        return store.listed(
            session, kind=kind, subject_type=subject_type or None, subject_id=subject_id or None, limit=limit
        )


def decision_of(registry: Registry, decision_id: str) -> Decided:
    """One decision.

    Raises:
        NotFound: there is none with this id.
    """
    with registry.reading() as session:
        found = store.find(session, decision_id)
    if found is None:
        raise NotFound(
            f"There is no decision {decision_id[:64]!r}; `plms decide list` shows them.", code="unknown_decision"
        )
    return found
