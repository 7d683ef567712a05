"""What happens when a card ends: the bill, the receipt, the event, those who waited for it, and the run.

All in the caller's transaction. The run's cap is a hard one too: the card that would cross it is charged what is left, fails
for that reason, and the run is terminated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from plms_pipeline.pas.protocol import JobCard, TaskReceiptMessage
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions.telling import tell_run, tell_task
from plms_pipeline.pas.reference.actions.world import World
from plms_pipeline.pas.reference.fate import RUN_BUDGET, Fate, capped, fate_of
from plms_pipeline.pas.reference.machine import ENDED, OVER, CardState, card_by_its_dependencies, run_by_its_tasks
from plms_pipeline.pas.reference.outcomes import Outcome
from plms_pipeline.pas.reference.store import Card, Run

DRIFT = ".drift"


@dataclass(frozen=True, slots=True)
class End:
    """How a card ends. `taken`: what it has taken (None: it never ran); `unknown`: the measures that nobody knows."""

    state: CardState
    taken: Outcome | None = None
    error: str | None = None
    artifacts_path: str | None = None
    unknown: frozenset[str] = frozenset()


def fate(world: World, card: Card) -> Fate:
    """How the card ends if nobody interferes: the same whenever it is asked."""
    message = JobCard.model_validate_json(card.card_json)
    return fate_of(
        world.outcomes, world.faults, world.seed,
        card_key=card.card_key, lane=card.lane, provider=message.provider, budget_usd=message.budget_usd,
    )  # fmt: skip


def end_card(world: World, card: Card, end: End) -> None:
    """End an open card, and whatever follows from that."""
    run = _bill(world, _run(world, card.run_id), card, end)
    if run.state not in OVER:
        _release_waiting(world, run.run_id)
        settle_run(world, run)


def settle_run(world: World, run: Run) -> None:
    """Give the run the state that its tasks have brought it to, and tell when it has ended."""
    newest = store.newest_cards(world.db, run.run_id)
    state = run_by_its_tasks(run.state, [card.state for card in newest], run.tasks_total)
    if state != run.state:
        _end_run(world, run.run_id, state=state, reason=None)


def terminate(world: World, run: Run, reason: str) -> None:
    """End a run now: what runs is billed for what it has taken, what waits never starts."""
    # The state first: cards that end below must not make the run anything else.
    store.change_run(world.db, run.run_id, state="terminated", reason=reason)
    for card in store.newest_cards(world.db, run.run_id):
        if card.state not in ENDED:
            _bill(world, _run(world, run.run_id), card, stopped(world, card, f"terminated: {reason}"))
    _end_run(world, run.run_id)


def stopped(world: World, card: Card, error: str) -> End:
    """The end of a card that is stopped now, with what it has taken so far."""
    if card.started_at is None:
        return End("cancelled", None, error)
    taken, now = fate(world, card).taken, world.now()
    whole_s = world.real_s(taken.time_ms)
    if card.state == "paused" and card.left_s is not None:
        left_s = card.left_s
    else:
        left_s = (card.due_at if card.due_at is not None else card.started_at + whole_s) - now
    return End("cancelled", taken.part(1 - left_s / whole_s if whole_s > 0 else 1.0), error)


def _bill(world: World, run: Run, card: Card, end: End) -> Run:
    """Write the end of one card: its receipt within the run's cap, and its event. Returns the run as it is then."""
    taken = end.taken
    left = None if run.cap_micro is None else store.to_usd(run.cap_micro - run.spend_micro)
    is_over = taken is not None and left is not None and taken.cost_usd > left
    if taken is not None and left is not None and is_over:
        taken = capped(taken, left)
        end = replace(
            end, state="failed" if end.state == "succeeded" else end.state, taken=taken, error=end.error or RUN_BUDGET
        )
    receipt = None if taken is None else _receipt(world, card, end, taken)
    store.change_card(
        world.db, card.id, state=end.state, error=end.error, ended_at=world.now(), due_at=None, left_s=None,
        receipt_json=None if receipt is None else receipt.model_dump_json(),
    )  # fmt: skip
    if taken is not None:
        store.change_run(world.db, run.run_id, spend_micro=run.spend_micro + store.to_micro(taken.cost_usd))
    tell_task(world, card, end.state, receipt, end.error)
    if is_over and run.state not in OVER:
        terminate(world, _run(world, run.run_id), RUN_BUDGET)
    return _run(world, run.run_id)


def _receipt(world: World, card: Card, end: End, taken: Outcome) -> TaskReceiptMessage:
    """The receipt says how long the work took, not how long it was played: it starts `time_ms` before it ended.

    At a speed above 1 it may therefore start before its card came; the other way, two moments that contradict the
    duration, would be refused by every honest importer.
    """
    message = JobCard.model_validate_json(card.card_json)
    ended = datetime.fromtimestamp(world.now(), UTC)
    version = message.provider_version or store.providers(world.db).get(message.provider)
    if version is not None and world.faults.strikes("wrong_version", card.card_key):
        version += DRIFT
    is_good = end.state == "succeeded"
    found = TaskReceiptMessage(
        task_id=card.task_id, run_id=card.run_id, attempt=card.attempt, lane=card.lane, provider=message.provider,
        tokens_in=taken.tokens_in, tokens_out=taken.tokens_out, tokens_think=taken.tokens_think,
        time_ms=taken.time_ms, cost_usd=taken.cost_usd, energy_kwh=taken.energy_kwh,
        echo_cos=taken.echo_cos if is_good else None, status="succeeded" if is_good else "failed",
        started_at=ended - timedelta(milliseconds=taken.time_ms), completed_at=ended,
        artifacts_path=end.artifacts_path, provider_version=version, error=end.error,
    )  # fmt: skip
    return found.model_copy(update=dict.fromkeys(end.unknown))


def _release_waiting(world: World, run_id: str) -> None:
    """Queue what waited only for what has succeeded; skip what waited for what has not, and those who wait for that."""
    changed = True
    while changed:
        changed = False
        newest = store.newest_cards(world.db, run_id)
        states = {card.task_id: card.state for card in newest}
        for card in newest:
            if card.state == "waiting":
                deps = JobCard.model_validate_json(card.card_json).deps
                after = card_by_its_dependencies(states[dep] for dep in deps)
                if after == "queued":
                    store.change_card(world.db, card.id, state="queued")
                elif after == "skipped":
                    changed = True
                    _bill(
                        world,
                        _run(world, run_id),
                        card,
                        End("skipped", None, "a task that it depends on did not succeed"),
                    )


def _end_run(world: World, run_id: str, **values: str | None) -> None:
    rounds = _run(world, run_id).rounds + 1
    store.change_run(world.db, run_id, **values, rounds=rounds, ended_at=world.now())
    states = [card.state for card in store.newest_cards(world.db, run_id)]
    tell_run(
        world, _run(world, run_id),
        succeeded=states.count("succeeded"), failed=sum(state in ENDED - {"succeeded"} for state in states),
    )  # fmt: skip


def _run(world: World, run_id: str) -> Run:
    run = store.run_of(world.db, run_id)
    if run is None:
        raise RuntimeError(f"a card of run {run_id} without its run")
    return run
