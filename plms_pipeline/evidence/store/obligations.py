"""Which obligations wait, and how does each end exactly once?

The row of the obligation decides: it leaves `pending` by one UPDATE … RETURNING, and who moved it writes the observation in the
same transaction. So any number of observers may see the same evidence, and there is one observation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, func, insert, literal_column, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.evidence.obligations import Pending
from plms_pipeline.registry.tables import Obligation, Observation

# SQLite's oldest builds take 999 parameters in a statement.
_PARAMETERS: Final = 900
# Any number that no other advisory lock of the registry has.
_PERMITS_LOCK: Final = 7_028_001
_COLUMNS: Final = (
    Obligation.obligation_id, Obligation.subject_id, Obligation.evidence_kind, Obligation.obs_point,
    Obligation.lookup_ref, Obligation.config_digest, Obligation.accepted_at, Obligation.deadline_at,
)  # fmt: skip


def accept(session: Session, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Insert obligations; the ids of those that were not known yet, in the order given."""
    if not rows:
        return []
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    # One statement that is compiled once, however many rows: a list of VALUES would be compiled anew for each length.
    statement = dialect.insert(Obligation).on_conflict_do_nothing().returning(Obligation.obligation_id)
    by_id = {row["obligation_id"]: dict(row) for row in rows}
    new = set(session.connection().execute(statement, list(by_id.values())).scalars())
    return [key for key in by_id if key in new]


def lock_permits(session: Session) -> None:
    """One at a time decides who may still wait; on SQLite there is one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _PERMITS_LOCK})


def count_pending(session: Session, *, most: int) -> int:
    """How many obligations wait, counted up to `most`."""
    some = select(Obligation.obligation_id).where(Obligation.state == "pending").limit(most).subquery()
    return int(session.scalar(select(func.count()).select_from(some)) or 0)


def pending(session: Session, *, limit: int) -> list[Pending]:
    """What waits, the most urgent first."""
    rows = session.execute(
        select(*_COLUMNS).where(Obligation.state == "pending").order_by(Obligation.deadline_at).limit(limit)
    )
    return [Pending(*row) for row in rows]


def overdue(session: Session, *, before: datetime, limit: int) -> list[Pending]:
    """What waits although its deadline passed before a moment."""
    rows = session.execute(
        select(*_COLUMNS)
        .where(Obligation.state == "pending", Obligation.deadline_at < before)
        .order_by(Obligation.deadline_at)
        .limit(limit)
    )
    return [Pending(*row) for row in rows]


def find(session: Session, ids: Collection[str]) -> dict[str, Pending]:
    """Obligations by id, whatever their state; unknown ids are missing."""
    found: dict[str, Pending] = {}
    for part in _parts(ids):
        for row in session.execute(select(*_COLUMNS).where(Obligation.obligation_id.in_(part))):
            found[row[0]] = Pending(*row)
    return found


def finish(session: Session, rows: Sequence[Mapping[str, Any]], *, publication: str) -> set[str]:
    """Write observations of obligations that still wait; the ids that ended by this.

    Args:
        rows: observations; one whose obligation has ended already, or is not known, is left out.
        publication: `due` when they must be told on the stream, else `none`.
    """
    by_id = {row["obligation_id"]: dict(row) for row in rows}
    ended: set[str] = set()
    for part in _parts(by_id):
        ended.update(
            session.scalars(
                update(Obligation)
                .where(Obligation.obligation_id.in_(part), Obligation.state == "pending")
                .values(state="terminal", publication=publication)
                .returning(Obligation.obligation_id)
                .execution_options(synchronize_session=False)
            )
        )
    observe(session, [row for key, row in by_id.items() if key in ended])
    return ended


def observe(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the observations of obligations that have just ended in this transaction."""
    if rows:
        # RETURNING, though nobody reads it: only then are rows sent together instead of one by one.
        statement = insert(Observation).returning(Observation.obligation_id)
        session.connection().execute(statement, [dict(row) for row in rows])


def known(session: Session, ids: Collection[str]) -> set[str]:
    """Which of these obligations have been accepted before."""
    found: set[str] = set()
    for part in _parts(ids):
        found.update(session.scalars(select(Obligation.obligation_id).where(Obligation.obligation_id.in_(part))))
    return found


def to_publish(session: Session, *, limit: int) -> list[tuple[Pending, dict[str, Any]]]:
    """Ended obligations whose observation is still to be told, with that observation."""
    columns = tuple(column for column in Observation.__table__.columns if column.name != "obligation_id")
    rows = session.execute(
        select(*_COLUMNS, *columns)
        .join(Observation, Observation.obligation_id == Obligation.obligation_id)
        .where(_is_due())
        .order_by(Obligation.deadline_at)
        .limit(limit)
    ).all()
    width = len(_COLUMNS)
    return [
        (Pending(*row[:width]), dict(zip((column.name for column in columns), row[width:], strict=True)))
        for row in rows
    ]


def published(session: Session, ids: Collection[str]) -> None:
    """They were told."""
    for part in _parts(ids):
        session.execute(
            update(Obligation)
            .where(Obligation.obligation_id.in_(part), _is_due())
            .values(publication="done")
            .execution_options(synchronize_session=False)
        )


def reasons_of(session: Session, ids: Collection[str]) -> dict[str, str]:
    """Reason by obligation, of those that have ended."""
    found: dict[str, str] = {}
    for part in _parts(ids):
        rows = session.execute(
            select(Observation.obligation_id, Observation.reason).where(Observation.obligation_id.in_(part))
        )
        found.update((key, reason) for key, reason in rows)
    return found


def without_observation(session: Session, *, limit: int) -> list[str]:
    """Obligations that are said to have ended and have no observation."""
    has = exists().where(Observation.obligation_id == Obligation.obligation_id)
    return list(
        session.scalars(select(Obligation.obligation_id).where(Obligation.state == "terminal", ~has).limit(limit))
    )


def pending_with_observation(session: Session, *, limit: int) -> list[str]:
    """Obligations that are said to wait and have an observation."""
    return list(
        session.scalars(
            select(Obligation.obligation_id)
            .join(Observation, Observation.obligation_id == Obligation.obligation_id)
            .where(Obligation.state == "pending")
            .limit(limit)
        )
    )


def _is_due() -> ColumnElement[bool]:
    # A literal, so that the partial index is used.
    return Obligation.publication == literal_column("'due'")


def _parts(values: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), _PARAMETERS):
        yield ordered[start : start + _PARAMETERS]
