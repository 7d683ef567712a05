"""Which request was answered before, and how?

The row of a finished answer is inserted in the transaction that did the work, so there is no moment at which one exists
without the other. Work that outlives a request (a canary) puts down an `in_progress` row first and finishes it later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from plms_pipeline.registry.prepared import Inserts, Prepared, asking_in
from plms_pipeline.registry.tables import IdempotencyKey


@dataclass(frozen=True, slots=True)
class Unique:
    """What makes a request unique."""

    user: str
    method: str
    path: str
    key: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known about a request; `answer_text` is None while it is in progress."""

    row_id: int
    body_sha256: str
    state: str
    status_code: int | None
    answer_text: str | None
    expires_at: datetime


class StillBusy(Exception):
    """The same request is being answered by somebody who takes long."""


# How long a request waits for the answer of another one with the same key, before it is told to come again.
PATIENCE_MS: Final = 2000
_LOCK_NOT_AVAILABLE: Final = "55P03"
_BE_PATIENT: Final = select(func.set_config("lock_timeout", f"{PATIENCE_MS}ms", True))
# Built once: a start is on the path of a request.
_RECALL: Final = Prepared(
    select(
        IdempotencyKey.id,
        IdempotencyKey.body_sha256,
        IdempotencyKey.state,
        IdempotencyKey.status_code,
        IdempotencyKey.answer_json,
        IdempotencyKey.expires_at,
    ).where(
        IdempotencyKey.user_name == bindparam("user_name"),
        IdempotencyKey.method == bindparam("method"),
        IdempotencyKey.path == bindparam("path"),
        IdempotencyKey.key == bindparam("key"),
    )
)
_REMEMBER: Final = Inserts(IdempotencyKey, keeps_first=True)


def recall(session: Session, unique: Unique) -> Remembered | None:
    """The row of a request, expired or not."""
    ask = asking_in(session)
    rows = ask.rows(_RECALL, **_parts(unique))
    return Remembered(*_RECALL.typed(rows, ask.dialect)[0]) if rows else None


def remember(
    session: Session,
    unique: Unique,
    *,
    body_sha256: str,
    status_code: int | None,
    answer_text: str | None,
    run_id: str | None,
    now: datetime,
    expires_at: datetime,
) -> bool:
    """Insert the row of a request (in progress when there is no answer yet); False when another one was faster.

    On PostgreSQL this waits until the faster one has committed or given up, but not for ever: its process may hang.

    Raises:
        StillBusy: the faster one has done neither within `PATIENCE_MS`.
    """
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.execute(_BE_PATIENT)
    values: dict[str, Any] = {
        **_parts(unique),
        "body_sha256": body_sha256,
        "state": "in_progress" if answer_text is None else "done",
        "status_code": status_code,
        "answer_json": answer_text,
        "run_id": run_id,
        "created_at": now,
        "expires_at": expires_at,
    }
    try:
        return _REMEMBER.into(session, [values]) == 1
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise StillBusy from None
        raise


def finish(session: Session, unique: Unique, *, status_code: int, answer_text: str, run_id: str | None = None) -> bool:
    """Give the answer of a request that was in progress; False when there was none."""
    done = session.execute(
        update(IdempotencyKey)
        .where(*_is(unique), IdempotencyKey.state == "in_progress")
        .values(state="done", status_code=status_code, answer_json=answer_text, run_id=run_id)
        .returning(IdempotencyKey.id)
        .execution_options(synchronize_session=False)
    )
    return done.scalar_one_or_none() is not None


def forget(session: Session, row_id: int) -> None:
    """Remove one row: it has expired, or its work was given up."""
    session.execute(
        delete(IdempotencyKey).where(IdempotencyKey.id == row_id).execution_options(synchronize_session=False)
    )


def any_expired(session: Session, now: datetime) -> bool:
    """Whether a row's time is over."""
    return session.scalar(select(IdempotencyKey.id).where(IdempotencyKey.expires_at <= now).limit(1)) is not None


def forget_expired(session: Session, now: datetime, *, limit: int = 500) -> int:
    """Remove rows whose time is over, at most `limit` of them; how many went."""
    old = select(IdempotencyKey.id).where(IdempotencyKey.expires_at <= now).order_by(IdempotencyKey.id).limit(limit)
    gone = session.execute(
        delete(IdempotencyKey)
        .where(IdempotencyKey.id.in_(old))
        .returning(IdempotencyKey.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())


def _parts(unique: Unique) -> dict[str, str]:
    return {"user_name": unique.user, "method": unique.method, "path": unique.path, "key": unique.key}


def _is(unique: Unique) -> tuple[Any, ...]:
    return (
        IdempotencyKey.user_name == unique.user,
        IdempotencyKey.method == unique.method,
        IdempotencyKey.path == unique.path,
        IdempotencyKey.key == unique.key,
    )
