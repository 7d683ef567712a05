"""How do cards whose turn has come reach the executor, many at a time?

A round of their lane claims a part of them in one transaction, together with their slots and their money; they are told to the
executor with no transaction open, and what it said is written in another, with what it means for slots and queue. One
transaction per card and step made whoever dispatches hold the books half of the time, and every event that came in meanwhile
waited for its turn: the executor tells its events one after the other, so the whole pipeline went at that pace.

A process that dies between the two leaves cards claimed. They are told again by whoever comes next, which the executor
answers as a duplicate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zlib import crc32

from sqlalchemy.orm import Session

from plms_pipeline.errors import Unavailable
from plms_pipeline.pas.client import UNKNOWN_RUN, PasRefused
from plms_pipeline.portfolio.actions.scheduling import DispatchPolicy, hold_round, lanes_to_look_at
from plms_pipeline.portfolio.store import queue, standings
from plms_pipeline.runs.actions.dispatch_effects import effects
from plms_pipeline.runs.actions.dispatch_tick import DISPATCHER, LEASE, Tick, Unsendable, message
from plms_pipeline.runs.actions.preempting import ask_pause, claim_paused, go_on
from plms_pipeline.runs.actions.queueing import let_go, lock_money
from plms_pipeline.runs.dispatching import wait_s
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store.dispatch import Card, RunFacts
from plms_pipeline.runs.store.transitions import move_task

# As many as are told in well under their lease, and are written before anybody notices that the books were held.
TOGETHER = 25
UNTOLD = "its dispatcher had to stop before it was handed over"


@dataclass(frozen=True, slots=True)
class _Later:
    """A card that goes again after `wait` seconds; `may_be_there`: it may have arrived all the same."""

    card: Card
    wait: float
    error: str
    may_be_there: bool


@dataclass(slots=True)
class _Told:
    """What the executor said to a part of the cards; `untold` were claimed and not told."""

    accepted: list[tuple[Card, str]] = field(default_factory=list)
    refused: list[tuple[Card, str]] = field(default_factory=list)
    later: list[_Later] = field(default_factory=list)
    untold: list[Card] = field(default_factory=list)

    @property
    def cards(self) -> list[Card]:
        told = [pair[0] for pair in (*self.accepted, *self.refused)]
        return told + [each.card for each in self.later] + self.untold

    @property
    def leaving(self) -> list[tuple[Card, str]]:
        """Cards that are not at the executor for certain, and why: what they hold is free.

        One that was claimed before may be there since then: it keeps its slot, and goes again in it.
        """
        later = [(each.card, each.error) for each in self.later if not each.may_be_there]
        return self.refused + later + [(card, UNTOLD) for card in self.untold if not _was_claimed_before(card)]

    def of(self, ours: Collection[str]) -> _Told:
        """Without what may not be written any more, because another dispatcher has the card by now."""
        return _Told(
            self.accepted, [pair for pair in self.refused if pair[0].card_key in ours],
            [each for each in self.later if each.card.card_key in ours],
            [card for card in self.untold if card.card_key in ours],
        )  # fmt: skip


def hand_over(tick: Tick, policy: DispatchPolicy, ids: Callable[[], str], limit: int) -> None:
    """Hold rounds, lane by lane, until no slot is free, nobody wants one, or `limit` cards had their turn."""
    runs: dict[str, RunFacts | None] = {}
    lanes: list[int] = []
    if limit > 0 and tick.may_go_on():
        lanes = _from_another(tick.holder, _lanes_now(tick, policy))
    refused: dict[int, set[int]] = {lane_id: set() for lane_id in lanes}
    left = limit
    # What is known of the first is fresh, and who holds another round in a lane has a reason.
    fresh = set(lanes[:1])
    while lanes and left > 0:
        lane_id = lanes.pop(0)
        if lane_id not in fresh and lane_id not in _lanes_now(tick, policy):
            continue
        fresh.add(lane_id)
        # Counted from before the claim: who stood still since then must not tell what is another's by now, or was called off.
        until = tick.clock.now() + LEASE / 2
        done = hold_round(
            tick.registry, lane_id, clock=tick.clock, ids=ids, holder=tick.holder, policy=policy,
            claim=lambda session, key: _claim(tick, session, key), without=refused[lane_id], limit=min(left, TOGETHER),
            on_pause=lambda session, key: ask_pause(session, key, now=tick.clock.now()),
        )  # fmt: skip
        refused[lane_id] |= done.refused.keys()
        left -= len(done.cards)
        _know(tick, runs, done.cards)
        _write(tick, _tell(tick, [card for card in done.cards if not card.is_paused], runs, until))
        go_on(tick, [card for card in done.cards if card.is_paused], runs)
        if done.paused is not None:
            effects(tick)
        if done.wait_s or not tick.may_go_on():
            break
        if done.is_worth_repeating or done.paused is not None:
            lanes.append(lane_id)
    with tick.registry.asking() as ask:
        tick.count(waiting=queue.length_in(ask))


def _lanes_now(tick: Tick, policy: DispatchPolicy) -> list[int]:
    """Where a round has something to do. Somebody else may have held it since: a look costs a tenth of a round for nothing."""
    return lanes_to_look_at(tick.registry, now=tick.clock.now(), may_preempt=policy.may_preempt)


def _from_another(holder: str, lanes: list[int]) -> list[int]:
    """The lanes, each dispatcher beginning with another one: who begin with the same wait for each other in every lane."""
    first = crc32(holder.encode()) % len(lanes) if lanes else 0
    return lanes[first:] + lanes[:first]


def _claim(tick: Tick, session: Session, key: str) -> Card | None:
    """The card, ours for the time of the lease; None when somebody else has it or it has ended."""
    now = tick.clock.now()
    found = store.claim_cards(session, [key], holder=tick.holder, now=now, lease_until=now + LEASE)
    if not found:
        return claim_paused(tick, session, key)
    queue.again(session, key, not_before=now + LEASE, holds_slot=True)
    return found[0]


def _was_claimed_before(card: Card) -> bool:
    return card.submissions > 1


def _know(tick: Tick, runs: dict[str, RunFacts | None], cards: Sequence[Card]) -> None:
    unknown = sorted({card.run_id for card in cards} - runs.keys())
    if unknown:
        with tick.registry.reading() as session:
            runs.update({run_id: store.run_facts(session, run_id) for run_id in unknown})


def _tell(tick: Tick, cards: Sequence[Card], runs: dict[str, RunFacts | None], until: datetime) -> _Told:
    """Hand over the cards, in order, until the executor is away, the kill switch is on, or half of the lease is over."""
    told = _Told()
    for place, card in enumerate(cards):
        if not tick.may_go_on() or tick.clock.now() > until:
            told.untold = list(cards[place:])
            break
        _tell_one(tick, told, card, runs[card.run_id])
    return told


def _tell_one(tick: Tick, told: _Told, card: Card, run: RunFacts | None) -> None:
    if run is None:
        told.refused.append((card, "there is no such run"))
        return
    try:
        accepted = tick.pas.submit_card(message(tick, card, run))
    except Unavailable as error:
        # It may have arrived all the same, now or when it was told before: until that is known it keeps its slot, and goes
        # again in it.
        may_be_there = getattr(error, "is_ambiguous", True) or _was_claimed_before(card)
        wait = wait_s(card.submissions, error.retry_after_s, holds_slot=may_be_there)
        told.later.append(_Later(card, wait, error.message, may_be_there))
        tick.result = replace(tick.result, away=error.message)
    except Unsendable as error:
        told.refused.append((card, error.message))
    except PasRefused as error:
        if error.pas_code == UNKNOWN_RUN:
            # Whether the executor lost the run is for the reconciliation to say; until then the card waits.
            told.later.append(_Later(card, wait_s(card.submissions), error.message, may_be_there=False))
        else:
            # It will never take this card: its task ends with its reason, and what depends on it is skipped.
            told.refused.append((card, error.message))
    else:
        told.accepted.append((card, accepted.pas_task_id))


def _write(tick: Tick, told: _Told) -> None:
    """Write what the executor said, and give back what cards hold that are not there.

    That a card is there is true whoever has it by now. All else is written only by the last that claimed it: whoever was
    slower than its lease would take the slot from under a card that another has handed over since.
    """
    if not told.cards:
        return
    now = tick.clock.now()
    with tick.registry.writing() as session:
        leaving = told.leaving
        # In the order of everybody: projects, runs, accounts, cards.
        if leaving:
            standings.lock_projects(session, {card.project_id for card, _ in leaving})
        store.lock_runs(session, {card.run_id for card in told.cards})
        if leaving:
            lock_money(session, (), [card.card_key for card, _ in leaving], now=now)
        told = told.of(store.still_ours(session, told.cards, holder=tick.holder))
        for card, pas_task_id in told.accepted:
            if store.card_submitted(session, card.card_key, pas_task_id=pas_task_id, now=now):
                move_task(
                    session, card.run_id, card.task_id, expected="QUEUED", new="RUNNING", at=now, actor=DISPATCHER
                )
        for card, reason in told.leaving:
            let_go(session, card.card_key, card.lane_id, now=now, reason=reason)
        _write_the_others(session, told, holder=tick.holder, now=now)
    for card, _ in told.accepted:
        tick.count(submitted=1, run_id=card.run_id)
    for card, _ in told.refused:
        tick.count(refused=1, run_id=card.run_id)


def _write_the_others(session: Session, told: _Told, *, holder: str, now: datetime) -> None:
    """Cards that were not accepted: those that never will be end here, the others are queued again."""
    for card, reason in told.refused:
        store.card_cancelled(session, card.card_key, now=now, error=reason)
        # Another attempt, or one that the executor lost, is RUNNING still.
        for present in ("QUEUED", "RUNNING"):
            move_task(
                session,
                card.run_id,
                card.task_id,
                expected=present,
                new="FAIL",
                at=now,
                actor=DISPATCHER,
                reason=reason,
            )
    for each in told.later:
        not_before = now + timedelta(seconds=each.wait)
        store.card_released(session, each.card.card_key, not_before=not_before, error=each.error)
        queue.again(session, each.card.card_key, not_before=not_before, holds_slot=each.may_be_there)
    store.cards_untold(session, [card.card_key for card in told.untold], holder=holder)
    for card in told.untold:
        queue.again(session, card.card_key, not_before=now, holds_slot=_was_claimed_before(card))
