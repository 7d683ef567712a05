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
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final, Protocol

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.webhooks import event_id_for
from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.intake.actions.inbox import inbox_row
from plms_pipeline.intake.events import RECONCILED, RUN_LOST, Limits, Refused, envelope, message_of
from plms_pipeline.intake.store import inbox
from plms_pipeline.pas.protocol import RunStatus, TaskStatus, is_ended
from plms_pipeline.portfolio.actions.scheduling import SLOT_LEASE
from plms_pipeline.portfolio.store import slots
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.actions.queueing import let_go, lock_money, queue_ready
from plms_pipeline.runs.actions.understanding import AHEAD
from plms_pipeline.runs.store import reconcile as store
from plms_pipeline.runs.store import words
from plms_pipeline.runs.store.dispatch import lock_runs
from plms_pipeline.runs.store.reconcile import OpenCard, OpenRun, Suspect
from plms_pipeline.settings import Settings

log = logging.getLogger(__name__)
RECONCILER: Final = Actor("plms:reconcile", is_verified=True)
GRACE: Final = timedelta(seconds=60)
MOST_RUNS: Final = 500
MOST_SUSPECTS: Final = 200
BUDGET_S: Final = 15.0
# What is found is written many findings at a time: whoever writes holds up every event that comes in.
TOGETHER: Final = 100
HEARTBEAT_STEP: Final = timedelta(seconds=10)
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
class _Found:
    """What a comparison found and has not written yet; counts of what was written.

    `changing`: runs whose cards change; `alive`: cards that the executor works on; `is_paused`: run → what the executor says.
    """

    events: list[tuple[str, str, str]] = field(default_factory=list)
    heard: dict[str, datetime] = field(default_factory=dict)
    alive: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    changing: set[str] = field(default_factory=set)
    is_paused: dict[str, bool] = field(default_factory=dict)
    compared: int = 0
    told: int = 0
    lost: int = 0
    again: int = 0

    @property
    def is_much(self) -> bool:
        return len(self.events) + len(self.heard) + len(self.missing) >= TOGETHER

    def result(self, away: str | None = None) -> ReconcileResult:
        return ReconcileResult(self.compared, self.told, self.lost, self.again, away)


@dataclass(slots=True)
class _Comparison:
    registry: Registry
    settings: Settings
    clock: Clock
    before: datetime
    found: _Found = field(default_factory=_Found)


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
    comparison = _Comparison(registry, settings, clock, now - grace)
    found, away = comparison.found, None
    pivot = hashlib.sha256(now.strftime("%Y-%m-%dT%H:%M").encode()).hexdigest()[:8]
    with registry.reading() as session:
        runs = store.open_runs(
            session, begun_before=now if only is not None else now - age, only=only, pivot=pivot, limit=MOST_RUNS
        )
    for run in runs:
        if elapsed() - began > budget_s:
            break
        try:
            status = pas.run_status(run.executor_id)
        except PlmsError as error:
            log.warning("reconcile_away run_id=%s code=%s", run.run_id, error.code)
            away = error.message
            break
        if status is not None and status.run_id not in (run.run_id, run.executor_id):
            # A cache or a proxy in between mixes up answers; the tasks of one run must never end another's.
            log.warning("reconcile_wrong_run run_id=%s answered=%s", run.run_id, status.run_id[:80])
            continue
        found.compared += 1
        _compare(comparison, run, status)
        if found.is_much:
            _write(comparison)
    _write(comparison)
    result = found.result(away)
    if result.did_something:
        log.info("reconciled compared=%d told=%d lost=%d again=%d", found.compared, found.told, found.lost, found.again)
    return result


def _compare(comparison: _Comparison, run: OpenRun, status: RunStatus | None) -> None:
    found = comparison.found
    if status is not None and not is_ended(status.status):
        found.is_paused[run.run_id] = status.status == "paused"
    if status is None:
        if run.started_at <= comparison.before:
            body = canonical_json({"run_id": run.run_id, "reason": LOST})
            found.events.append((RUN_LOST, event_id_for(RUN_LOST, run.run_id, None, None, "lost"), body))
        return
    seen = {(task.task_id, task.attempt): task for task in status.tasks}
    newest: dict[str, int] = {}
    for each in status.tasks:
        newest[each.task_id] = max(each.attempt, newest.get(each.task_id, 0))
    for card in run.cards:
        task = seen.get((card.task_id, card.attempt))
        if task is None and card.state == "SUBMITTED" and newest.get(card.task_id, 0) > card.attempt:
            task = _passed(card, status)
        if task is None:
            if card.state == "SUBMITTED":
                found.missing.append(card.card_key)
                found.changing.add(run.run_id)
        elif is_ended(task.status):
            if not card.is_told:
                found.events.append(_told((run.run_id, run.executor_id), task, comparison.settings, comparison.clock))
        else:
            found.alive.append(card.card_key)
            if task.last_heartbeat_at is not None and _is_news(task.last_heartbeat_at, card.last_heartbeat_at):
                found.heard[card.card_key] = task.last_heartbeat_at
                found.changing.add(run.run_id)


def _passed(card: OpenCard, status: RunStatus) -> TaskStatus:
    """How a card ended whose task is already in a later attempt over there: badly, or nobody had tried again.

    Books that were restored from a backup are behind the executor, which tells of the newest attempt only. What this one took
    is unknown. Handed over again it would be known there, and never end here.
    """
    newer = max((task for task in status.tasks if task.task_id == card.task_id), key=lambda task: task.attempt)
    return TaskStatus(
        task_id=card.task_id, attempt=card.attempt, lane=newer.lane, status="failed",
        receipt_problem=f"the executor is in attempt {newer.attempt} by now and tells of that one only",
    )  # fmt: skip


