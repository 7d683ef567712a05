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

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.webhooks import event_id_for
from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.intake.actions.inbox import accept_event
from plms_pipeline.intake.events import RECONCILED, RUN_LOST, Limits, Refused, message_of
from plms_pipeline.pas.protocol import RunStatus, TaskStatus, is_ended
from plms_pipeline.portfolio.actions.scheduling import SLOT_LEASE
from plms_pipeline.portfolio.store import slots
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.actions.queueing import let_go, queue_ready
from plms_pipeline.runs.store import reconcile as store
from plms_pipeline.runs.store.reconcile import OpenCard, OpenRun
from plms_pipeline.settings import Settings

log = logging.getLogger(__name__)
RECONCILER: Final = Actor("plms:reconcile", is_verified=True)
GRACE: Final = timedelta(seconds=60)
MOST_RUNS: Final = 500
MOST_SUSPECTS: Final = 200
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
    alive: list[str] = []
    told = 0
    for card in run.cards:
        task = seen.get((card.task_id, card.attempt))
        if task is None:
            if card.state == "SUBMITTED":
                missing.append(card.card_key)
        elif is_ended(task.status):
            told += 0 if card.is_told else _tell(comparison, run, card, task)
        else:
            alive.append(card.card_key)
            if task.last_heartbeat_at is not None:
                heard[card.card_key] = task.last_heartbeat_at
    again = 0
    with comparison.registry.reading() as session:
        now = comparison.clock.now()
        renewed = store.slots_to_renew(session, alive, expiring_before=now + SLOT_LEASE / 2)
    if heard or missing or renewed:
        with comparison.registry.writing() as session:
            for resource, subject in renewed:
                slots.renew(session, resource, subject, now=now, expires_at=now + SLOT_LEASE)
            if heard:
                store.note_heartbeats(session, heard)
            if missing:
                again = _hand_over_again(session, missing, before=comparison.before, now=now)
    return {"told": told, "again": again}


def _hand_over_again(session: Session, card_keys: Collection[str], *, before: datetime, now: datetime) -> int:
    """Cards that the executor does not have wait for a slot again: the one that they held is free."""
    reason = "the executor does not know the card"
    again = store.hand_over_again(session, card_keys, before=before, reason=reason)
    for key, (_, lane_id) in again.items():
        let_go(session, key, lane_id, now=now, reason=reason)
    queue_ready(session, {run_id for run_id, _ in again.values()}, now=now)
    return len(again)


def resolve_suspects(registry: Registry, *, clock: Clock, pas: Statuses, limit: int = MOST_SUSPECTS) -> int:
    """Ask the executor about cards whose slot's lease has ended; how many slots were given back.

    A card that it still works on keeps its slot. One that has ended here and is gone there gives it back. Where card and run
    are open here, what the executor says becomes an event (`reconcile_runs`), and settlement gives the slot back.

    Raises:
        Unavailable: the registry is away. While the executor is away every suspect keeps counting.
    """
    now = clock.now()
    with registry.reading() as session:
        if not store.any_expired(session, now):
            return 0
    with registry.writing() as session:
        slots.mark_suspect(session, now)
        suspects = store.suspects(session, limit=limit)
    statuses: dict[str, RunStatus | None] = {}
    given = 0
    for one in suspects:
        try:
            if one.executor_run not in statuses:
                statuses[one.executor_run] = pas.run_status(one.executor_run)
        except PlmsError as error:
            log.warning("suspects_unresolved code=%s", error.code)
            break
        status = statuses[one.executor_run]
        task = next(
            (task for task in status.tasks if (task.task_id, task.attempt) == (one.task_id, one.attempt)), None
        ) if status else None  # fmt: skip
        is_gone = task is None or is_ended(task.status)
        if is_gone and one.state in ("WAITING", "SUBMITTED"):
            continue
        with registry.writing() as session:
            if is_gone:
                let_go(session, one.card_key, one.lane_id, now=now, reason="the executor does not work on it any more")
                given += 1
            else:
                resource = lane_resource(one.lane_id)
                slots.renew(session, resource, one.card_key, now=now, expires_at=now + SLOT_LEASE)
    return given


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
