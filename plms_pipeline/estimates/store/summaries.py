"""How are the summaries of a day, the corrections and the versions of priors kept?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import CursorResult, bindparam, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from plms_pipeline.estimates.adaptive import Correction
from plms_pipeline.estimates.beliefs import DayFact
from plms_pipeline.measures import MEASURES, Basis, Measure
from plms_pipeline.registry.tables import DaySummary, EstimateVersion, IntervalCorrection, ReceiptDay

LOCK: Final = 0x504C4D45
# Put together once, as `_LATEST`: every settlement asks.
_SUMMARIES: Final = (
    select(*(getattr(DaySummary, name) for name in DayFact._fields))
    .where(DaySummary.day < bindparam("before"))
    .order_by(DaySummary.basis, DaySummary.measure, DaySummary.lane_id, DaySummary.provider, DaySummary.day)
)


def hold_lock(session: Session) -> None:
    """Be the only one that writes estimates until the transaction ends. On SQLite BEGIN IMMEDIATE already says so."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def summaries(session: Session, *, before: date) -> list[DayFact]:
    """All stored summaries of days before one day, in order of their key."""
    return [DayFact(*row) for row in session.execute(_SUMMARIES, {"before": before})]


def replace_day(session: Session, day: date, rows: Iterable[DayFact], *, seq: int) -> bool:
    """Put the summaries of a day in place as of change `seq`; False when a newer state is already there."""
    noted = update(ReceiptDay).where(ReceiptDay.day == day, ReceiptDay.summarised_seq <= seq).values(summarised_seq=seq)
    if cast("CursorResult[Any]", session.execute(noted)).rowcount != 1:
        return False
    session.execute(delete(DaySummary).where(DaySummary.day == day))
    values = [row._asdict() for row in rows]
    if values:
        session.execute(insert(DaySummary), values)
    return True


class Latest(NamedTuple):
    """The newest version of a prior."""

    version: int
    priors_hash: str
    as_of: Any
    errors: dict[str, Any]


_ERRORS: Final = tuple(f"mean_absolute_error_{measure}" for measure in MEASURES)
_NEWEST: Final = (
    select(func.max(EstimateVersion.id).label("id"))
    .where(EstimateVersion.project_id.is_(None))
    .group_by(EstimateVersion.lane_id, EstimateVersion.provider_name, EstimateVersion.basis)
    .subquery()
)
_LATEST: Final = select(
    EstimateVersion.lane_id, EstimateVersion.provider_name, EstimateVersion.basis, EstimateVersion.version,
    EstimateVersion.priors_hash, EstimateVersion.as_of, *(getattr(EstimateVersion, name) for name in _ERRORS),
).join(_NEWEST, _NEWEST.c.id == EstimateVersion.id)  # fmt: skip


def latest_versions(session: Session) -> dict[tuple[int | None, str, str], Latest]:
    """The newest version per (lane or None, provider or `*`, basis)."""
    rows = session.execute(_LATEST)
    return {
        (row[0], row[1], row[2]): Latest(row[3], row[4], row[5], dict(zip(_ERRORS, row[6:], strict=True)))
        for row in rows
    }


def add_versions(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append versions of priors."""
    if rows:
        session.execute(insert(EstimateVersion), [dict(row) for row in rows])


def put_corrections(
    session: Session, day: date, measure: Measure, basis: Basis, found: Mapping[int, Correction]
) -> None:
    """Store the corrections that hold from a day on; the same night again replaces its own."""
    keys = (IntervalCorrection.measure == measure, IntervalCorrection.basis == basis, IntervalCorrection.day == day)
    session.execute(delete(IntervalCorrection).where(*keys))
    values = [
        {"lane_id": lane, "measure": measure, "basis": basis, "day": day, "value": one.value, "n": one.n}
        for lane, one in sorted(found.items())
    ]
    if values:
        session.execute(insert(IntervalCorrection), values)


def corrections(session: Session, *, on: date) -> dict[tuple[int, str, str], Correction]:
    """What holds on a day per (lane, measure, basis): the newest night not after it."""
    rows = session.execute(
        select(
            IntervalCorrection.lane_id, IntervalCorrection.measure, IntervalCorrection.basis, IntervalCorrection.value,
            IntervalCorrection.n,
        )
        .where(IntervalCorrection.day <= on)
        .order_by(IntervalCorrection.day)
    )  # fmt: skip
    return {(row[0], row[1], row[2]): Correction(row[3], row[4]) for row in rows}


def newest_priors(session: Session) -> Sequence[EstimateVersion]:
    """The newest version of every prior, in order of basis, lane and provider."""
    newest = (
        select(func.max(EstimateVersion.id))
        .where(EstimateVersion.project_id.is_(None))
        .group_by(EstimateVersion.lane_id, EstimateVersion.provider_name, EstimateVersion.basis)
    )
    found = session.scalars(select(EstimateVersion).where(EstimateVersion.id.in_(newest)))
    return sorted(found, key=lambda row: (row.basis, row.lane_id is None, row.lane_id or 0, row.provider_name))
