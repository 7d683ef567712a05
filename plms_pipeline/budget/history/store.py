"""How is the history of a project's money kept?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.budget.history.thinning import ALL_FOR, superfluous
from plms_pipeline.registry.tables import BudgetCheck, RunwaySnapshot

# A purge goes through so many looks at once, and removes so many by one statement.
MOST_THINNED: Final = 50_000
AT_ONCE: Final = 500
COLUMNS: Final = (
    "at", "spent_usd", "reserved_usd", "budget_usd", "burn_usd_per_min", "minutes_left", "minutes_low", "minutes_high",
    "final_usd", "final_low", "final_high", "overrun_usd", "tasks_left", "status",
)  # fmt: skip


def last_checks(session: Session) -> dict[int, datetime]:
    """When each project was looked at last."""
    return {row[0]: row[1] for row in session.execute(select(BudgetCheck.project_id, BudgetCheck.checked_at))}


def take(session: Session, project_id: int, *, now: datetime, before: datetime) -> str | None:
    """Claim the look at a project, and the digest of what was seen last; None when somebody looked since `before`."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    # Not by the number of rows: what a driver says of an INSERT that did nothing differs between the databases.
    fresh = session.scalar(
        dialect.insert(BudgetCheck)
        .values(project_id=project_id, checked_at=now)
        .on_conflict_do_nothing()
        .returning(BudgetCheck.project_id)
    )
    if fresh is not None:
        return ""
    row = session.execute(
        select(BudgetCheck.checked_at, BudgetCheck.seen_sha256)
        .where(BudgetCheck.project_id == project_id)
        .with_for_update()
    ).one()
    # A clock that was set back must not silence a project until it has caught up.
    if before < row.checked_at <= now:
        return None
    _note(session, project_id, checked_at=now)
    return str(row.seen_sha256)


def remember(session: Session, project_id: int, *, digest: str, at: datetime, seen: Mapping[str, Any]) -> None:
    """Append what was seen, and its digest; a look at the same moment is the same look."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(
        dialect.insert(RunwaySnapshot).values(project_id=project_id, at=at, **seen).on_conflict_do_nothing()
    )
    _note(session, project_id, seen_sha256=digest)


def _note(session: Session, project_id: int, **values: Any) -> None:
    session.execute(
        update(BudgetCheck)
        .where(BudgetCheck.project_id == project_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def history(session: Session, project_id: int, *, since: datetime | None, limit: int) -> Sequence[Any]:
    """The newest looks at a project, oldest first, as rows of `COLUMNS`."""
    query = select(*(getattr(RunwaySnapshot, name) for name in COLUMNS)).where(RunwaySnapshot.project_id == project_id)
    if since is not None:
        query = query.where(RunwaySnapshot.at > since)
    return list(reversed(session.execute(query.order_by(RunwaySnapshot.at.desc()).limit(limit)).all()))


def superfluous_looks(session: Session, *, now: datetime) -> list[int]:
    """The looks that age has made superfluous, the oldest first, some of them where there are very many."""
    rows = session.execute(
        select(RunwaySnapshot.id, RunwaySnapshot.project_id, RunwaySnapshot.at)
        .where(RunwaySnapshot.at < now - ALL_FOR)
        .order_by(RunwaySnapshot.at)
        .limit(MOST_THINNED)
    )
    return superfluous([(number, project, at) for number, project, at in rows], now=now)


def forget(session: Session, ids: Sequence[int]) -> None:
    """Remove looks."""
    for begin in range(0, len(ids), AT_ONCE):
        session.execute(
            delete(RunwaySnapshot)
            .where(RunwaySnapshot.id.in_(ids[begin : begin + AT_ONCE]))
            .execution_options(synchronize_session=False)
        )
