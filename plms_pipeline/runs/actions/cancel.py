"""How is a run called off?

What has not gone out is cancelled in one transaction with the request to end the rest; the executor is told afterwards, by
the dispatcher, as often as it takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.store import record
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.absent import no_run
from plms_pipeline.runs.lifecycle import is_terminal
from plms_pipeline.runs.store import cancel as store


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of the run: `has_ended`, or the executor still has to end what it holds."""

    run_id: str
    has_ended: bool


def cancel_run(registry: Registry, *, clock: Clock, actor: Actor, run_id: str, reason: str) -> Cancelled:
    """Cancel a run.

    Raises:
        NotFound: no such run.
        BadInput: no reason.
        Conflict: the run has ended (`run_ended`).
    """
    if not reason.strip():
        raise BadInput("Say why the run is cancelled: the reason is kept with it.", code="reason_missing")
    now = clock.now()
    with registry.writing() as session:
        status = store.status_of(session, run_id)
        if status is None:
            raise no_run(run_id)
        if is_terminal("run", status):
            raise Conflict(f"Run {run_id} has ended ({status}); what has ended never changes.", code="run_ended")
        told = f"cancelled by {actor.name}: {reason.strip()}"[:2000]
        has_ended = store.cancel(session, run_id, status, now=now, actor=actor.name, reason=told)
        record(
            session, at=now, actor=actor, action="run.cancel", subject=f"run:{run_id}", outcome="done",
            details={"was": status},
        )  # fmt: skip
    return Cancelled(run_id, has_ended)
