"""What does the executor tell PLMS, and how does the telling go wrong?

An event is a row written in the transaction that it tells of, delivered later and again until somebody says 2xx. The event
faults change rows: a lost one is written as lost, a late one is due later, a forged one stands beside the true one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from plms_pipeline.access.webhooks import event_id_for
from plms_pipeline.pas.protocol import (
    CompletionHint,
    KpiClaim,
    RunCompleted,
    RunSummary,
    TaskCompleted,
    TaskReceiptMessage,
)
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions.world import World
from plms_pipeline.pas.reference.chance import draw
from plms_pipeline.pas.reference.store import Card, Event, Run
from plms_pipeline.pas.workers import KpiResult

TASK_PATH: Final = "/hooks/pas/task_completed"
RUN_PATH: Final = "/hooks/pas/run_completed"
HINT_PATH: Final = "/webhooks/pas/completion"
LATE_MS: Final = 600_000
REORDERED_MS: Final = 120_000
DUPLICATE_MS: Final = 1_000
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
# The receiver may say these while it starts, is misconfigured or busy; every other 4xx it would say again.
PASSING: Final = frozenset({401, 403, 404, 408, 425, 429})
_MEASURES: Final = ("tokens_in", "tokens_out", "tokens_think", "time_ms", "cost_usd", "energy_kwh")


def tell_task(world: World, card: Card, status: str, receipt: TaskReceiptMessage | None, error: str | None) -> None:
    """Write the event that an attempt has ended."""
    event_id = event_id_for("task_completed", card.run_id, card.task_id, card.attempt, status)
    measured = (KpiResult.model_validate_json(body) for _, body in store.told(world.db, card.id, store.KPI).values())
    message = TaskCompleted(
        task_id=card.task_id, run_id=card.run_id, attempt=card.attempt, status=status, receipt=receipt,
        kpis=tuple(KpiClaim(name=one.kpi_name, value=one.value, passed=one.passed) for one in measured),
        metrics={} if receipt is None else {
            "tokens_total": receipt.tokens_total, "time_ms": receipt.time_ms, "cost_usd": receipt.cost_usd
        },
    )  # fmt: skip
    body = {"endpoint": "task_completed", **message.model_dump(mode="json", by_alias=True), "error": error}
    forged = {**body, "status": "failed" if status == "succeeded" else "succeeded", "receipt": None}
    if receipt is not None:
        _spoil(world, event_id, body["receipt"])
    _put(world, event_id, TASK_PATH, body, forged)


def tell_run(world: World, run: Run, *, succeeded: int, failed: int) -> None:
    """Write the two events that a run has ended (for now): the summary, and the guide's bare hint."""
    message = RunCompleted(
        run_id=run.run_id,
        validation_pass=run.state == "completed",
        summary=RunSummary(
            tasks_total=run.tasks_total,
            tasks_succeeded=succeeded,
            tasks_failed=failed,
            spend_usd=store.to_usd(run.spend_micro),
            duration_minutes=max(0.0, (world.now() - run.created_at) * world.speed / 60),
        ),
    )
    body = {"endpoint": "run_completed", **message.model_dump(mode="json"), "status": run.state, "reason": run.reason}
    about = (run.run_id, None, run.rounds, run.state)
    _put(
        world,
        event_id_for("run_completed", *about),
        RUN_PATH,
        body,
        {**body, "validation_pass": not message.validation_pass},
    )
    hint = CompletionHint(project_id=run.project_id, run_id=run.run_id).model_dump(mode="json")
    _put(world, event_id_for("completion", *about), HINT_PATH, hint, {**hint, "run_id": "run-of-nobody"})


def _spoil(world: World, event_id: str, receipt: dict[str, Any]) -> None:
    if world.faults.strikes("partial", event_id):
        receipt.update(dict.fromkeys(_MEASURES))
    if world.faults.strikes("negative", event_id):
        receipt["cost_usd"] = -1.0


def _put(world: World, event_id: str, path: str, body: dict[str, Any], forged: dict[str, Any]) -> None:
    now, strikes = world.now(), world.faults.strikes
    due = now
    if strikes("late", event_id):
        due += world.real_s(LATE_MS)
    if strikes("reordered", event_id):
        due += world.real_s(REORDERED_MS) * draw(world.seed, "reordered", event_id)
    is_lost = strikes("lost", event_id)
    row = {"event_id": event_id, "path": path, "body": _bytes(body), "due_at": due, "is_forged": 0}
    store.add_event(world.db, **row, state="lost" if is_lost else "pending")
    if strikes("duplicate", event_id) and not is_lost:
        store.add_event(world.db, **{**row, "due_at": due + world.real_s(DUPLICATE_MS)})
    if strikes("forged", event_id):
        other = {"event_id": world.name("forged", event_id), "body": _bytes(forged), "due_at": now, "is_forged": 1}
        store.add_event(world.db, **{**row, **other})


def _bytes(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt to deliver went: the status that answered, or why nothing did."""

    event: Event
    status: int | None
    problem: str = ""
    retry_after_s: float = 0.0


def due_deliveries(world: World, limit: int) -> list[Event]:
    """What should be delivered now."""
    return store.due_events(world.db, world.now(), limit)


def record_deliveries(world: World, deliveries: list[Delivery]) -> None:
    """Write down how deliveries went: done, again later (full jitter, 0.5 to 30 s), or refused for good.

    A forged event is sent once, and that it was refused is its success.
    """
    now = world.now()
    with store.writing(world.db):
        for delivery in deliveries:
            event, status = delivery.event, delivery.status
            attempts = event.attempts + 1
            told = f"status {status}" if status is not None else delivery.problem
            if status is not None and (200 <= status < 300 or event.is_forged):
                store.change_event(world.db, event.id, state="delivered", attempts=attempts, last_error=told)
            elif status is not None and 300 <= status < 500 and status not in PASSING:
                store.change_event(world.db, event.id, state="refused", attempts=attempts, last_error=told)
            else:
                bound = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempts - 1, 10))
                wait = max(delivery.retry_after_s, bound * draw(world.seed, "retry", event.id, attempts))
                store.change_event(world.db, event.id, due_at=now + wait, attempts=attempts, last_error=told)
