"""What becomes of a run that was still queued when its project ended?

A rehearsal waits its turn behind the work; the work succeeds and completes the project; and the rehearsal would wait for ever,
since nothing starts in a project that ended. It ends SKIPPED, with that reason.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.runs.actions.dispatch_tick import DISPATCHER, Tick
from plms_pipeline.runs.store import cancel
from plms_pipeline.runs.store.overtaken import overtaken_runs

REASON: Final = "its project ended before the run's turn came"
MOST_RUNS: Final = 100


def end_overtaken(tick: Tick) -> None:
    """End the queued runs of projects that have ended; counts them as skipped."""
    with tick.registry.asking() as ask:
        found = overtaken_runs(ask, limit=MOST_RUNS)
    for run_id in found:
        with tick.registry.writing() as session:
            ended = cancel.status_of(session, run_id) == "QUEUED" and cancel.cancel(
                session, run_id, "QUEUED", now=tick.clock.now(), actor=DISPATCHER, reason=REASON
            )
        if ended:
            tick.count(skipped=1, run_id=run_id)
