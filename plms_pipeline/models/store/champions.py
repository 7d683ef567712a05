"""What serves, and what was live at any past moment?

Every function takes an open session and never commits. The champion of a moment is the greatest sequence that was promoted by
then: one query, because rows are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plms_pipeline.errors import Conflict
from plms_pipeline.models.records import Champion
from plms_pipeline.registry.tables import Candidate as CandidateRow
from plms_pipeline.registry.tables import Champion as Row

MAX_ROWS = 1000


def current(session: Session, family: str) -> Champion | None:
    """What serves now."""
    return _first(session, _of(family).order_by(Row.sequence.desc()))


def at(session: Session, family: str, moment: datetime) -> Champion | None:
    """What was live at an aware moment."""
    return _first(session, _of(family).where(Row.promoted_at <= moment).order_by(Row.sequence.desc()))


def history(session: Session, family: str, *, limit: int = 100) -> list[Champion]:
    """Promotions and rollbacks, newest first; at most `MAX_ROWS`."""
    rows = session.execute(_of(family).order_by(Row.sequence.desc()).limit(min(limit, MAX_ROWS)))
    return [_champion(row, folder) for row, folder in rows]


def add(
    session: Session,
    *,
    promotion_id: str,
    family: str,
    sequence: int,
    kind: str,
    candidate_id: str,
    hashes: tuple[str, str, str],
    caps: Mapping[str, Any] | None,
    decision_id: str,
    promoted_at: datetime,
    promoted_by: str,
) -> None:
    """Add the next champion of a family.

    Args:
        sequence: one more than that of the champion which the caller saw.
        hashes: SHA-256 of model, evaluation and data.

    Raises:
        Conflict: somebody else added it first; the transaction is lost (`champion_changed`).
    """
    model, evaluation, data = hashes
    session.add(
        Row(
            promotion_id=promotion_id, family=family, sequence=sequence, kind=kind, candidate_id=candidate_id,
            model_sha256=model, evaluation_sha256=evaluation, data_sha256=data,
            caps_json=dict(caps) if caps is not None else None, decision_id=decision_id, promoted_at=promoted_at,
            promoted_by=promoted_by,
        )
    )  # fmt: skip
    try:
        session.flush()
    except IntegrityError as error:
        if "sequence" not in str(error.orig):
            raise
        raise Conflict(
            f"Another champion of {family} was promoted meanwhile; look at `plms model history` and decide again.",
            code="champion_changed",
        ) from None


def _of(family: str) -> Select[Row, str]:
    joined = select(Row, CandidateRow.folder).join(CandidateRow, CandidateRow.candidate_id == Row.candidate_id)
    return joined.where(Row.family == family)


def _first(session: Session, query: Select[Row, str]) -> Champion | None:
    found = session.execute(query.limit(1)).one_or_none()
    if found is None:
        return None
    row, folder = found
    return _champion(row, folder)


def _champion(row: Row, folder: str) -> Champion:
    return Champion(
        row.promotion_id, row.family, row.sequence, row.kind, row.candidate_id, folder, row.model_sha256,
        row.evaluation_sha256, row.data_sha256, row.caps_json, row.decision_id, row.promoted_at, row.promoted_by,
    )  # fmt: skip
