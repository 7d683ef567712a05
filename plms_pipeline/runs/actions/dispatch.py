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
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from plms_pipeline.clock import Clock
from plms_pipeline.evidence.obligations import EvidenceConfig
from plms_pipeline.pas.client import PasClient
from plms_pipeline.portfolio.actions.scheduling import OPEN_POLICY, DispatchPolicy, lanes_to_look_at
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.dispatch_cards import hand_over
from plms_pipeline.runs.actions.dispatch_effects import EFFECTS, effects
from plms_pipeline.runs.actions.dispatch_starts import announce
from plms_pipeline.runs.actions.dispatch_tick import DispatchResult, Stopped, Tick, skip
from plms_pipeline.runs.actions.overtaken import end_overtaken
from plms_pipeline.runs.actions.queueing import queue_paused, queue_ready
from plms_pipeline.runs.dispatching import turn_of
from plms_pipeline.runs.store import announcing, outbox, queueing
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store.overtaken import overtaken_runs

log = logging.getLogger(__name__)
MOST_CARDS = 200

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
    is_dead: Callable[[str], bool] = lambda _holder: False,
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
        is_dead: whether a holder is known to have died; what it had claimed is due at once, not when its lease ends.
        limit: how many cards at most.

    Raises:
        Unavailable: the registry is away. An executor that is away is told in the result, and what is due stays due.
    """
    tick = Tick(registry, clock, pas, holder, data_dir, stopped, evidence=evidence)
    due = _due(registry, now=clock.now())
    freed = _free_from(tick, {one for one in due.holders if is_dead(one)})
    if due.has_overtaken:
        end_overtaken(tick)
    if due.has_starts or freed:
        announce(tick, max_runs=policy.max_runs)
    if due.has_effects or due.has_starts or due.has_overtaken or freed:
        effects(tick)
    if sweeps:
        _sweep(tick)
    hand_over(tick, policy, ids, limit)
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
    due = _due(registry, now=now)
    if due.has_effects or due.has_starts or due.has_overtaken:
        return True
    with registry.reading() as session:
        cards = queueing.unqueued(session)
        states = store.task_states(session, {card.run_id for card in cards if card.depends_on})
        if queueing.paused_unqueued(session):
            return True
    turn = turn_of(cards, states)
    return bool(turn.ready or turn.hopeless or lanes_to_look_at(registry, now=now))


def _sweep(tick: Tick) -> None:
    """Queue what is ready and nobody queued, and skip what never will be."""
    with tick.registry.reading() as session:
        cards = queueing.unqueued(session)
        turn = turn_of(cards, store.task_states(session, {card.run_id for card in cards if card.depends_on}))
        paused = queueing.paused_unqueued(session)
    by_key = {card.card_key: card for card in cards}
    if turn.ready or paused:
        with tick.registry.writing() as session:
            queue_ready(session, {by_key[key].run_id for key in turn.ready}, now=tick.clock.now())
            queue_paused(session, queueing.paused_unqueued(session), now=tick.clock.now())
    if not turn.hopeless:
        return
    now = tick.clock.now()
    skipped: list[str] = []
    with tick.registry.writing() as session:
        store.lock_runs(session, {by_key[key].run_id for key in turn.hopeless})
        for key, reason in turn.hopeless.items():
            card = by_key[key]
            if skip(session, key, card.run_id, card.task_id, reason, now):
                skipped.append(card.run_id)
    for run_id in skipped:
        tick.count(skipped=1, run_id=run_id)


@dataclass(frozen=True, slots=True)
class _Due:
    """What a tick has to do beside the queue, and who has something in hand."""

    holders: set[str]
    has_overtaken: bool
    has_starts: bool
    has_effects: bool


def _due(registry: Registry, *, now: datetime) -> _Due:
    """One look at everything: mostly there is nothing, and many processes look several times a second. Reads only."""
    with registry.asking() as ask:
        return _Due(
            store.holders(ask, now=now) | outbox.holders(ask, now=now), bool(overtaken_runs(ask, limit=1)),
            bool(announcing.projects_with_due_starts(ask, now, limit=1)), outbox.is_any_due(ask, EFFECTS, now),
        )  # fmt: skip


def _free_from(tick: Tick, dead: set[str]) -> bool:
    """Take cards and effects from holders that died with them in their hands: all of them bear being done twice."""
    if dead:
        with tick.registry.writing() as session:
            store.free_from(session, dead, now=tick.clock.now())
            outbox.free_from(session, dead)
    return bool(dead)