def _is_news(heard_at: datetime, noted_at: datetime | None) -> bool:
    """Whether a heartbeat says more than the one before: whoever looks for silence looks in minutes."""
    return noted_at is None or abs(heard_at - noted_at) >= HEARTBEAT_STEP


def _write(comparison: _Comparison) -> None:
    """Write what was found so far, in one transaction."""
    found = comparison.found
    now = comparison.clock.now()
    with comparison.registry.reading() as session:
        renewed = store.slots_to_renew(session, found.alive, expiring_before=now + SLOT_LEASE / 2)
        contradicted = words.contradicted(session, found.is_paused)
    found.alive, found.is_paused = [], {}
    if not (found.events or found.heard or found.missing or renewed or contradicted):
        return
    with comparison.registry.writing() as session:
        lock_runs(session, found.changing | set(contradicted))
        for run_id in contradicted:
            if words.say_again(session, run_id, now=now):
                log.warning("reconcile_contradicted run_id=%s the executor is told again", run_id)
        for resource, subject in renewed:
            slots.renew(session, resource, subject, now=now, expires_at=now + SLOT_LEASE)
        # In one order for everybody: two who write the same events at once would each wait for the other.
        for endpoint, event_id, body in sorted(found.events, key=itemgetter(1)):
            row = inbox_row(envelope(body.encode()), endpoint=endpoint, event_id=event_id, actor=RECONCILER, at=now)
            if inbox.add(session, row):
                found.told += endpoint == RECONCILED
                found.lost += endpoint == RUN_LOST
        if found.heard:
            store.note_heartbeats(session, found.heard)
        if found.missing:
            found.again += _hand_over_again(session, found.missing, before=comparison.before, now=now)
    found.events, found.heard, found.missing, found.changing = [], {}, [], set()


def _hand_over_again(session: Session, card_keys: Collection[str], *, before: datetime, now: datetime) -> int:
    """Cards that the executor does not have wait for a slot again: the one that they held is free."""
    reason = "the executor does not know the card"
    lock_money(session, (), card_keys, now=now)
    again = store.hand_over_again(session, card_keys, before=before, reason=reason)
    for key, (_, lane_id) in again.items():
        let_go(session, key, lane_id, now=now, reason=reason)
    queue_ready(session, {run_id for run_id, _ in again.values()}, now=now)
    return len(again)


def resolve_suspects(
    registry: Registry, *, settings: Settings, clock: Clock, pas: Statuses, limit: int = MOST_SUSPECTS
) -> int:
    """Ask the executor about cards whose slot's lease has ended; how many slots were given back.

    A card that it still works on keeps its slot. One that has ended here and is gone there gives it back. Where card and run
    are open here, what the executor says becomes an event (`reconcile_runs`), and settlement gives the slot back. So it does
    of a card that was called off while it was on its way: what it took over there was spent.

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
            if task is not None and task.receipt is not None and _tell_of(session, one, task, settings, clock):
                continue
            if is_gone:
                let_go(session, one.card_key, one.lane_id, now=now, reason="the executor does not work on it any more")
                given += 1
            else:
                resource = lane_resource(one.lane_id)
                slots.renew(session, resource, one.card_key, now=now, expires_at=now + SLOT_LEASE)
    return given


def _tell_of(session: Session, card: Suspect, task: TaskStatus, settings: Settings, clock: Clock) -> bool:
    """Tell of what a card took that has ended here; False when that was told before."""
    endpoint, event_id, body = _told((card.run_id, card.executor_run), task, settings, clock)
    row = inbox_row(envelope(body.encode()), endpoint=endpoint, event_id=event_id, actor=RECONCILER, at=clock.now())
    return inbox.add(session, row)


def _told(run: tuple[str, str], task: TaskStatus, settings: Settings, clock: Clock) -> tuple[str, str, str]:
    """What the status says about an ended attempt, as an event: endpoint, id, body.

    Args:
        run: its name here, and over there.

    A receipt that cannot be believed is left out: that the attempt ended is true all the same, and what it took is unknown.
    """
    run_id, executor_id = run
    document: dict[str, Any] = {
        "run_id": run_id, "task_id": task.task_id, "attempt": task.attempt, "status": task.status,
    }  # fmt: skip
    if task.receipt is not None:
        receipt = json.loads(task.receipt.model_dump_json())
        if receipt["run_id"] == executor_id:
            receipt["run_id"] = run_id
        whole = document | {"receipt": receipt}
        problem = message_of(whole, _limits(settings, clock))
        if isinstance(problem, Refused):
            document["receipt_problem"] = problem.reason
        else:
            document = whole
    elif task.receipt_problem is not None:
        document["receipt_problem"] = task.receipt_problem
    body = canonical_json(document)
    # The digest too: a status that changed its mind about a receipt is another event, not a contradiction.
    said = f"{task.status}:{hashlib.sha256(body.encode()).hexdigest()[:16]}"
    return RECONCILED, event_id_for(RECONCILED, run_id, task.task_id, task.attempt, said), body


def _limits(settings: Settings, clock: Clock) -> Limits:
    first = settings.first_day
    return Limits(
        settings.max_cost_usd, settings.max_duration_ms, settings.max_tokens,
        datetime(first.year, first.month, first.day, tzinfo=UTC), clock.now() + AHEAD,
    )  # fmt: skip
