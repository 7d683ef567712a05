"""How do starts that come at the same moment share one wait for the disk?

SQLite admits one writer and waits for the disk at every commit: ten starts one after the other are ten waits, during which
nobody else is answered. Here they are one transaction, each of them in a part of its own: one that is refused, or that fails,
is undone by itself, and a refusal's fact stays. Nobody is told anything before the commit; when that fails, nothing was
started, and everybody is told so. A key that comes twice in one group finds its own row, as it would a moment later.

Not on PostgreSQL, which shares the wait between transactions by itself, and where two groups that insert the same keys in
another order would wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from plms_pipeline.clock import Clock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.prepared import harms_all, savepoint
from plms_pipeline.runs.actions.start import Asked, Raced, Refused, StartPolicy, in_progress, start_in
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.starting import StartAnswer

Outcome = StartAnswer | Exception


def start_together(
    registry: Registry, starts: Sequence[Asked], *, clock: Clock, ids: NewId, policy: StartPolicy, at_once: bool
) -> list[Outcome]:
    """Start runs in one transaction; for each its answer, or what `start_run` would have raised.

    Args:
        starts: at least one.
        at_once: do not wait for another writer, but raise `Busy` with nothing done.

    Raises:
        PlmsError: the books cannot be written and nothing was started; or the only start is refused.
        Busy: as said.
    """
    with registry.writing_at_once() if at_once else registry.writing() as session:
        if len(starts) == 1:
            return [_told(start_in(session, starts[0], now=clock.now(), ids=ids, policy=policy))]
        return [_part(session, one, clock, ids, policy) for one in starts]


def _part(session: Session, one: Asked, clock: Clock, ids: NewId, policy: StartPolicy) -> Outcome:
    try:
        with savepoint(session):
            return _told(start_in(session, one, now=clock.now(), ids=ids, policy=policy))
    except Raced:
        return in_progress()
    except Exception as error:
        if harms_all(error):
            raise
        return error


def _told(answer: StartAnswer | Refused) -> Outcome:
    return answer.error if isinstance(answer, Refused) else answer
