"""What does the executor say when it is asked?

Heartbeats and progress of its own are not stored: they follow from when a task started and how fast the clock runs, one beat
every thirty virtual seconds. Under the fault `missed_heartbeats` the first beat is the last. What a worker told is shown
instead when it is newer.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

from plms_pipeline import __version__
from plms_pipeline.pas.protocol import (
    Health,
    KpiViolation,
    ProviderState,
    RunStatus,
    TaskReceiptMessage,
    TaskStatus,
)
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions.ending import DRIFT, fate
from plms_pipeline.pas.reference.actions.runs import known_run
from plms_pipeline.pas.reference.actions.world import World
from plms_pipeline.pas.reference.machine import ENDED
from plms_pipeline.pas.reference.store import Card, Run
from plms_pipeline.pas.workers import Heartbeat, KpiResult

CAPABILITIES: Final = (
    "architect", "cancel_card", "commands", "hard_budgets", "heartbeats", "kpis", "pause_run", "pause_task",
    "provider_state", "receipts", "simulate", "tasks_total", "webhooks_signed",
)  # fmt: skip
BEAT_MS: Final = 30_000


def run_status(world: World, run_id: str) -> RunStatus:
    """A run with the newest attempt at each of its tasks.

    Raises:
        NotFound: no such run (`run_not_found`).
    """
    run = known_run(world, run_id)
    newest = store.newest_cards(world.db, run_id)
    succeeded = sum(card.state == "succeeded" for card in newest)
    return RunStatus(
        run_id=run_id, status=run.state, reason=run.reason, tasks_total=run.tasks_total, tasks_completed=succeeded,
        tasks_failed=sum(card.state in ENDED for card in newest) - succeeded, spend_usd=store.to_usd(run.spend_micro),
        spend_energy_kwh=store.energy_of(world.db, run_id), runway_minutes=_runway(world, run),
        kpi_violations=_violations(world, run_id), tasks=tuple(_task(world, card) for card in newest),
    )  # fmt: skip


def _runway(world: World, run: Run) -> float | None:
    """Virtual minutes until the cap is reached, at what was spent per minute so far."""
    elapsed = (world.now() - run.created_at) * world.speed / 60
    if run.cap_micro is None or run.spend_micro <= 0 or elapsed <= 0:
        return None
    return (run.cap_micro - run.spend_micro) / (run.spend_micro / elapsed)


def _violations(world: World, run_id: str) -> tuple[KpiViolation, ...]:
    found = []
    for task_id, body in store.told_of_run(world.db, run_id, store.KPI):
        result = KpiResult.model_validate_json(body)
        if not result.passed:
            asked = result.threshold.model_dump(exclude_none=True)
            found.append(
                KpiViolation(task_id=task_id, kpi_name=result.kpi_name, expected=asked or None, actual=result.value)
            )
    return tuple(found)


def _task(world: World, card: Card) -> TaskStatus:
    receipt = None if card.receipt_json is None else TaskReceiptMessage.model_validate_json(card.receipt_json)
    progress, beat = _life(world, card)
    return TaskStatus(
        task_id=card.task_id, attempt=card.attempt, lane=card.lane, status=card.state, pas_task_id=card.pas_task_id,
        receipt=receipt, error=card.error, progress=progress, last_heartbeat_at=beat,
    )  # fmt: skip


def _life(world: World, card: Card) -> tuple[float | None, datetime | None]:
    """Progress and last heartbeat of a task that works."""
    if card.state not in ("running", "paused") or card.started_at is None:
        return (1.0 if card.state == "succeeded" else None), None
    whole_s = world.real_s(fate(world, card).taken.time_ms)
    worked_s = max(0.0, world.now() - card.started_at)
    if card.left_s is not None or card.due_at is not None:
        left_s = card.left_s if card.left_s is not None else (card.due_at or 0.0) - world.now()
        progress = 1.0 if whole_s <= 0 else min(1.0, max(0.0, 1 - left_s / whole_s))
    else:
        progress = min(0.99, worked_s / whole_s) if whole_s > 0 else 0.99
    beats = 0 if world.faults.strikes("missed_heartbeats", card.card_key) else int(worked_s / world.real_s(BEAT_MS))
    at = card.started_at + beats * world.real_s(BEAT_MS)
    heard = store.told(world.db, card.id, store.BEAT).get("")
    if heard is not None and heard[0] >= at:
        at, progress = heard[0], Heartbeat.model_validate_json(heard[1]).progress_pct
    return progress, datetime.fromtimestamp(at, UTC)


def provider_state(world: World, asked: int) -> ProviderState:
    """The version of every provider now. `asked`: how often it was asked before, for the fault `wrong_version`."""
    state = store.providers(world.db)
    if state and world.faults.strikes("wrong_version", "state", asked):
        name = sorted(state)[asked % len(state)]
        state = {**state, name: state[name] + DRIFT}
    return ProviderState(providers=state, taken_at=world.clock.now())


def health(world: World) -> Health:
    """That it works, and what it can do."""
    counted = store.counts(world.db)
    return Health(
        status="ok", capabilities=CAPABILITIES, version=__version__, active_runs=counted["active_runs"],
        total_tasks=counted["total_tasks"], total_receipts=counted["total_receipts"],
    )  # fmt: skip


def portfolio(world: World) -> dict[str, Any]:
    """What works where, in the words of the sources."""
    running, counted = store.running_by_lane(world.db), store.counts(world.db)
    by_run = Counter(store.open_cards_by_run(world.db))
    total = sum(by_run.values())
    return {
        "active_runs": counted["active_runs"],
        "queued_tasks": counted["queued_tasks"],
        "lane_utilization": {
            str(lane): running.get(lane, 0) / cap if cap else 0.0 for lane, cap in sorted(world.lane_caps.items())
        },
        "lane_caps": {str(lane): cap for lane, cap in sorted(world.lane_caps.items())},
        "fairness_weights": {run_id: count / total for run_id, count in sorted(by_run.items())},
        "events": store.events_by_state(world.db),
    }
