"""What is stopped or switched off? Halts of promotions, and the guardrails of serving.

Every function takes an open session and never commits.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from plms_pipeline.models.records import Halt, Switch
from plms_pipeline.registry.tables import GuardrailSwitch, PromotionHalt


def guardrails(session: Session, family: str) -> Switch:
    """The switch in force; on, if nobody ever turned it."""
    row = session.scalar(
        select(GuardrailSwitch).where(GuardrailSwitch.family == family).order_by(GuardrailSwitch.id.desc()).limit(1)
    )
    return Switch(row.family, row.enabled, row.reason, row.by, row.at) if row else Switch(family)


def turn(session: Session, family: str, *, enabled: bool, reason: str, by: str, at: datetime) -> None:
    """Turn the guardrails of a family on or off."""
    session.add(GuardrailSwitch(family=family, enabled=enabled, reason=reason, by=by, at=at))
    session.flush()


def open_halts(session: Session, family: str | None = None) -> list[Halt]:
    """Halts that nobody lifted, oldest first."""
    query = select(PromotionHalt).where(PromotionHalt.lifted_at.is_(None))
    if family is not None:
        query = query.where(PromotionHalt.family == family)
    return [_halt(row) for row in session.scalars(query.order_by(PromotionHalt.halted_at, PromotionHalt.halt_id))]


def find_halt(session: Session, halt_id: str) -> Halt | None:
    """The halt with this id, open or lifted."""
    row = session.scalar(select(PromotionHalt).where(PromotionHalt.halt_id == halt_id))
    return _halt(row) if row else None


def halt(session: Session, *, halt_id: str, family: str, decision_id: str, reason: str, by: str, at: datetime) -> None:
    """Stop the promotions of a family."""
    session.add(
        PromotionHalt(
            halt_id=halt_id, family=family, decision_id=decision_id, reason=reason, halted_by=by, halted_at=at
        )
    )
    session.flush()


def lift(session: Session, halt_id: str, *, decision_id: str, by: str, at: datetime) -> bool:
    """Lift a halt that is open; whether it was."""
    lifted = session.execute(
        update(PromotionHalt)
        .where(PromotionHalt.halt_id == halt_id, PromotionHalt.lifted_at.is_(None))
        .values(lifted_at=at, lifted_by=by, lift_decision_id=decision_id)
        .returning(PromotionHalt.halt_id)
    ).scalar_one_or_none()
    return lifted is not None


def _halt(row: PromotionHalt) -> Halt:
    return Halt(
        row.halt_id, row.family, row.decision_id, row.reason, row.halted_by, row.halted_at, row.lifted_at, row.lifted_by,
        row.lift_decision_id,
    )  # fmt: skip
