"""Which cards go out next, so that no cap is passed, no budget overdrawn, and every project gets its share?

One round concerns one lane and is one transaction: the lane is locked, time since the last round is booked to the projects, the
race says whose turn it is, and each card that goes takes its slot, its tick of the rate and its reservation together, or
nothing. Any number of dispatchers may hold rounds at once, on both databases; they wait for each other lane by lane.

Locks are taken in one order everywhere: kill switch, lane, projects, rate, accounts, cards.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar

from sqlalchemy.orm import Session

from plms_pipeline.budget import store as ledger
from plms_pipeline.budget.ledger import Purse, project_account
from plms_pipeline.clock import Clock
from plms_pipeline.portfolio.buckets import Rate
from plms_pipeline.portfolio.fairness import TYPICAL_MS, Contender, LaneBook, Race, Standing, Turn, advance, learnt
from plms_pipeline.portfolio.guarding import Place, Wish
from plms_pipeline.portfolio.policies import PAS_BUCKET, pas_rate, portfolio_purse
from plms_pipeline.portfolio.preemption import victim
from plms_pipeline.portfolio.store import preemptions, queue, slots, standings, switches
from plms_pipeline.portfolio.store.passing import give_back, pass_guards
from plms_pipeline.portfolio.store.queue import NextCard, Waiting
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.portfolio.store.standings import Had, ProjectFacts, millis
from plms_pipeline.portfolio.switch import OnSwitch, reason_in
from plms_pipeline.portfolio.urgency import AGES_IN, deadline_urgency, runway_risk, score
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

C = TypeVar("C")
# How long a card may be out without a word before its slot is suspect. A heartbeat or a look at the executor renews it.
SLOT_LEASE: Final = timedelta(minutes=15)
# How often a full lane is looked at for somebody who has waited too long.
LOOK_AGAIN_MS: Final = 5_000.0
# A slot that will be free in seconds is waited for: telling the executor to pause a task takes as long.
LEAST_OWED_MS: Final = 30_000.0


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """What bounds approved projects beside their lanes and their own budgets: cards per second, runs, the portfolio's day.

    `may_preempt`: a running task may be put aside for a project that has waited too long; the executor can pause one.
    """

    rate: Rate | None = None
    portfolio_purse: Callable[[datetime], Purse | None] = lambda _now: None
    slot_lease: timedelta = SLOT_LEASE
    max_runs: int | None = None
    may_preempt: bool = False


OPEN_POLICY: Final = DispatchPolicy()


def dispatch_policy(settings: Settings, *, can_pause: bool = False) -> DispatchPolicy:
    """The policy as it is configured, for an executor that can pause single tasks or cannot."""
    return DispatchPolicy(
        pas_rate(settings), lambda now: portfolio_purse(settings, now), max_runs=settings.pas_max_runs,
        may_preempt=can_pause and settings.lane_preemption == "on",
    )  # fmt: skip


@dataclass(slots=True)
class LaneRound(Generic[C]):
    """What one round did: the cards that go, why projects were refused, and whether another round may find more.

    `paused`: the card that is to be put aside.
    """

    cards: list[C] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    wait_s: float = 0.0
    is_worth_repeating: bool = False
    paused: str | None = None


@dataclass(frozen=True, slots=True)
class _World:
    """What the steps of a round share. `on`: the switches that are on while it is held; `purses`: of the projects."""

    lane_id: int
    now: datetime
    ids: Callable[[], str]
    holder: str
    policy: DispatchPolicy
    flag: str | None
    claim: Callable[[Session, str], Any]
    on_pause: Callable[[Session, str], None]
    on: Sequence[OnSwitch]
    purses: dict[int, Purse] = field(default_factory=dict)


def lanes_to_look_at(registry: Registry, *, now: datetime, may_preempt: bool = False) -> list[int]:
    """The lanes in which a round has something to do: a card to resume, a free slot and somebody who wants it, or somebody
    who waits and was not reckoned with yet; and now and then a full one, where somebody may have waited too long."""
    with registry.reading() as session:
        work = queue.lanes_with_work(session, now)
        if not work:
            return []
        held, caps = slots.open_counts(session), queue.caps(session)
        found = []
        for lane_id, resumes in work.items():
            is_free = caps.get(lane_id, 0) > held.get(lane_resource(lane_id), 0)
            if resumes or is_free or _has_newcomer(session, lane_id, now, may_preempt=may_preempt):
                found.append(lane_id)
    return found


def _has_newcomer(session: Session, lane_id: int, now: datetime, *, may_preempt: bool) -> bool:
    book, _ = standings.book_of(session, lane_id)
    if may_preempt and book.at_ms is not None and millis(now) - book.at_ms >= LOOK_AGAIN_MS:
        return True
    waiting = queue.who_waits(session, lane_id, now)
    return any(one.project_id not in book.standings or book.standings[one.project_id].rate == 0 for one in waiting)


def hold_round(
    registry: Registry,
    lane_id: int,
    *,
    clock: Clock,
    ids: Callable[[], str],
    holder: str,
    claim: Callable[[Session, str], C | None],
    policy: DispatchPolicy = OPEN_POLICY,
    flag: str | None = None,
    without: Collection[int] = (),
    limit: int = 32,
    on_pause: Callable[[Session, str], None] = lambda _session, _card_key: None,
) -> LaneRound[C]:
    """One round in one lane.

    Args:
        clock: asked once the lane is locked: whoever waited for it must not write down that a slot was taken before another
            gave it back.
        ids: makes the names of slots.
        claim: takes a card for this dispatcher in the same transaction; None when it is not to be had any more.
        flag: the reason of the flag file, or None.
        without: projects that were refused a moment ago.
        limit: how many cards at most.
        on_pause: told, in the same transaction, of the card that is to be put aside.
    """
    done: LaneRound[C] = LaneRound()
    with registry.writing() as session:
        on = switches.checked(session)
        cap = slots.lock(session, lane_resource(lane_id)) or 0
        now = clock.now()
        world = _World(lane_id, now, ids, holder, policy, flag, claim, on_pause, on)
        book, _ = standings.book_of(session, lane_id)
        had = standings.had_since(session, lane_id, book.at_ms)
        book = _up_to_now(book, had, now)
        resumed = queue.to_resume(session, lane_id, now=now, limit=limit)
        waiting = [
            one
            for one in queue.who_waits(session, lane_id, now)
            if one.project_id not in without and not _is_stopped(on, flag, one, done)
        ]
        facts = standings.project_facts(session, lane_id)
        contenders = contenders_of(book, waiting, had, facts, now=now)
        turns = _turns(Race(book, contenders, cap=cap), limit)
        _prelock(session, world, {turn.project_id for turn in turns} | {card.project_id for card in resumed})
        for card in resumed:
            _go(session, world, card, cap, done)
        race = Race(book, contenders, cap=cap)
        _run(session, world, race, turns, cap, done)
        after = race.book()
        standings.keep_book(session, lane_id, after, done.refused, now=now)
        if policy.may_preempt and not done.cards and not done.wait_s:
            done.paused = _put_aside(
                session, world, after, [one for one in waiting if one.project_id not in done.refused], facts, cap
            )
        done.is_worth_repeating = bool(done.cards or done.refused) and not done.wait_s and race.next() is not None
    return done


def _put_aside(
    session: Session,
    world: _World,
    book: LaneBook,
    waiting: Sequence[Waiting],
    facts: Mapping[int, ProjectFacts],
    cap: int,
) -> str | None:
    """Ask that a running task be paused for a project that has waited too long, if there is reason to; its card."""
    if cap <= 0 or not preemptions.may_another(session, world.lane_id, cap=cap):
        return None
    running = preemptions.running_in(session, world.lane_id, now=world.now)
    wanting = {one.project_id: one.tasks for one in waiting}
    while (choice := victim(book, running, wanting, cap=cap, least_owed_ms=LEAST_OWED_MS)) is not None:
        first = queue.next_cards(
            session, world.lane_id, choice.for_project_id, now=world.now, only_rehearsals=False, limit=1
        )
        left = facts.get(choice.for_project_id, ProjectFacts()).left_usd
        if first and (first[0].is_paused or left is None or (first[0].reserve_usd or Decimal(0)) <= left):
            preemptions.ask(session, choice, world.lane_id, now=world.now)
            world.on_pause(session, choice.card_key)
            return choice.card_key
        # Nobody's work is interrupted for somebody who could not pay.
        wanting.pop(choice.for_project_id)
    return None


def preview(registry: Registry, lane_id: int, *, now: datetime, limit: int = 32) -> list[Turn]:
    """Whose turns a round would say are next, if it were held now. Reads only."""
    with registry.reading() as session:
        book, _ = standings.book_of(session, lane_id)
        had = standings.had_since(session, lane_id, book.at_ms)
        book = _up_to_now(book, had, now)
        waiting = queue.who_waits(session, lane_id, now)
        facts = standings.project_facts(session, lane_id)
        cap = queue.caps(session).get(lane_id, 0)
    return _turns(Race(book, contenders_of(book, waiting, had, facts, now=now), cap=cap), limit)


def contenders_of(
    book: LaneBook, waiting: Sequence[Waiting], had: Sequence[Had], facts: Mapping[int, ProjectFacts], *, now: datetime
) -> list[Contender]:
    """Everybody who waits in a lane or holds a slot of it, with scores."""
    now_ms = millis(now)
    held: dict[int, list[float]] = {}
    for slot in had:
        if slot.released_ms is None:
            held.setdefault(slot.project_id, []).append(max(0.0, now_ms - slot.taken_ms))
    found = []
    for one in waiting:
        about = facts.get(one.project_id, ProjectFacts())
        found.append(
            Contender(
                one.project_id, one.tasks, tuple(held.pop(one.project_id, ())), about.weight,
                _score(book, one, about, now), one.rehearsing,
            )
        )  # fmt: skip
    found += [
        Contender(project, 0, tuple(ages), facts.get(project, ProjectFacts()).weight) for project, ages in held.items()
    ]
    return found


def _score(book: LaneBook, one: Waiting, about: ProjectFacts, now: datetime) -> float:
    standing = book.standings.get(one.project_id, Standing())
    task_ms = standing.typical_ms or book.typical_ms or TYPICAL_MS
    left = timedelta(milliseconds=one.tasks * task_ms / max(1.0, standing.rate))
    of_project = score(
        urgency=deadline_urgency(now=now, deadline=about.deadline_at, left=left), ci_width=0.0,
        runway_risk=runway_risk(left=about.left_usd, needed=about.needed_usd),
        fairshare=1.0 - max(0.0, standing.owed_ms) / (2.0 * task_ms),
    )  # fmt: skip
    # The rank of its first card is that card's part of the score, less the moment at which it became ready.
    return of_project + one.rank + now.timestamp() / AGES_IN.total_seconds()


def _up_to_now(book: LaneBook, had: Sequence[Had], now: datetime) -> LaneBook:
    now_ms = millis(now)
    since = now_ms if book.at_ms is None else book.at_ms
    received: dict[int, float] = defaultdict(float)
    ended: list[tuple[int, float]] = []
    for slot in had:
        until = now_ms if slot.released_ms is None else min(now_ms, slot.released_ms)
        received[slot.project_id] += max(0.0, until - max(since, slot.taken_ms))
        if slot.released_ms is not None and slot.is_whole:
            ended.append((slot.project_id, max(0.0, slot.released_ms - slot.taken_ms)))
    return learnt(advance(book, now_ms=now_ms, received_ms=received), ended)


def _turns(race: Race, limit: int) -> list[Turn]:
    turns: list[Turn] = []
    while len(turns) < limit and (turn := race.next()) is not None:
        race.took(turn)
        turns.append(turn)
    return turns


def _run(session: Session, world: _World, race: Race, turns: Sequence[Turn], cap: int, done: LaneRound[Any]) -> None:
    """Let those go whose turn it is; who was not reckoned with waits for the next round, because its account is not locked."""
    wanted = Counter(turns)
    cards = {
        turn: queue.next_cards(
            session, world.lane_id, turn.project_id, now=world.now, only_rehearsals=turn.is_rehearsal, limit=2 * most
        )
        for turn, most in wanted.items()
    }  # fmt: skip
    gone: set[str] = set()
    for _ in turns:
        turn = race.next()
        if turn is None or turn not in cards:
            return
        card = next((card for card in cards[turn] if card.card_key not in gone), None)
        if card is None:
            race.refuse(turn.project_id)
            continue
        gone.add(card.card_key)
        if _go(session, world, card, cap, done):
            race.took(turn)
        elif turn.project_id in done.refused:
            race.refuse(turn.project_id)
        if done.wait_s:
            return


def _go(session: Session, world: _World, card: NextCard, cap: int, done: LaneRound[Any]) -> bool:
    """One card takes what it needs and is claimed; False when it does not go, and then it holds nothing new."""
    wish = wish_of(session, world, card, cap)
    refusal = pass_guards(session, wish, flag=world.flag, now=world.now, ids=world.ids, on=world.on)
    if refusal is not None:
        if refusal.guard == "rate_limited":
            done.wait_s = refusal.retry_after_s or 0.1
        else:
            done.refused[card.project_id] = refusal.reason
        return False
    claimed = world.claim(session, card.card_key)
    if claimed is None:
        # It ended or was called off meanwhile; if not, the next sweep queues it again.
        if card.is_paused:
            # What it has reserved stays reserved: it was begun.
            slots.release(
                session, lane_resource(world.lane_id), card.card_key, now=world.now, reason="the card was gone"
            )
        else:
            give_back(session, wish, now=world.now, reason="the card was gone")
        queue.leave(session, [card.card_key])
        return False
    done.cards.append(claimed)
    return True


def wish_of(session: Session, world: _World, card: NextCard, cap: int) -> Wish:
    """What a card needs to go out."""
    purses: list[Purse] = []
    # A task that goes on has its reservation, of the day on which it began.
    if not card.is_paused:
        purse = world.purses.get(card.project_id)
        if purse is None:
            purse = world.purses[card.project_id] = ledger.project_purse(session, card.project_id, now=world.now)
        daily = world.policy.portfolio_purse(world.now)
        purses = [purse] if daily is None else [purse, daily]
    rate = world.policy.rate
    return Wish(
        subject=card.card_key, holder=world.holder, expires_at=world.now + world.policy.slot_lease,
        places=(Place(lane_resource(world.lane_id), cap),), rates=() if rate is None else ((PAS_BUCKET, rate),),
        purses=purses, amount_usd=card.reserve_usd or Decimal(0), project_id=card.project_id, lane_id=world.lane_id,
        run_id=card.run_id,
    )  # fmt: skip


def _prelock(session: Session, world: _World, projects: set[int]) -> None:
    if not projects:
        return
    standings.lock_projects(session, projects)
    daily = world.policy.portfolio_purse(world.now)
    accounts = [project_account(project) for project in projects] + ([] if daily is None else [daily.account])
    ledger.lock(session, accounts, now=world.now)


def _is_stopped(on: Sequence[OnSwitch], flag: str | None, one: Waiting, done: LaneRound[Any]) -> bool:
    reason = flag or reason_in(on, project_id=one.project_id, lane_id=one.lane_id)
    if reason is not None:
        done.refused[one.project_id] = f"killswitch_on: {reason}"
    return reason is not None
