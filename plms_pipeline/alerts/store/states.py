"""Where does each rule stand, what did it do, and who is silenced?

Every function takes an open session and never commits. Whoever changes states holds the engine's lock, so that two
evaluators that saw the same crossing take one step between them; that the key of an event is unique holds even without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.alerts.machine import State, Step
from plms_pipeline.alerts.planning import Quiet
from plms_pipeline.registry.tables import AlertCheck, AlertEvent, AlertSilence, AlertState

ENGINE: Final = "engine"
LISTED: Final = ("pending", "firing", "acked")
_NAMES: Final = tuple(asdict(State("", "")))
_COLUMNS: Final = tuple(getattr(AlertState, name) for name in _NAMES)
_CHUNK: Final = 300


def lock(session: Session, now: datetime) -> None:
    """Be the only one that changes states until the transaction ends. On SQLite every writer is."""
    if session.get_bind().dialect.name != "postgresql":
        return
    session.execute(
        postgresql.insert(AlertCheck).values(source=ENGINE, checked_at=now, readings=0).on_conflict_do_nothing()
    )
    session.execute(select(AlertCheck.source).where(AlertCheck.source == ENGINE).with_for_update())


def states(session: Session, crossing: Collection[tuple[str, str]] = ()) -> dict[tuple[str, str], State]:
    """What is open or pending, and the states of these rules and subjects."""
    found = {state.key: state for state in _states(session, AlertState.state.in_(LISTED))}
    missing = sorted(set(crossing) - set(found))
    for start in range(0, len(missing), _CHUNK):
        part = tuple_(AlertState.rule, AlertState.subject).in_(missing[start : start + _CHUNK])
        found |= {state.key: state for state in _states(session, part)}
    return found


def _states(session: Session, *conditions: ColumnElement[bool], limit: int | None = None) -> list[State]:
    rows = session.execute(
        select(*_COLUMNS).where(*conditions).order_by(AlertState.rule, AlertState.subject).limit(limit)
    )
    return [_state(row) for row in rows]


def _state(row: Sequence[Any]) -> State:
    values = dict(zip(_NAMES, row, strict=True))
    return State(**{**values, "detail": values["detail"] or ""})


def listed(session: Session, *, also_over: bool, limit: int) -> list[State]:
    """What is open or pending, the severest and oldest first; with `also_over` also what was, the newest first."""
    order = case({"firing": 0, "acked": 1, "pending": 2}, value=AlertState.state, else_=3)
    query = select(*_COLUMNS).order_by(order, AlertState.severity, AlertState.resolved_at.desc(), AlertState.crossed_at)
    wanted = (*LISTED, "resolved") if also_over else LISTED
    rows = session.execute(query.where(AlertState.state.in_(wanted)).limit(limit))
    return [_state(row) for row in rows]


def open_counts(session: Session) -> dict[str, int]:
    """How many are pending, firing and acknowledged: however many of them are listed."""
    counted = select(AlertState.state, func.count()).where(AlertState.state.in_(LISTED)).group_by(AlertState.state)
    found = dict.fromkeys(LISTED, 0)
    for state, number in session.execute(counted):
        found[state] = number
    return found


def subjects(session: Session) -> set[str]:
    """What anything was ever alarmed about."""
    return set(session.scalars(select(AlertState.subject).distinct()))


def named(session: Session, name: str, *, limit: int = 20) -> list[State]:
    """States whose episode `name` is or begins; of a rule or subject of that name what is open."""
    begins = (
        AlertState.episode_id.like(f"{name}%") if name.isascii() and set(name) <= set("0123456789abcdef-") else None
    )
    for condition in (
        AlertState.episode_id == name,
        *(() if begins is None or len(name) < 4 else (begins,)),
        and_(or_(AlertState.rule == name, AlertState.subject == name), AlertState.state.in_(LISTED)),
    ):
        found = _states(session, condition, limit=limit)
        if found:
            return found
    return []


def of_group(session: Session, group_id: str) -> list[State]:
    """The states that were told together."""
    return _states(session, AlertState.group_id == group_id)


def keep(session: Session, changed: Iterable[State]) -> None:
    """Write states as they are now."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for state in changed:
        values = asdict(state)
        session.execute(
            dialect.insert(AlertState).values(values).on_conflict_do_update(
                index_elements=["rule", "subject"], set_={name: values[name] for name in _NAMES[2:]}
            )
        )  # fmt: skip


