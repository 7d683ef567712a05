"""What ended at the executor without our hearing of it?

Events are lost; a status is not. What the status shows as ended and no event told becomes an event of our own, with an id that
says what it is about, and takes the way of every other event: nothing is settled here. So a lost event that is delivered
after all finds its attempt booked.

A run that the executor does not know any more ends FAIL with that reason, but not before some time has passed since it was
announced; and an executor that does not answer has said nothing about any run.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.webhooks import event_id_for
from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.intake.actions.inbox import accept_event
from plms_pipeline.intake.events import RECONCILED, RUN_LOST, Limits, Refused, message_of
from plms_pipeline.pas.protocol import RunStatus, TaskStatus, is_ended
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.store import reconcile as store
from plms_pipeline.runs.store.reconcile import OpenCard, OpenRun
from plms_pipeline.settings import Settings

log = logging.getLogger(__name__)
RECONCILER: Final = Actor("plms:reconcile", is_verified=True)
GRACE: Final = timedelta(seconds=60)
MOST_RUNS: Final = 500
BUDGET_S: Final = 15.0
LOST: Final = "the executor does not know this run (any more)"


class Statuses(Protocol):
    """What is asked of the executor."""

    def run_status(self, run_id: str) -> RunStatus | None:
        """The run as the executor sees it; None when it does not know it."""
        ...


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """What a comparison found: events `told` to the inbox, runs `lost`, cards to be handed over `again`. `away` says why the
    executor could not be asked."""

    compared: int = 0
    told: int = 0
    lost: int = 0
    again: int = 0
    away: str | None = None

    @property
    def did_something(self) -> bool:
        """Whether there is something to settle or dispatch now."""
        return bool(self.told or self.lost or self.again)


@dataclass(slots=True)
class _Comparison:
    registry: Registry
    settings: Settings
    clock: Clock
    pas: Statuses
    before: datetime


def reconcile_runs(
    registry: Registry,
    *,
    settings: Settings,
    clock: Clock,
    pas: Statuses,
    elapsed: Callable[[], float],
    only: Collection[str] | None = None,
    age: timedelta = GRACE,
    grace: timedelta = GRACE,
    budget_s: float = BUDGET_S,
) -> ReconcileResult:
    """Compare runs that are under way with the executor's status.

    Args:
        settings: bounds of what a receipt may claim.
        pas: asked with no transaction open.
        elapsed: seconds of a clock that never jumps.
        only: just these runs, at once, because a hint named them; None: all that began `age` ago.
        age: younger runs are left to their events.
        grace: how long a run or card must be out before its absence over there means anything.
        budget_s: no further run is asked about after so many seconds.

    Raises:
        Unavailable: the registry is away. An executor that is away is told in the result.
    """
    now, began = clock.now(), elapsed()
    comparison = _Comparison(registry, settings, clock, pas, now - grace)
    pivot = hashlib.sha256(now.strftime("%Y-%m-%dT%H:%M").encode()).hexdigest()[:8]
    with registry.reading() as session:
        runs = store.open_runs(
            session, begun_before=now if only is not None else now - age, only=only, pivot=pivot, limit=MOST_RUNS
        )
    counts = {"compared": 0, "told": 0, "lost": 0, "again": 0}
    for run in runs:
        if elapsed() - began > budget_s:
            break
        try:
            status = pas.run_status(run.executor_id)
        except PlmsError as error:
            log.warning("reconcile_away run_id=%s code=%s", run.run_id, error.code)
            return _result(counts, error.message)
        counts["compared"] += 1
        for name, n in _compare(comparison, run, status).items():
            counts[name] += n
    if any(counts[name] for name in ("told", "lost", "again")):
        log.info("reconciled %s", " ".join(f"{name}={n}" for name, n in counts.items()))
    return _result(counts)


def _result(counts: dict[str, int], away: str | None = None) -> ReconcileResult:
    return ReconcileResult(counts["compared"], counts["told"], counts["lost"], counts["again"], away)


def _compare(comparison: _Comparison, run: OpenRun, status: RunStatus | None) -> dict[str, int]:
    if status is None:
        return {"lost": _lose(comparison, run)}
    seen = {(task.task_id, task.attempt): task for task in status.tasks}
    heard: dict[str, datetime] = {}
    missing: list[str] = []
    told = 0
    for card in run.cards:
        task = seen.get((card.task_id, card.attempt))
        if task is None:
            if card.state == "SUBMITTED":
                missing.append(card.card_key)
        elif is_ended(task.status):
            told += 0 if card.is_told else _tell(comparison, run, card, task)
        elif task.last_heartbeat_at is not None:
            heard[card.card_key] = task.last_heartbeat_at
    again = 0
    if heard or missing:
        with comparison.registry.writing() as session:
            if heard:
                store.note_heartbeats(session, heard)
            if missing:
                again = store.hand_over_again(
                    session, missing, before=comparison.before, reason="the executor does not know the card"
                )
    return {"told": told, "again": again}


def _lose(comparison: _Comparison, run: OpenRun) -> int:
    if run.started_at > comparison.before:
        return 0
    body = canonical_json({"run_id": run.run_id, "reason": LOST})
    event_id = event_id_for(RUN_LOST, run.run_id, None, None, "lost")
    return _accept(comparison, RUN_LOST, event_id, body)


def _tell(comparison: _Comparison, run: OpenRun, card: OpenCard, task: TaskStatus) -> int:
    """Put what the status says about an ended attempt into the inbox.

    A receipt that cannot be believed is left out: that the attempt ended is true all the same, and what it took is unknown.
    """
    document: dict[str, Any] = {
        "run_id": run.run_id, "task_id": card.task_id, "attempt": card.attempt, "status": task.status,
    }  # fmt: skip
    if task.receipt is not None:
        receipt = json.loads(task.receipt.model_dump_json())
        whole = document | {"receipt": receipt | {"run_id": run.run_id}}
        if isinstance(message_of(whole, _limits(comparison)), Refused):
            document["receipt_problem"] = "it claims what no attempt may claim"
        else:
            document = whole
    elif task.receipt_problem is not None:
        document["receipt_problem"] = task.receipt_problem
    body = canonical_json(document)
    # The digest too: a status that changed its mind about a receipt is another event, not a contradiction.
    said = f"{task.status}:{hashlib.sha256(body.encode()).hexdigest()[:16]}"
    return _accept(comparison, RECONCILED, event_id_for(RECONCILED, run.run_id, card.task_id, card.attempt, said), body)


def _limits(comparison: _Comparison) -> Limits:
    settings, first = comparison.settings, comparison.settings.first_day
    return Limits(
        settings.max_cost_usd, settings.max_duration_ms, settings.max_tokens,
        datetime(first.year, first.month, first.day, tzinfo=UTC), comparison.clock.now(),
    )  # fmt: skip


def _accept(comparison: _Comparison, endpoint: str, event_id: str, body: str) -> int:
    accepted = accept_event(
        comparison.registry,
        comparison.clock,
        endpoint=endpoint,
        body=body.encode(),
        actor=RECONCILER,
        event_id=event_id,
    )
    return 0 if accepted.duplicate else 1
