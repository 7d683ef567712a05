"""Which mistakes must the simulation find?

Each is a real function of the product replaced at the seam by one that is wrong in a way that people get wrong: a lock
forgotten, a comparison swapped, a release lost. A simulation that does not find them proves nothing by finding nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import and_, true, update

from plms_pipeline.budget import ledger
from plms_pipeline.budget import store as money
from plms_pipeline.estimates.actions import believing
from plms_pipeline.evidence.actions import owing
from plms_pipeline.evidence.store import obligations
from plms_pipeline.letters import rules as letter_rules
from plms_pipeline.letters import store as letters
from plms_pipeline.portfolio import buckets
from plms_pipeline.portfolio.actions import scheduling
from plms_pipeline.portfolio.store import passing, slots, standings
from plms_pipeline.portfolio.store import queue as lane_queue
from plms_pipeline.registry.tables import DeadLetter, JobCard
from plms_pipeline.runs import dispatching, settling
from plms_pipeline.runs.actions import dispatch, dispatch_cards, queueing
from plms_pipeline.runs.store import announcing, outbox
from plms_pipeline.runs.store import dispatch as cards

Patch = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class Mutant:
    """One planted mistake: its name, and what it replaces. `is_quick`: it shows within a few days."""

    name: str
    plant: Callable[[Patch], None]
    is_quick: bool = False


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The product with the mistake in it, until the block ends."""
    before: list[tuple[Any, str, Any]] = []

    def patch(owner: Any, name: str, value: Any) -> None:
        before.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    try:
        mutant.plant(patch)
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def _lost_release(patch: Patch) -> None:
    """Work that ended keeps its slot when its receipt is booked in the same settlement as another's."""
    real, count = slots.release, [0]

    def release(*given: Any, **named: Any) -> bool:
        count[0] += 1
        return False if count[0] % 7 == 0 else real(*given, **named)

    patch(slots, "release", release)


def _check_then_act(patch: Patch) -> None:
    """What a lane holds is looked up before the lane is locked, and believed afterwards."""
    looked: dict[str, Any] = {}
    real_lanes, real_count, real_had = scheduling.lanes_to_look_at, slots.open_count, standings.had_since

    def lanes_to_look_at(registry: Any, **named: Any) -> list[int]:
        found: list[int] = real_lanes(registry, **named)
        with registry.reading() as session:
            for lane in found:
                book, _ = standings.book_of(session, lane)
                had = real_had(session, lane, book.at_ms)
                looked[f"lane:{lane}"] = (had, real_count(session, f"lane:{lane}"))
        # Every dispatcher has what it looked up, and the time to believe it.
        return found

    def hold_round(registry: Any, lane_id: int, **named: Any) -> Any:
        seen = looked.get(f"lane:{lane_id}")
        with registry.reading():
            pass
        if seen is not None:
            believed.append((lane_id, seen[0], [seen[1]]))
        try:
            return real_round(registry, lane_id, **named)
        finally:
            if seen is not None:
                believed.pop()

    def open_count(session: Any, resource: str) -> int:
        if believed and resource == f"lane:{believed[-1][0]}":
            believed[-1][2][0] += 1
            return int(believed[-1][2][0]) - 1
        return real_count(session, resource)

    def had_since(session: Any, lane_id: int, at_ms: Any) -> Any:
        if believed and believed[-1][0] == lane_id:
            return believed[-1][1]
        return real_had(session, lane_id, at_ms)

    believed: list[tuple[int, Any, list[int]]] = []
    real_round = scheduling.hold_round
    patch(dispatch_cards, "lanes_to_look_at", lanes_to_look_at)
    patch(dispatch_cards, "hold_round", hold_round)
    patch(slots, "open_count", open_count)
    patch(standings, "had_since", had_since)


def _double_settle(patch: Patch) -> None:
    """What was spent is charged under a key that differs each time: a repetition counts twice."""
    real = money.settle

    def settle(session: Any, **named: Any) -> Any:
        overrun = real(session, **named)
        again = {**named, "entry_key": f"{named['entry_key']}:again"}
        real(session, **again)
        return overrun

    patch(money, "settle", settle)


def _swapped_comparison(patch: Patch) -> None:
    """An admission is refused where it fits, and admitted where it does not."""

    def admission(balance: ledger.Balance, amount: Any) -> ledger.Refused | None:
        if balance.limit is None or balance.settled + balance.reserved + amount >= balance.limit:
            return None
        return ledger.Refused(balance.account, amount, balance.limit, balance.settled, balance.reserved)

    patch(money, "admission", admission)


def _reserved_not_counted(patch: Patch) -> None:
    """An admission looks at what is settled, and not at what others have reserved."""
    real = ledger.admission

    def admission(balance: ledger.Balance, amount: Any) -> ledger.Refused | None:
        return real(replace(balance, reserved=ledger.ZERO), amount)

    patch(money, "admission", admission)


def _kept_reservation(patch: Patch) -> None:
    """What a card reserved that was called off is never released."""
    patch(money, "release", lambda *_given, **_named: {})


def _deaf_to_the_switch(patch: Patch) -> None:
    """Whoever dispatches does not ask the kill switch."""
    patch(passing, "switched_off", lambda *_given, **_named: None)
    patch(scheduling, "_is_stopped", lambda *_given: False)


