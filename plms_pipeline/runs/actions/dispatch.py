"""How do runs and their cards get to the executor, whatever happens on the way?

One tick: announce runs whose turn it is, ask what the executor's providers are, hand over cards whose dependencies have
succeeded, skip those that never can. Any number of processes may tick at once, and any of them may die between any two
statements: what is to be done is a row, claimed with a lease; what was handed over is told by its own key, so handing it over
again changes nothing; no call goes out while a transaction is open.

`admit` is asked about each card in the transaction that claims it: caps, shares and money have their place there. Without it
cards go in plain order.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from plms_pipeline.clock import Clock
from plms_pipeline.errors import Unavailable
from plms_pipeline.evidence.obligations import EvidenceConfig
from plms_pipeline.pas.client import UNKNOWN_RUN, PasClient, PasRefused
from plms_pipeline.portfolio.store import switches
from plms_pipeline.portfolio.switch import reason_in
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.dispatch_effects import EFFECTS, effects
from plms_pipeline.runs.actions.dispatch_starts import announce
from plms_pipeline.runs.actions.dispatch_tick import (
    DISPATCHER,
    LEASE,
    Admit,
    DispatchResult,
    Stopped,
    Tick,
    Unsendable,
    message,
    skip,
)
from plms_pipeline.runs.dispatching import ADMITTED, Admission, turn_of, wait_s
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store import outbox
from plms_pipeline.runs.store.dispatch import Card, RunFacts
from plms_pipeline.runs.store.transitions import move_task

log = logging.getLogger(__name__)
MOST_CARDS = 200

__all__ = ["Admit", "DispatchResult", "dispatch_due", "has_work"]


def dispatch_due(
    registry: Registry,
    *,
    clock: Clock,
    pas: PasClient,
    holder: str,
    data_dir: str,
    stopped: Stopped = lambda: None,
    admit: Admit = lambda _session, _card: ADMITTED,
    evidence: EvidenceConfig | None = None,
    limit: int = MOST_CARDS,
) -> DispatchResult:
    """Hand over what is due. Call it after every start and completion, and now and then.

    Args:
        holder: names this process in leases.
        data_dir: absolute path under which attempts stage their artifacts.
        stopped: the reason of the kill switch, or None; asked before every call.
        admit: see the module's text.
        evidence: where evidence of a submission is owed; None owes none.
        limit: how many cards at most.

    Raises:
        Unavailable: the registry is away. An executor that is away is told in the result, and what is due stays due.
    """
    tick = Tick(registry, clock, pas, holder, data_dir, stopped, admit, evidence=evidence)
    announce(tick)
    effects(tick)
    _cards(tick, limit)
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
        cards = store.waiting(session, now)
        states = store.task_states(session, {card.run_id for card in cards})
    turn = turn_of(cards, states)
    return bool(turn.ready or turn.hopeless)


def _cards(tick: Tick, limit: int) -> None:
    with tick.registry.reading() as session:
        cards = store.waiting(session, tick.clock.now())
        states = store.task_states(session, {card.run_id for card in cards})
    turn = turn_of(cards, states)
    by_key = {card.card_key: card for card in cards}
    for key, reason in turn.hopeless.items():
        card = by_key[key]
        now = tick.clock.now()
        with tick.registry.writing() as session:
            skipped = skip(session, key, card.run_id, card.task_id, reason, now)
        if skipped:
            tick.count(skipped=1, run_id=card.run_id)
    runs: dict[str, RunFacts | None] = {}
    for done, key in enumerate(turn.ready):
        if done >= limit or not tick.may_go_on():
            tick.count(waiting=len(turn.ready) - done)
            return
        claimed = _claim(tick, key)
        if claimed is None:
            continue
        if claimed.run_id not in runs:
            with tick.registry.reading() as session:
                runs[claimed.run_id] = store.run_facts(session, claimed.run_id)
        _submit(tick, claimed, runs[claimed.run_id])


def _claim(tick: Tick, key: str) -> Card | None:
    """The card, ours for the time of the lease; None when somebody else has it or it is not admitted."""
    now = tick.clock.now()
    with tick.registry.writing() as session:
        card = store.claim_card(session, key, holder=tick.holder, now=now, lease_until=now + LEASE)
        if card is None:
            return None
        why = reason_in(switches.checked(session), project_id=card.project_id, lane_id=card.lane_id)
        admission = tick.admit(session, card) if why is None else Admission(admitted=False, reason=why)
        if not admission.admitted:
            store.card_released(session, key, not_before=None, error=admission.reason)
    if not admission.admitted:
        tick.count(waiting=1)
        return None
    return card


def _submit(tick: Tick, card: Card, run: RunFacts | None) -> None:
    if run is None:
        _refuse_card(tick, card, "there is no such run")
        return
    try:
        accepted = tick.pas.submit_card(message(tick, card, run))
    except Unavailable as error:
        wait = max(wait_s(card.submissions), float(error.retry_after_s or 0))
        _release(tick, card, wait, error.message)
        tick.result = replace(tick.result, away=error.message)
        return
    except Unsendable as error:
        _refuse_card(tick, card, error.message)
        return
    except PasRefused as error:
        if error.pas_code == UNKNOWN_RUN:
            # Whether the executor lost the run is for the reconciliation to say; until then the card waits.
            _release(tick, card, wait_s(card.submissions), error.message)
        else:
            _refuse_card(tick, card, error.message)
        return
    now = tick.clock.now()
    with tick.registry.writing() as session:
        if store.card_submitted(session, card.card_key, pas_task_id=accepted.pas_task_id, now=now):
            move_task(session, card.run_id, card.task_id, expected="QUEUED", new="RUNNING", at=now, actor=DISPATCHER)
    tick.count(submitted=1, run_id=card.run_id)


def _release(tick: Tick, card: Card, wait: float, error: str) -> None:
    not_before = tick.clock.now() + timedelta(seconds=wait)
    with tick.registry.writing() as session:
        store.card_released(session, card.card_key, not_before=not_before, error=error)


def _refuse_card(tick: Tick, card: Card, error: str) -> None:
    """The executor will never take this card: its task ends with the executor's reason, and what depends on it is skipped."""
    now = tick.clock.now()
    with tick.registry.writing() as session:
        store.card_cancelled(session, card.card_key, now=now, error=error)
        move_task(
            session, card.run_id, card.task_id, expected="QUEUED", new="FAIL", at=now, actor=DISPATCHER, reason=error
        )
    tick.count(refused=1, run_id=card.run_id)
