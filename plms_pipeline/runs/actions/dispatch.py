"""How do runs and their cards get to the executor, whatever happens on the way?

One tick: announce runs whose turn it is, ask what the executor's providers are, hand over cards whose dependencies have
succeeded, skip those that never can. Any number of processes may tick at once, and any of them may die between any two
statements: what is to be done is a row, claimed with a lease; what was handed over is told by its own key, so handing it over
again changes nothing; no call goes out while a transaction is open.

Whose turn it is the scheduler decides (`portfolio.actions.scheduling`): a card goes out when it holds a slot of its lane and a
reservation, both taken in the transaction that claims it. What is ready is queued by whoever made it ready; a sweep over all
cards is the net behind that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy.orm import Session

from plms_pipeline.clock import Clock
from plms_pipeline.errors import Unavailable
from plms_pipeline.evidence.obligations import EvidenceConfig
from plms_pipeline.pas.client import UNKNOWN_RUN, PasClient, PasRefused
from plms_pipeline.portfolio.actions.scheduling import OPEN_POLICY, DispatchPolicy, hold_round, lanes_to_look_at
from plms_pipeline.portfolio.store import queue
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.dispatch_effects import EFFECTS, effects
from plms_pipeline.runs.actions.dispatch_starts import announce
from plms_pipeline.runs.actions.dispatch_tick import (
    DISPATCHER,
    LEASE,
    DispatchResult,
    Stopped,
    Tick,
    Unsendable,
    message,
    skip,
)
from plms_pipeline.runs.actions.queueing import let_go, queue_ready
from plms_pipeline.runs.dispatching import turn_of, wait_s
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store import outbox, queueing
from plms_pipeline.runs.store.dispatch import Card, RunFacts
from plms_pipeline.runs.store.transitions import move_task

log = logging.getLogger(__name__)
MOST_CARDS = 200

# A card is not begun when its lease is nearly over: another dispatcher may take it up.
ENOUGH_LEASE = timedelta(seconds=20)

__all__ = ["DispatchResult", "dispatch_due", "has_work"]


def dispatch_due(
    registry: Registry,
    *,
    clock: Clock,
    pas: PasClient,
    holder: str,
    data_dir: str,
    stopped: Stopped = lambda: None,
    policy: DispatchPolicy = OPEN_POLICY,
    ids: Callable[[], str] = lambda: str(uuid4()),
    sweeps: bool = True,
    evidence: EvidenceConfig | None = None,
    limit: int = MOST_CARDS,
) -> DispatchResult:
    """Hand over what is due. Call it after every start and completion, and now and then.

    Args:
        holder: names this process in leases.
        data_dir: absolute path under which attempts stage their artifacts.
        stopped: the reason of the kill switch, or None; asked before every call.
        policy: what bounds approved projects beside lanes and their own budgets.
        ids: makes the names of slots.
        sweeps: look at every card, not only at the queue: now and then, and whenever nobody else fills the queue.
        evidence: where evidence of a submission is owed; None owes none.
        limit: how many cards at most.

    Raises:
        Unavailable: the registry is away. An executor that is away is told in the result, and what is due stays due.
    """
    tick = Tick(registry, clock, pas, holder, data_dir, stopped, evidence=evidence)
    announce(tick, max_runs=policy.max_runs)
    effects(tick)
    if sweeps:
        _sweep(tick)
    _cards(tick, policy, ids, limit)
    if tick.result.did_something or tick.result.away:
        result = tick.result
        log.info(
            "dispatched announced=%d submitted=%d refused=%d skipped=%d away=%s",
            result.announced, result.submitted, result.refused, result.skipped, result.away or "-",
        )  # fmt: skip
    return tick.result


def has_work(registry: Registry, *, clock: Clock) -> bool:
    """Whether a tick would find anything to do or to skip. Reads only."""
    now = clock.now()
    with registry.reading() as session:
        if outbox.any_due(session, EFFECTS, now) or store.projects_with_due_starts(session, now, limit=1):
            return True
        cards = queueing.unqueued(session)
        states = store.task_states(session, {card.run_id for card in cards})
    turn = turn_of(cards, states)
    return bool(turn.ready or turn.hopeless or lanes_to_look_at(registry, now=now))


def _sweep(tick: Tick) -> None:
    """Queue what is ready and nobody queued, and skip what never will be."""
    with tick.registry.reading() as session:
        cards = queueing.unqueued(session)
        turn = turn_of(cards, store.task_states(session, {card.run_id for card in cards}))
    by_key = {card.card_key: card for card in cards}
    if turn.ready:
        with tick.registry.writing() as session:
            queue_ready(session, {by_key[key].run_id for key in turn.ready}, now=tick.clock.now())
    for key, reason in turn.hopeless.items():
        card = by_key[key]
        with tick.registry.writing() as session:
            skipped = skip(session, key, card.run_id, card.task_id, reason, tick.clock.now())
        if skipped:
            tick.count(skipped=1, run_id=card.run_id)


def _cards(tick: Tick, policy: DispatchPolicy, ids: Callable[[], str], limit: int) -> None:
    """Hold rounds, lane by lane, until no slot is free or nobody wants one."""
    runs: dict[str, RunFacts | None] = {}
    lanes = lanes_to_look_at(tick.registry, now=tick.clock.now()) if tick.may_go_on() else []
    refused: dict[int, set[int]] = {lane_id: set() for lane_id in lanes}
    left = limit
    while lanes and left > 0 and tick.may_go_on():
        lane_id = lanes.pop(0)
        now = tick.clock.now()
        done = hold_round(
            tick.registry, lane_id, clock=tick.clock, ids=ids, holder=tick.holder, policy=policy,
            claim=lambda session, key: _claim(tick, session, key), without=refused[lane_id], limit=left,
        )  # fmt: skip
        refused[lane_id] |= done.refused.keys()
        left -= len(done.cards)
        _submit_all(tick, done.cards, runs, until=now + LEASE - ENOUGH_LEASE)
        if done.wait_s:
            break
        if done.is_worth_repeating:
            lanes.append(lane_id)
    with tick.registry.reading() as session:
        tick.count(waiting=queue.length(session))


def _submit_all(tick: Tick, cards: list[Card], runs: dict[str, RunFacts | None], *, until: datetime) -> None:
    """Hand over what was claimed; what cannot be any more gives back what it holds."""
    for card in cards:
        if not tick.may_go_on() or tick.clock.now() > until:
            _release(tick, card, 0.0, "its dispatcher had to stop before it was handed over", keeps_slot=False)
            continue
        if card.run_id not in runs:
            with tick.registry.reading() as session:
                runs[card.run_id] = store.run_facts(session, card.run_id)
        _submit(tick, card, runs[card.run_id])


def _claim(tick: Tick, session: Session, key: str) -> Card | None:
    """The card, ours for the time of the lease; None when somebody else has it or it has ended."""
    now = tick.clock.now()
    card = store.claim_card(session, key, holder=tick.holder, now=now, lease_until=now + LEASE)
    if card is not None:
        queue.again(session, key, not_before=now + LEASE, holds_slot=True)
    return card


def _submit(tick: Tick, card: Card, run: RunFacts | None) -> None:
    if run is None:
        _refuse_card(tick, card, "there is no such run")
        return
    try:
        accepted = tick.pas.submit_card(message(tick, card, run))
    except Unavailable as error:
        wait = max(wait_s(card.submissions), float(error.retry_after_s or 0))
        # It may have arrived all the same: until that is known it keeps its slot, and goes again in it.
        _release(tick, card, wait, error.message, keeps_slot=getattr(error, "is_ambiguous", True))
        tick.result = replace(tick.result, away=error.message)
        return
    except Unsendable as error:
        _refuse_card(tick, card, error.message)
        return
    except PasRefused as error:
        if error.pas_code == UNKNOWN_RUN:
            # Whether the executor lost the run is for the reconciliation to say; until then the card waits.
            _release(tick, card, wait_s(card.submissions), error.message, keeps_slot=False)
        else:
            _refuse_card(tick, card, error.message)
        return
    now = tick.clock.now()
    with tick.registry.writing() as session:
        if store.card_submitted(session, card.card_key, pas_task_id=accepted.pas_task_id, now=now):
            move_task(session, card.run_id, card.task_id, expected="QUEUED", new="RUNNING", at=now, actor=DISPATCHER)
    tick.count(submitted=1, run_id=card.run_id)


def _release(tick: Tick, card: Card, wait: float, error: str, *, keeps_slot: bool) -> None:
    now = tick.clock.now()
    not_before = now + timedelta(seconds=wait)
    with tick.registry.writing() as session:
        if not keeps_slot:
            let_go(session, card.card_key, card.lane_id, now=now, reason=error)
        store.card_released(session, card.card_key, not_before=not_before, error=error)
        queue.again(session, card.card_key, not_before=not_before, holds_slot=keeps_slot)


def _refuse_card(tick: Tick, card: Card, error: str) -> None:
    """The executor will never take this card: its task ends with the executor's reason, and what depends on it is skipped."""
    now = tick.clock.now()
    with tick.registry.writing() as session:
        let_go(session, card.card_key, card.lane_id, now=now, reason=error)
        store.card_cancelled(session, card.card_key, now=now, error=error)
        move_task(
            session, card.run_id, card.task_id, expected="QUEUED", new="FAIL", at=now, actor=DISPATCHER, reason=error
        )
    tick.count(refused=1, run_id=card.run_id)
