"""How is a running task put aside for another project, and how does it go on?

The round that finds somebody who has waited too long writes down which card is to be paused, and an effect that says so. The
executor is told with no transaction open; only when it has paused the task is its slot free, in the transaction that also
queues the card again. So the cap holds at every moment, and whoever dies in between leaves an effect that is told again:
pausing a paused task changes nothing. The card keeps its reservation and goes on, in a slot like any other, when its project's
turn comes; it is resumed instead of submitted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from plms_pipeline.errors import Unavailable
from plms_pipeline.pas.client import PasRefused
from plms_pipeline.portfolio.store import preemptions, queue, slots
from plms_pipeline.portfolio.store.preemptions import PUT_ASIDE
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.runs.actions.dispatch_tick import LEASE, Tick
from plms_pipeline.runs.actions.queueing import queue_paused
from plms_pipeline.runs.dispatching import wait_s
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store import outbox
from plms_pipeline.runs.store.dispatch import Card, RunFacts
from plms_pipeline.runs.store.outbox import Effect

log = logging.getLogger(__name__)
KIND: Final = "preempt_task"
NOTHING_LEFT: Final = frozenset({404, 409, 410})


def ask_pause(session: Session, card_key: str, *, now: datetime) -> None:
    """In the transaction of the round: the executor is to be told."""
    outbox.ask(session, KIND, card_key, now=now)


def put_aside(tick: Tick, effect: Effect) -> None:
    """Tell the executor to pause a card, and pass its slot on.

    Raises:
        Unavailable: the executor is away; the card keeps its slot, and the effect is due again.
    """
    with tick.registry.reading() as session:
        aside = preemptions.find(session, effect.subject_id)
        card = store.submitted_card(session, effect.subject_id)
        run = None if card is None else store.run_facts(session, card.run_id)
    if aside is None or aside.state != "asked" or card is None or run is None:
        _not_paused(tick, effect, "it has ended")
        return
    try:
        tick.pas.pause_task(run.executor_id or card.run_id, card.task_id, card.attempt)
    except PasRefused as error:
        _not_paused(tick, effect, error.message)
        return
    with tick.registry.writing() as session:
        now = tick.clock.now()
        store.lock_runs(session, [card.run_id])
        outbox.done(session, effect.id, now=now)
        if store.submitted_card(session, card.card_key) is None:
            # Its end was settled meanwhile, and gave back what it held.
            preemptions.over(session, [card.card_key], now=now, outcome="it has ended")
            return
        if preemptions.move(session, card.card_key, expected="asked", new="paused", now=now):
            slots.release(session, lane_resource(card.lane_id), card.card_key, now=now, reason=PUT_ASIDE)
            queue_paused(session, [card.card_key], now=now)
    tick.count(paused=1, run_id=card.run_id)
    log.info(
        "put_aside run_id=%s task_id=%s lane=%d for_project=%d",
        card.run_id, card.task_id, card.lane_id, aside.for_project_id,
    )  # fmt: skip


def claim_paused(tick: Tick, session: Session, card_key: str) -> Card | None:
    """A card that is put aside, ours for the time of the lease: it holds a slot again; None when it is not to be had."""
    now = tick.clock.now()
    card = store.claim_paused(session, card_key, holder=tick.holder, now=now, lease_until=now + LEASE)
    if card is not None:
        preemptions.move(session, card_key, expected="paused", new="resuming", now=now)
        queue.again(session, card_key, not_before=now + LEASE, holds_slot=True)
    return card


def go_on(tick: Tick, cards: Sequence[Card], runs: dict[str, RunFacts | None]) -> None:
    """Let paused cards that have a slot again go on over there."""
    for card in cards:
        run = runs[card.run_id]
        # One that is not told keeps its slot, because somebody before us may have told it; it goes again when the lease ends.
        if run is None or not tick.may_go_on():
            _again(tick, card, 0.0, "not told")
            continue
        try:
            tick.pas.resume_task(run.executor_id or card.run_id, card.task_id, card.attempt)
        except Unavailable as error:
            _again(tick, card, wait_s(1, error.retry_after_s), error.message)
            tick.away(error.message)
        except PasRefused as error:
            if error.status in NOTHING_LEFT:
                # It has ended or is not there: the settlement or the reconciliation gives back what it holds.
                _over(tick, card, error.message)
            else:
                _again(tick, card, wait_s(1), error.message)
        else:
            _over(tick, card, "it goes on")
            tick.count(resumed=1, run_id=card.run_id)


def _again(tick: Tick, card: Card, seconds: float, error: str) -> None:
    now = tick.clock.now()
    with tick.registry.writing() as session:
        not_before = now + timedelta(seconds=seconds)
        store.paused_released(session, card.card_key, not_before=not_before, error=error)
        queue.again(session, card.card_key, not_before=not_before, holds_slot=True)


def _over(tick: Tick, card: Card, outcome: str) -> None:
    now = tick.clock.now()
    with tick.registry.writing() as session:
        store.paused_released(session, card.card_key, not_before=None, error=None)
        preemptions.over(session, [card.card_key], now=now, outcome=outcome)
        queue.leave(session, [card.card_key])


def _not_paused(tick: Tick, effect: Effect, why: str) -> None:
    """It works on, or has ended: its slot is its own."""
    now = tick.clock.now()
    with tick.registry.writing() as session:
        preemptions.over(session, [effect.subject_id], now=now, outcome=f"not paused: {why}")
        outbox.failed(session, effect.id, now=now, error=why)
