"""How does the copy of a passport come to lie where people look for it?

After the commit, because no file may be written while a transaction is open; from the row, so that it says what the books say;
again whenever it is missing or differs, because a copy can be deleted and a disk can be full.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.dispatching import wait_s
from plms_pipeline.runs.store import outbox
from plms_pipeline.runs.store import passports as store

KIND = "passport"
LEASE = timedelta(seconds=60)
# run id, text → whether anything had to be written
WriteCopy = Callable[[str, str], bool]


def write_due(registry: Registry, *, clock: Clock, holder: str, write: WriteCopy, limit: int = 100) -> int:
    """Write the copies that were asked for; how many. A copy that cannot be written is due again later."""
    with registry.asking() as ask:
        if not outbox.is_any_due(ask, (KIND,), clock.now()):
            return 0
    with registry.writing() as session:
        now = clock.now()
        effects = outbox.claim(session, (KIND,), holder=holder, now=now, lease_until=now + LEASE, limit=limit)
    failed: dict[int, str] = {}
    for effect in effects:
        with registry.reading() as session:
            passport = store.passport_of(session, effect.subject_id)
        try:
            if passport is not None:
                write(passport.run_id, passport.text)
        except (OSError, PlmsError) as error:
            failed[effect.id] = str(error)
    with registry.writing() as session:
        outbox.all_done(session, {effect.id for effect in effects} - failed.keys(), now=clock.now())
        for effect in effects:
            if effect.id in failed:
                due_at = clock.now() + timedelta(seconds=wait_s(effect.attempts))
                outbox.later(session, effect.id, due_at=due_at, error=failed[effect.id])
    return len(effects) - len(failed)


def restore_copies(registry: Registry, *, write: WriteCopy, limit: int = 200) -> list[str]:
    """Write the copies of the newest runs that are missing or differ; the runs whose copy was written."""
    with registry.reading() as session:
        passports = store.newest(session, limit)
    return [passport.run_id for passport in passports if write(passport.run_id, passport.text)]
