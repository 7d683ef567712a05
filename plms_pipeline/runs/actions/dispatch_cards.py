"""How do cards whose turn has come reach the executor, many at a time?

A part of them is claimed in one transaction, told to the executor with no transaction open, and what it said is written in
another. One transaction per card and step made whoever dispatches hold the books half of the time, and every event that came
in meanwhile waited for its turn: the executor tells its events one after the other, so the whole pipeline went at that pace.

A process that dies between the two leaves cards claimed. They are told again by whoever comes next, which the executor
answers as a duplicate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from plms_pipeline.errors import Unavailable
from plms_pipeline.pas.client import UNKNOWN_RUN, PasRefused
from plms_pipeline.runs.actions.dispatch_tick import DISPATCHER, LEASE, Tick, Unsendable, message, skip
from plms_pipeline.runs.dispatching import WaitingCard, turn_of, wait_s
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store.dispatch import Card, RunFacts
from plms_pipeline.runs.store.transitions import move_task

# As many as are told in well under their lease, and are written before anybody notices that the books were held.
TOGETHER = 25


@dataclass(slots=True)
class _Told:
    """What the executor said to a part of the cards; `untold` were claimed and not told."""

    accepted: list[tuple[Card, str]] = field(default_factory=list)
    refused: list[tuple[Card, str]] = field(default_factory=list)
    later: list[tuple[Card, float, str]] = field(default_factory=list)
    untold: list[Card] = field(default_factory=list)

    @property
    def run_ids(self) -> set[str]:
        cards = [pair[0] for pair in (*self.accepted, *self.refused)] + [each[0] for each in self.later]
        return {card.run_id for card in cards}


def hand_over(tick: Tick, limit: int) -> None:
    """Skip cards that never have their turn, and hand over up to `limit` of those that have."""
    with tick.registry.reading() as session:
        cards = store.waiting(session, tick.clock.now())
        states = store.task_states(session, {card.run_id for card in cards if card.depends_on})
    turn = turn_of(cards, states)
    if turn.hopeless:
        _skip(tick, {card.card_key: card for card in cards}, turn.hopeless)
    ready, left = turn.ready[:limit], max(0, len(turn.ready) - limit)
    runs: dict[str, RunFacts | None] = {}
    for start in range(0, len(ready), TOGETHER):
        if not tick.may_go_on():
            left += len(ready) - start
            break
        claimed = _claim(tick, ready[start : start + TOGETHER])
        _know(tick, runs, claimed)
        _write(tick, _tell(tick, claimed, runs))
    tick.count(waiting=left)


def _skip(tick: Tick, cards: dict[str, WaitingCard], hopeless: dict[str, str]) -> None:
    now = tick.clock.now()
    skipped: list[str] = []
    with tick.registry.writing() as session:
        store.lock_runs(session, {cards[key].run_id for key in hopeless})
        for key, reason in hopeless.items():
            card = cards[key]
            if skip(session, key, card.run_id, card.task_id, reason, now):
                skipped.append(card.run_id)
    for run_id in skipped:
        tick.count(skipped=1, run_id=run_id)


def _claim(tick: Tick, keys: Sequence[str]) -> list[Card]:
    """Those of the cards that are ours now for the time of the lease: nobody else has them, and they are admitted."""
    now = tick.clock.now()
    admitted: list[Card] = []
    held_back = 0
    with tick.registry.writing() as session:
        for card in store.claim_cards(session, keys, holder=tick.holder, now=now, lease_until=now + LEASE):
            admission = tick.admit(session, card)
            if admission.admitted:
                admitted.append(card)
            else:
                store.card_released(session, card.card_key, not_before=None, error=admission.reason)
                held_back += 1
    tick.count(waiting=held_back)
    return admitted


def _know(tick: Tick, runs: dict[str, RunFacts | None], cards: Sequence[Card]) -> None:
    unknown = sorted({card.run_id for card in cards} - runs.keys())
    if unknown:
        with tick.registry.reading() as session:
            runs.update({run_id: store.run_facts(session, run_id) for run_id in unknown})


def _tell(tick: Tick, cards: Sequence[Card], runs: dict[str, RunFacts | None]) -> _Told:
    """Hand over the cards, in order, until the executor is away, the kill switch is on, or half of the lease is over."""
    told = _Told()
    until = tick.clock.now() + LEASE / 2
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
        told.later.append((card, wait_s(card.submissions, error.retry_after_s), error.message))
        tick.result = replace(tick.result, away=error.message)
    except Unsendable as error:
        told.refused.append((card, error.message))
    except PasRefused as error:
        if error.pas_code == UNKNOWN_RUN:
            # Whether the executor lost the run is for the reconciliation to say; until then the card waits.
            told.later.append((card, wait_s(card.submissions), error.message))
        else:
            # It will never take this card: its task ends with its reason, and what depends on it is skipped.
            told.refused.append((card, error.message))
    else:
        told.accepted.append((card, accepted.pas_task_id))


def _write(tick: Tick, told: _Told) -> None:
    if not (told.run_ids or told.untold):
        return
    now = tick.clock.now()
    with tick.registry.writing() as session:
        store.lock_runs(session, told.run_ids)
        for card, pas_task_id in told.accepted:
            if store.card_submitted(session, card.card_key, pas_task_id=pas_task_id, now=now):
                move_task(
                    session, card.run_id, card.task_id, expected="QUEUED", new="RUNNING", at=now, actor=DISPATCHER
                )
        for card, reason in told.refused:
            store.card_cancelled(session, card.card_key, now=now, error=reason)
            move_task(
                session, card.run_id, card.task_id, expected="QUEUED", new="FAIL", at=now, actor=DISPATCHER,
                reason=reason,
            )  # fmt: skip
        for card, wait, error in told.later:
            not_before = now + timedelta(seconds=wait)
            store.card_released(session, card.card_key, not_before=not_before, error=error)
        store.cards_untold(session, [card.card_key for card in told.untold], holder=tick.holder)
    for card, _ in told.accepted:
        tick.count(submitted=1, run_id=card.run_id)
    for card, _ in told.refused:
        tick.count(refused=1, run_id=card.run_id)
    tick.count(waiting=len(told.untold))
