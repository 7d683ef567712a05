"""What do the books hold as passports of runs?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import RunPassport


@dataclass(frozen=True, slots=True)
class StoredPassport:
    """A passport as it is kept."""

    run_id: str
    text: str
    sha256: str


def passport_of(session: Session, run_id: str) -> StoredPassport | None:
    """The passport of a run, or None."""
    row = session.execute(
        select(RunPassport.run_id, RunPassport.passport_json, RunPassport.sha256).where(RunPassport.run_id == run_id)
    ).one_or_none()
    return None if row is None else StoredPassport(*row)


def newest(session: Session, limit: int) -> Sequence[StoredPassport]:
    """The passports of the runs that started last."""
    rows = session.execute(
        select(RunPassport.run_id, RunPassport.passport_json, RunPassport.sha256)
        .order_by(RunPassport.created_at.desc())
        .limit(limit)
    )
    return [StoredPassport(*row) for row in rows]
