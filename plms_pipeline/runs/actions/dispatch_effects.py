"""What else does the executor have to hear, and what is asked of it?

Pauses, resumptions and ends of runs, which somebody decided in a transaction of their own, and which providers serve now. They
go out while the kill switch is on as well: they stop work or keep the books.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from plms_pipeline.errors import Unavailable
from plms_pipeline.pas.client import PasRefused
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.actions.dispatch_tick import LEASE, Tick, give_up, try_later
from plms_pipeline.runs.actions.preempting import KIND, put_aside
from plms_pipeline.runs.passport import mismatch_of
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store import outbox, words
from plms_pipeline.runs.store.outbox import Effect

log = logging.getLogger(__name__)
NOTHING_LEFT = frozenset({404, 409, 410})


def effects(tick: Tick) -> None:
    """What else was asked of the executor: snapshots, pauses, ends."""
    while tick.result.away is None:
        with tick.registry.asking() as ask:
            if not outbox.is_any_due(ask, EFFECTS, tick.clock.now()):
                return
        with tick.registry.writing() as session:
            now = tick.clock.now()
            claimed = outbox.claim(session, EFFECTS, holder=tick.holder, now=now, lease_until=now + LEASE, limit=1)
        if not claimed:
            return
        effect = claimed[0]
        try:
            EFFECTS[effect.kind](tick, effect)
        except Unavailable as error:
            try_later(tick, effect, error)
        except PasRefused as error:
            # Unknown or ended over there: there is nothing left to stop.
            give_up(tick, effect, error.message, is_owed=error.status not in NOTHING_LEFT)


def _snapshot(tick: Tick, effect: Effect) -> None:
    state, health = tick.pas.provider_state(), tick.pas.health()
    with tick.registry.reading() as session:
        run = store.run_facts(session, effect.subject_id)
    if run is None:
        give_up(tick, effect, "there is no such run")
        return
    now = tick.clock.now()
    stated = canonical_json(
        {
            "providers": state.providers, "capabilities": sorted(health.capabilities),
            "taken_at": state.taken_at.isoformat(),
        }
    )  # fmt: skip
    mismatch = mismatch_of(run.provider_matrix, state.providers)
    row = {
        "run_id": run.run_id, "moment": str((effect.payload or {}).get("moment", "submission")), "state_json": stated,
        "sha256": hashlib.sha256(stated.encode()).hexdigest(), "matches": mismatch is None, "mismatch": mismatch,
        "taken_at": now,
    }  # fmt: skip
    with tick.registry.writing() as session:
        store.keep_snapshot(session, row)
        outbox.done(session, effect.id, now=now)
    if not row["matches"]:
        log.warning("provider_drift run_id=%s mismatch=%s", run.run_id, row["mismatch"])
    tick.count(snapshots=1, run_id=run.run_id)


def _tell_run(tick: Tick, effect: Effect) -> None:
    """Pause, resume or end a run over there."""
    reason = str((effect.payload or {}).get("reason", ""))
    with tick.registry.reading() as session:
        run = store.run_facts(session, effect.subject_id)
    name = effect.subject_id if run is None or run.executor_id is None else run.executor_id
    told = {"terminate_run": tick.pas.terminate, "pause_run": tick.pas.pause, "resume_run": tick.pas.resume}
    told[effect.kind](name, reason)
    with tick.registry.writing() as session:
        words.told(session, effect, now=tick.clock.now())


EFFECTS: dict[str, Callable[[Tick, Effect], None]] = {
    KIND: put_aside,
    "snapshot": _snapshot,
    "terminate_run": _tell_run,
    "pause_run": _tell_run,
    "resume_run": _tell_run,
}
