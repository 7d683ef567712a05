"""What follows when a worker tells how its task is doing, what it took, or what it measured?

In this executor nobody works, so its own clock ends a task unless a worker is faster. A receipt is booked like every other
end: within the caps of card and run, once, with an event to PLMS; told again it changes nothing, and another one for the same
attempt is refused.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.errors import Conflict, NotFound
from plms_pipeline.pas.protocol import JobCard
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions.ending import End, end_card, fate
from plms_pipeline.pas.reference.actions.runs import known_run
from plms_pipeline.pas.reference.actions.world import World
from plms_pipeline.pas.reference.fate import BUDGET, capped
from plms_pipeline.pas.reference.machine import ENDED
from plms_pipeline.pas.reference.outcomes import Outcome
from plms_pipeline.pas.reference.simulation import project, sample
from plms_pipeline.pas.reference.store import Card
from plms_pipeline.pas.workers import Heartbeat, KpiResult, Simulated, SimulateRun, Told, WorkerReceipt

_STATED: Final = ("tokens_in", "tokens_out", "tokens_think", "energy_kwh", "echo_cos")
_FAILED: Final = "the worker says that it failed"


def heartbeat(world: World, beat: Heartbeat) -> Told:
    """Note that a task still works. A beat that is older than the last one changes nothing; the future is now.

    Raises:
        NotFound: no such run or card.
        Conflict: the task has ended (`card_ended`) or has not begun (`card_not_running`).
    """
    with store.writing(world.db):
        card = _working(world, beat.run_id, beat.task_id, beat.attempt)
        at = world.now() if beat.ts is None else min(world.now(), beat.ts.timestamp())
        before = store.told(world.db, card.id, store.BEAT).get("")
        is_new = before is None or at > before[0]
        if is_new:
            store.tell(world.db, card.id, store.BEAT, "", at=at, body=beat.model_dump_json())
    return _told(card, card.state, duplicate=not is_new)


def receipt(world: World, told: WorkerReceipt) -> Told:
    """End a task with what its worker says it took, within its card's and its run's cap.

    Raises:
        NotFound: no such run or card.
        Conflict: lane or provider are not the card's (`receipt_mismatch`), the task has not begun (`card_not_running`), or it
            has ended otherwise (`card_ended`).
        Unprocessable: `artifacts_path` lies outside the root (`bad_artifacts_dir`).
    """
    with store.writing(world.db):
        card = _card(world, told.run_id, told.task_id, told.attempt)
        message = JobCard.model_validate_json(card.card_json)
        if (told.lane, told.provider) != (card.lane, message.provider):
            raise Conflict(
                f"The card says lane {card.lane} and provider {message.provider}; the receipt says otherwise.",
                code="receipt_mismatch",
            )
        if told.artifacts_path is not None:
            world.artifacts.checked(told.artifacts_path)
        body = told.model_dump_json()
        before = store.told(world.db, card.id, store.RECEIPT).get("")
        if before is not None and before[1] == body:
            return _told(card, card.state, duplicate=True)
        _require_working(card)
        store.tell(world.db, card.id, store.RECEIPT, "", at=world.now(), body=body)
        end_card(world, card, _end(world, card, message, told))
        ended = _card(world, told.run_id, told.task_id, told.attempt)
    return _told(ended, ended.state)


def kpi(world: World, result: KpiResult) -> Told:
    """Keep what a worker measured; the newest word about a KPI of an attempt stands.

    Raises:
        NotFound: no such run or card.
    """
    with store.writing(world.db):
        card = _card(world, result.run_id, result.task_id, result.attempt)
        body = result.model_dump_json()
        before = store.told(world.db, card.id, store.KPI).get(result.kpi_name)
        is_new = before is None or before[1] != body
        if is_new:
            store.tell(world.db, card.id, store.KPI, result.kpi_name, at=world.now(), body=body)
    return _told(card, card.state, duplicate=not is_new)


def simulate(world: World, asked: SimulateRun) -> Simulated:
    """What the run would take, judged by a sample of its cards. Nothing is spent, and the same question has the same answer.

    Raises:
        NotFound: no such run (`run_not_found`).
        Conflict: no card of it has arrived (`no_cards`).
    """
    run = known_run(world, asked.run_id)
    cards = {card.task_id: card for card in store.newest_cards(world.db, run.run_id)}
    if not cards:
        raise Conflict(f"No card of run {run.run_id} has arrived: there is nothing to sample.", code="no_cards")
    strata = {task: _stratum(card) for task, card in cards.items()}
    chosen = sample(strata, asked.rehearsal_pct, stratified=asked.stratified, seed=world.seed, about=run.run_id)
    taken = {task: fate(world, cards[task]).taken for task in chosen}
    tokens = {task: one.tokens_in + one.tokens_out + one.tokens_think for task, one in taken.items()}
    found = project(tokens, strata, tasks_total=run.tasks_total)
    return Simulated(
        run_id=run.run_id, strata_coverage=found.coverage, rehearsal_tokens=found.sample_tokens,
        projected_tokens=found.tokens, ci_lower=found.low, ci_upper=found.high, risk_score=found.risk,
        tasks_sampled=found.n_sampled, tasks_known=len(cards), tasks_total=run.tasks_total,
    )  # fmt: skip


def _end(world: World, card: Card, message: JobCard, told: WorkerReceipt) -> End:
    run = store.run_of(world.db, card.run_id)
    taken = Outcome(
        time_ms=told.time_ms, cost_usd=told.cost_usd, tokens_in=told.tokens_in or 0, tokens_out=told.tokens_out or 0,
        tokens_think=told.tokens_think or 0, energy_kwh=told.energy_kwh or 0.0, echo_cos=told.echo_cos or 0.0,
    )  # fmt: skip
    error = None if told.status == "succeeded" else told.error or _FAILED
    if message.budget_usd is not None and taken.cost_usd > message.budget_usd:
        taken, error = capped(taken, message.budget_usd), BUDGET
    folder = None if run is None or run.sandbox else told.artifacts_path or message.payload.artifacts_dir
    unknown = frozenset(name for name in _STATED if getattr(told, name) is None)
    return End("succeeded" if error is None else "failed", taken, error, folder, unknown)


def _stratum(card: Card) -> tuple[int, str, str]:
    payload = JobCard.model_validate_json(card.card_json).payload
    return card.lane, payload.task_kind or "", payload.complexity or ""


def _working(world: World, run_id: str, task_id: str, attempt: int) -> Card:
    card = _card(world, run_id, task_id, attempt)
    _require_working(card)
    return card


def _require_working(card: Card) -> None:
    if card.state in ENDED:
        raise Conflict(f"The card is {card.state}; what has ended never changes.", code="card_ended")
    if card.state not in ("running", "paused"):
        raise Conflict(f"The card is {card.state}: nobody works on it yet.", code="card_not_running")


def _card(world: World, run_id: str, task_id: str, attempt: int) -> Card:
    known_run(world, run_id)
    card = store.card_of_attempt(world.db, run_id, task_id, attempt)
    if card is None:
        raise NotFound("Card not found", code="card_not_found")
    return card


def _told(card: Card, state: str, *, duplicate: bool = False) -> Told:
    return Told(run_id=card.run_id, task_id=card.task_id, attempt=card.attempt, status=state, duplicate=duplicate)