def add_events(session: Session, steps: Iterable[Step], *, found_at: datetime, actor: str) -> int:
    """Add the steps that nobody has added before; how many that were."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    added = 0
    for step in steps:
        state = step.state
        values = {
            "event_key": step.event_key, "episode_id": state.episode_id, "group_id": state.group_id, "rule": state.rule,
            "subject": state.subject, "kind": step.kind, "severity": state.severity, "value": state.value,
            "detail": state.detail[:2000] or None, "at": step.at, "found_at": found_at, "actor": actor[:255],
        }  # fmt: skip
        statement = dialect.insert(AlertEvent).values(values).on_conflict_do_nothing().returning(AlertEvent.id)
        added += session.execute(statement).first() is not None
    return added


def events(session: Session, episode_id: str) -> list[dict[str, Any]]:
    """What an episode did, in order."""
    rows = session.execute(
        select(
            AlertEvent.kind, AlertEvent.at, AlertEvent.found_at, AlertEvent.value, AlertEvent.detail, AlertEvent.actor
        ).where(AlertEvent.episode_id == episode_id).order_by(AlertEvent.id)
    )  # fmt: skip
    return [
        {
            "kind": row.kind,
            "at": row.at.isoformat(),
            "found_at": row.found_at.isoformat(),
            "value": row.value,
            "detail": row.detail,
            "actor": row.actor,
        }
        for row in rows
    ]


def silences(session: Session, now: datetime) -> list[AlertSilence]:
    """Those that hold at a moment."""
    query = select(AlertSilence).where(
        AlertSilence.lifted_at.is_(None), AlertSilence.since <= now, AlertSilence.until > now
    )
    return list(session.scalars(query.order_by(AlertSilence.since, AlertSilence.silence_id)))


def quiet(session: Session, now: datetime) -> list[Quiet]:
    """What is silenced at a moment."""
    return [Quiet(one.rule, one.subject) for one in silences(session, now)]


def add_silence(session: Session, silence: AlertSilence) -> None:
    """Silence something."""
    session.add(silence)
    session.flush()


def silence_named(session: Session, name: str, now: datetime) -> list[AlertSilence]:
    """Silences that hold and whose id is `name` or begins so."""
    return [
        one
        for one in silences(session, now)
        if one.silence_id == name or (len(name) >= 4 and one.silence_id.startswith(name))
    ]


def lift(session: Session, silence_id: str, *, now: datetime, by: str) -> bool:
    """End a silence; False when it was over."""
    done: Any = session.execute(
        update(AlertSilence)
        .where(AlertSilence.silence_id == silence_id, AlertSilence.lifted_at.is_(None), AlertSilence.until > now)
        .values(lifted_at=now, lifted_by=by[:255])
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)


def checks(session: Session) -> dict[str, AlertCheck]:
    """Source → its last look."""
    return {one.source: one for one in session.scalars(select(AlertCheck).where(AlertCheck.source != ENGINE))}


def keep_check(session: Session, source: str, *, at: datetime, error: str | None, readings: int, memo: Any) -> None:
    """Write down a look; what a source remembers stays when it failed."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values: dict[str, Any] = {"checked_at": at, "error": error}
    if error is None:
        values |= {"succeeded_at": at, "readings": readings, "memo_json": memo}
    session.execute(
        dialect.insert(AlertCheck).values(source=source, **values).on_conflict_do_update(
            index_elements=["source"], set_=values
        )
    )  # fmt: skip
