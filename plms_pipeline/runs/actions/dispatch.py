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
from collections.abc import Callable

from plms_pipeline.clock import Clock
from plms_pipeline.pas.client import PasClient
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.dispatch_cards import hand_over
from plms_pipeline.runs.actions.dispatch_effects import EFFECTS, effects
from plms_pipeline.runs.actions.dispatch_starts import announce
from plms_pipeline.runs.actions.dispatch_tick import Admit, DispatchResult, Stopped, Tick
from plms_pipeline.runs.actions.overtaken import end_overtaken
from plms_pipeline.runs.dispatching import ADMITTED, turn_of
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store import outbox
from plms_pipeline.runs.store.overtaken import overtaken_runs

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
    is_dead: Callable[[str], bool] = lambda _holder: False,
    limit: int = MOST_CARDS,
) -> DispatchResult:
    """Hand over what is due. Call it after every start and completion, and now and then.

    Args:
        holder: names this process in leases.
        data_dir: absolute path under which attempts stage their artifacts.
        stopped: the reason of the kill switch, or None; asked before every call.
        admit: see the module's text.
        is_dead: whether a holder is known to have died; what it had claimed is due at once, not when its lease ends.
        limit: how many cards at most.

    Raises:
        Unavailable: the registry is away. An executor that is away is told in the result, and what is due stays due.
    """
    tick = Tick(registry, clock, pas, holder, data_dir, stopped, admit)
    _free_from_dead(tick, is_dead)
    end_overtaken(tick)
    announce(tick)
    effects(tick)
    hand_over(tick, limit)
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
        if overtaken_runs(session, limit=1):
            return True
        cards = store.waiting(session, now)
        states = store.task_states(session, {card.run_id for card in cards if card.depends_on})
    turn = turn_of(cards, states)
    return bool(turn.ready or turn.hopeless)


def _free_from_dead(tick: Tick, is_dead: Callable[[str], bool]) -> None:
    """Take cards and effects from holders that died with them in their hands: all of them bear being done twice."""
    now = tick.clock.now()
    with tick.registry.reading() as session:
        holders = store.holders(session, now=now) | outbox.holders(session, now=now)
    dead = {holder for holder in holders if is_dead(holder)}
    if dead:
        with tick.registry.writing() as session:
            store.free_from(session, dead)
            outbox.free_from(session, dead)