def _retried_twice(patch: Patch) -> None:
    """Two retriers have the same letter, and each starts a run under a key of its own."""
    is_claimed = and_(DeadLetter.state == "processing", DeadLetter.error_class == "TRANSIENT")
    patch(letters, "_is_abandoned", lambda _now: is_claimed)
    patch(letters, "_is_ours", lambda claimed: (DeadLetter.letter_id == claimed.letter_id,))
    patch(letter_rules.Letter, "retry_key", property(lambda _self: str(uuid4())))


def _silent_drop(patch: Patch) -> None:
    """A need that finds no room is answered as dropped, and written nowhere."""
    real = obligations

    class Store:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def accept(self, session: Any, rows: Any) -> Any:
            real.accept(session, [row for row in rows if row["state"] != "terminal"])
            return [row["obligation_id"] for row in rows]

        def observe(self, _session: Any, _rows: Any) -> None:
            return None

    patch(owing, "store", Store())


def _terminal_moves(patch: Patch) -> None:
    """An event is applied to work whose run or task has ended."""
    patch(settling.Run, "has_ended", property(lambda _self: False))
    patch(settling.Task, "has_ended", property(lambda _self: False))
    patch(settling, "OPEN_CARDS", frozenset({"WAITING", "SUBMITTED", "ENDED", "CANCELLED"}))


def _priors_twice(patch: Patch) -> None:
    """The newest day counts twice in what is believed."""
    facts_at = believing.facts_at

    def twice(*given: Any, **named: Any) -> Iterator[Any]:
        found = list(facts_at(*given, **named))
        last = max((fact.day for fact in found), default=None)
        return iter(found + [fact for fact in found if fact.day == last])

    patch(believing, "facts_at", twice)


def _refilled_on_each_look(patch: Patch) -> None:
    """The bucket is full whenever somebody looks."""
    patch(buckets, "refilled", lambda _level, rate, now: buckets.full(rate, now))


def _resurrected(patch: Patch) -> None:
    """A dispatcher that was overtaken writes what it knew over what has ended since."""

    def card_submitted(session: Any, card_key: str, *, pas_task_id: str, now: Any) -> bool:
        lane_queue.leave(session, [card_key])
        session.execute(
            update(JobCard)
            .where(JobCard.card_key == card_key)
            .values(
                state="SUBMITTED", pas_task_id=pas_task_id, submitted_at=now, lease_holder=None, lease_expires_at=None
            )
        )
        return True

    patch(cards, "card_submitted", card_submitted)


def _stolen_lease(patch: Patch) -> None:
    """A card is taken from whoever has it, lease or no lease."""
    patch(cards, "_free", lambda _now: (JobCard.state == "WAITING",))
    patch(lane_queue, "_is_due", lambda _now: true())
    real = lane_queue.lanes_with_work
    patch(lane_queue, "lanes_with_work", lambda session, now: real(session, now + timedelta(hours=1)))


def _freed_on_suspicion(patch: Patch) -> None:
    """A slot whose lease has ended is given away, without asking whether the work goes on."""

    def mark_suspect(session: Any, now: Any) -> int:
        late = [slot for slot in slots.open_slots(session) if slot.expires_at <= now]
        for slot in late:
            slots.release(session, slot.resource, slot.subject, now=now, reason="expired")
        return len(late)

    patch(slots, "mark_suspect", mark_suspect)


def _done_before_it_is(patch: Patch) -> None:
    """An effect is done when it is claimed: who dies before telling it has lost it."""
    real = outbox.take

    def take(session: Any, ids: Any, **named: Any) -> Any:
        found = real(session, ids, **named)
        for effect in found:
            outbox.done(session, effect.id, now=named["now"])
        return found

    patch(outbox, "take", take)
    patch(announcing, "take", take)


def _too_early(patch: Patch) -> None:
    """Cards go out before what they depend on has succeeded."""
    real = dispatching.turn_of

    def turn_of(waiting: Any, states: Any) -> Any:
        return real([replace(card, depends_on=()) for card in waiting], states)

    patch(queueing, "turn_of", turn_of)
    patch(dispatch, "turn_of", turn_of)


# Those that take the longest to be found come first, so that no core waits for them in the end.
MUTANTS: tuple[Mutant, ...] = (
    Mutant("a cap checked before the lock", _check_then_act),
    Mutant("a live lease stolen", _stolen_lease),
    Mutant("a stale dispatcher resurrects a card", _resurrected),
    Mutant("a dead letter retried twice", _retried_twice),
    Mutant("a dispatch deaf to the kill switch", _deaf_to_the_switch),
    Mutant("a bucket refilled on each look", _refilled_on_each_look, is_quick=True),
    Mutant("a reservation kept after a cancel", _kept_reservation),
    Mutant("an effect done when it is claimed", _done_before_it_is),
    Mutant("a lost release of a slot", _lost_release),
    Mutant("a double settle", _double_settle, is_quick=True),
    Mutant("a swapped comparison in admission", _swapped_comparison),
    Mutant("reservations of others not counted", _reserved_not_counted),
    Mutant("an obligation dropped silently", _silent_drop, is_quick=True),
    Mutant("an event applied to a terminal run", _terminal_moves),
    Mutant("priors moved twice", _priors_twice),
    Mutant("a suspect slot given away", _freed_on_suspicion),
    Mutant("a card before its dependency", _too_early, is_quick=True),
)
