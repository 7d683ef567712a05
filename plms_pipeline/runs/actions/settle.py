"""How do events become receipts, verdicts, ended runs and moved priors, each once?

Events are claimed with a lease; the work that they speak of is judged with no transaction open; then everything that follows
is written in one transaction that also says what became of the events. A process that dies before leaves nothing, and the
events are due again when its lease ends; one that dies after has done it all.

`run_completed` and the guide's bare event are hints: they change nothing here, and whoever called is told which runs to
compare with the executor's status (`reconcile`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from plms_pipeline.errors import Unavailable
from plms_pipeline.estimates.actions.refreshing import hold_books, refresh_priors
from plms_pipeline.intake.store import inbox
from plms_pipeline.intake.store.inbox import Event
from plms_pipeline.kpis.actions.judging import Judge, Judgement, Work
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.runs.actions.evidence import owe_heat, owe_kpi_receipts, owed_by
from plms_pipeline.runs.actions.leaving import give_back, leaving_of
from plms_pipeline.runs.actions.queueing import lock_money, queue_ready
from plms_pipeline.runs.actions.settle_rows import kpi_rows, receipt_rows
from plms_pipeline.runs.actions.understanding import Read, understood
from plms_pipeline.runs.dispatching import staging_path
from plms_pipeline.runs.files.artifacts import has_staged
from plms_pipeline.runs.settling import Books, Completion, Outcome
from plms_pipeline.runs.store import completions as store
from plms_pipeline.runs.store import outbox

log = logging.getLogger(__name__)
SETTLER: Final = "settlement"
LEASE: Final = timedelta(minutes=1)
MOST_EVENTS: Final = 200
# An event whose settlement fails so often is a fact that a person must look at.
MOST_ATTEMPTS: Final = 5
AWAY_PAUSE: Final = timedelta(seconds=30)
EARLY_PAUSE: Final = timedelta(seconds=5)
# Clocks of two machines differ by less; a claim that ends later than ever possible was made before ours was set back.
SKEW: Final = timedelta(minutes=5)
_NEVER_COMES: Final = "PLMS ended the run: some of its tasks will never be handed over"
_FIELDS: Final = ("settled", "ignored", "refused", "deferred", "receipts", "priors")


@dataclass(frozen=True, slots=True)
class SettleResult:
    """What one settlement did. `deferred` events wait for a measurement; `hinted` runs are to be compared with the executor;
    `priors` counts new versions."""

    claimed: int = 0
    settled: int = 0
    ignored: int = 0
    refused: int = 0
    deferred: int = 0
    receipts: int = 0
    priors: int = 0
    ended_runs: tuple[str, ...] = ()
    hinted: tuple[str, ...] = ()
    touched_runs: frozenset[str] = frozenset()

    @property
    def did_something(self) -> bool:
        """Whether anything was taken up or ended, so that another call may find more."""
        return bool(self.claimed - self.deferred or self.ended_runs)

    def plus(self, other: SettleResult) -> SettleResult:
        """Both together."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in ("claimed", *_FIELDS)}
        hinted = tuple(dict.fromkeys((*self.hinted, *other.hinted)))
        return SettleResult(
            **counts, ended_runs=(*self.ended_runs, *other.ended_runs), hinted=hinted,
            touched_runs=self.touched_runs | other.touched_runs,
        )  # fmt: skip


@dataclass(slots=True)
class _Batch:
    """What is settled in one transaction."""

    reads: list[Read] = field(default_factory=list)
    judgements: dict[int, Judgement] = field(default_factory=dict)

    @property
    def run_ids(self) -> set[str]:
        return {read.run_id for read in self.reads if read.run_id is not None}


class _Overtaken(Exception):
    """The books changed between locking and writing: a bug elsewhere, or a person with SQL."""


def settle_due(
    world: World,
    *,
    holder: str,
    limit: int = MOST_EVENTS,
    may_measure: bool = True,
    is_dead: Callable[[str], bool] = lambda _holder: False,
) -> SettleResult:
    """Settle what is due, oldest first; call it again while `did_something`.

    Args:
        world: registry, settings, clock, ids, and what measuring may reach.
        holder: names this process in leases.
        limit: how many events at most.
        is_dead: whether a holder is known to have died; what it held is due at once.
        may_measure: False settles only what needs no child process, for callers whose time is short; the rest stays due.

    Raises:
        Unavailable: the registry is away; nothing was half-written.
    """
    now = world.clock.now()
    with world.registry.reading() as session:
        has_due = inbox.count_due(session, now=now, longest=_longest(world) + SKEW) > 0
        dead = {other for other in inbox.holders(session, now=now) if is_dead(other)}
    events: list[Event] = []
    if has_due or dead:
        with world.registry.writing() as session:
            if dead:
                inbox.free_from(session, dead)
            # The time of the claim, not of the look: who stood still between the two would take a lease that was given
            # meanwhile for one from before a clock went back.
            now = world.clock.now()
            events = inbox.claim(
                session, holder=holder, now=now, lease_until=now + LEASE, limit=limit, longest=_longest(world) + SKEW
            )
    result = _closed(world)
    if not events:
        return result
    result = replace(result, claimed=len(events))
    reads = understood(world, events)
    early = [read.event.id for read in reads if read.is_early]
    if early:
        with world.registry.writing() as session:
            said = "its run is not known here yet"
            inbox.put_back(session, early, holder=holder, due_at=now + EARLY_PAUSE, said=said, was_tried=False)
        result = replace(result, deferred=len(early))
        reads = [read for read in reads if not read.is_early]
    judge = Judge(world)
    ready, waiting, told = _sorted(world, holder, judge, reads)
    result = result.plus(told).plus(_settled(world, holder, ready))
    if waiting:
        result = result.plus(_told_by_measuring(world, holder, judge, waiting, may_measure=may_measure))
    log.info(
        "settled claimed=%d %s ended_runs=%d", result.claimed,
        " ".join(f"{name}={getattr(result, name)}" for name in _FIELDS), len(result.ended_runs),
    )  # fmt: skip
    return result


def _told_by_measuring(
    world: World, holder: str, judge: Judge, waiting: Sequence[tuple[Read, Work]], *, may_measure: bool
) -> SettleResult:
    """Measure what must be measured, unless that is for others; what is measured is owed from now on, for all of it."""
    with world.registry.writing() as session:
        tasks = [(work.run_id, work.task_id) for _, work in waiting]
        owe_kpi_receipts(session, owed_by(world.settings), tasks, clock=world.clock)
        if not may_measure:
            left = [read.event.id for read, _ in waiting]
            inbox.put_back(session, left, holder=holder, due_at=None, said=None, was_tried=False)
            return SettleResult(deferred=len(waiting))
    return _measured(world, holder, judge, waiting)


def _longest(world: World) -> timedelta:
    """How long an event is claimed at most: two children measure one task, its tests and its linter."""
    return LEASE + 2 * timedelta(seconds=world.settings.kpi_timeout_s)


def count_due(world: World) -> int:
    """How many events wait, and how many runs have nothing left to do but end."""
    with world.registry.reading() as session:
        waiting = inbox.count_due(session, now=world.clock.now(), longest=_longest(world) + SKEW)
        return waiting + len(store.finished_but_open(session, limit=MOST_EVENTS))


def _closed(world: World) -> SettleResult:
    """End runs whose last task was refused or skipped: no event will ever tell."""
    with world.registry.reading() as session:
        over = store.finished_but_open(session, limit=MOST_EVENTS)
    if not over:
        return SettleResult()
    with world.registry.writing() as session:
        hold_books(session)
        store.lock(session, over)
        store.lock_days(session, over, ())
        books = store.books_of(session, over)
        for run_id in over:
            books.finish_if_over(run_id)
        now = world.clock.now()
        _write(session, books, now)
        owe_heat(session, owed_by(world.settings), books.effects.ended_runs, clock=world.clock)
        priors = refresh_priors(session, at_least=now, now=now, alpha=world.settings.alpha)
    ended = books.effects.ended_runs
    return SettleResult(priors=priors, ended_runs=ended, touched_runs=frozenset(ended))


def _sorted(
    world: World, holder: str, judge: Judge, reads: Sequence[Read]
) -> tuple[_Batch, list[tuple[Read, Work]], SettleResult]:
    """What can be settled at once, what must be measured first, and what became of events about which nobody can say that."""
    batch, waiting, told = _Batch(), [], SettleResult()
    told_of = [read.found.done for read in reads if read.found is not None]
    with world.registry.reading() as session:
        # A glance: what is booked is read whole, under the locks, by `_settle_once`.
        books = store.books_of(session, {done.run_id for done in told_of}, task_ids={done.task_id for done in told_of})
    for read in reads:
        done = read.found.done if read.found else None
        if done is None or not books.needs_verdict(done):
            batch.reads.append(read)
            continue
        try:
            work = _work_of(world, books, done)
            judgement = _suppressed(world, books, done) or judge.known(work)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - as in `_settled`: the others go on
            told = told.plus(_given_up(world, holder, read, error))
            continue
        if judgement is None:
            waiting.append((read, work))
        else:
            batch.judgements[read.event.id] = judgement
            batch.reads.append(read)
    return batch, waiting, told


def _work_of(world: World, books: Books, done: Completion) -> Work:
    task = books.runs[done.run_id].tasks[done.task_id]
    directory = world.settings.data_dir / staging_path(done.run_id, done.task_id, done.attempt)
    return Work(done.run_id, done.task_id, done.attempt, task.lane_id, directory)


def _suppressed(world: World, books: Books, done: Completion) -> Judgement | None:
    """In the sandbox writes are suppressed: no artifact is no fault there, and nothing can be measured."""
    if not books.runs[done.run_id].is_sandbox:
        return None
    if has_staged(world.settings.data_dir, done.run_id, done.task_id, done.attempt):
        return None
    return Judgement("ungated")


def _measured(world: World, holder: str, judge: Judge, waiting: Sequence[tuple[Read, Work]]) -> SettleResult:
    """Measure and settle. What turns out to be judged by then (the same bytes) is settled together; what had to be measured
    waits for no other measurement. Works that were tried least come first: one that kills its judge holds up nobody."""
    result, batch = SettleResult(), _Batch()
    longest = _longest(world)
    ordered = sorted(waiting, key=lambda item: item[0].event.attempts)
    for place, (read, work) in enumerate(ordered):
        try:
            judgement = judge.known(work)
            if judgement is None:
                result, batch = result.plus(_settled(world, holder, batch)), _Batch()
                with world.registry.writing() as session:
                    left = [other.event.id for other, _ in ordered[place:]]
                    inbox.extend(session, left, holder=holder, lease_until=world.clock.now() + longest)
                judgement = judge.judge(work)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - as in `_settled`: the others go on
            result = result.plus(_given_up(world, holder, read, error))
            continue
        if judgement.is_away and read.event.attempts < MOST_ATTEMPTS:
            result = result.plus(_put_off(world, holder, read, "a system that is measured is away"))
            continue
        batch.reads.append(read)
        batch.judgements[read.event.id] = judgement
    return result.plus(_settled(world, holder, batch))


def _put_off(world: World, holder: str, read: Read, said: str) -> SettleResult:
    with world.registry.writing() as session:
        inbox.put_back(session, [read.event.id], holder=holder, due_at=world.clock.now() + AWAY_PAUSE, said=said)
    return SettleResult(deferred=1)


def _settled(world: World, holder: str, batch: _Batch) -> SettleResult:
    """Settle a batch; one event that cannot be settled must not hold up the others."""
    if not batch.reads:
        return SettleResult()
    try:
        return _settle_once(world, holder, batch)
    except Unavailable:
        raise
    except Exception as error:
        if len(batch.reads) == 1:
            return _given_up(world, holder, batch.reads[0], error)
        log.warning("batch_split events=%d reason=%s", len(batch.reads), type(error).__name__, exc_info=error)
        half = len(batch.reads) // 2
        halves = (_Batch(part, batch.judgements) for part in (batch.reads[:half], batch.reads[half:]))
        first, second = (_settled(world, holder, part) for part in halves)
        return first.plus(second)


def _given_up(world: World, holder: str, read: Read, error: Exception) -> SettleResult:
    said = f"cannot be settled: {type(error).__name__}: {' '.join(str(error).split())}"[:500]
    log.error("event_not_settled event_id=%s attempts=%d", read.event.event_id, read.event.attempts, exc_info=error)
    if read.event.attempts < MOST_ATTEMPTS:
        return _put_off(world, holder, read, said)
    with world.registry.writing() as session:
        mine = inbox.held(session, [read.event.id], holder=holder)
        inbox.finish(session, [(event, "refused", said) for event in sorted(mine)], at=world.clock.now())
    return SettleResult(refused=len(mine))


def _settle_once(world: World, holder: str, batch: _Batch) -> SettleResult:
    with world.registry.writing() as session:
        hold_books(session)
        store.lock(session, batch.run_ids)
        ended = (read.found.taken.completed_at.date() for read in batch.reads if read.found is not None)
        store.lock_days(session, batch.run_ids, ended)
        mine = inbox.held(session, (read.event.id for read in batch.reads), holder=holder)
        reads = [read for read in batch.reads if read.event.id in mine]
        books = store.books_of(session, batch.run_ids)
        outcomes = {read.event.id: _outcome(books, read, batch.judgements) for read in reads}
        now = world.clock.now()
        found = {read.event.id: read.found for read in reads if read.found is not None}
        leaving = leaving_of(books, [one.done for one in found.values()])
        lock_money(session, {books.runs[run_id].project_id for run_id in batch.run_ids}, leaving, now=now)
        rows = receipt_rows(session, books, found, batch.judgements, now)
        if not store.add_receipts(session, rows):
            raise _Overtaken
        store.add_kpi_receipts(session, kpi_rows(books, batch.judgements))
        _write(session, books, now)
        give_back(session, leaving, rows, now=now)
        queue_ready(session, batch.run_ids, now=now)
        _owe(world, session, books, batch)
        if rows:
            work = {books.runs[done.run_id].project_id for done in books.effects.booked}
            store.put_actuals(session, work)
        priors = 0
        if rows or books.effects.run_verdicts:
            newest = max((row["completed_at"] for row in rows), default=now)
            priors = refresh_priors(session, at_least=newest, now=now, alpha=world.settings.alpha)
        inbox.finish(session, [(event, *outcome) for event, outcome in outcomes.items()], at=now)
    states = [state for state, _ in outcomes.values()]
    return SettleResult(
        settled=states.count("settled"), ignored=states.count("ignored"), refused=states.count("refused"),
        receipts=len(rows), priors=priors, ended_runs=books.effects.ended_runs,
        hinted=tuple(read.run_id for read in reads if read.hint and read.run_id is not None),
        touched_runs=frozenset(move.run_id for move in books.effects.moves if move.run_id),
    )  # fmt: skip


def _owe(world: World, session: Session, books: Books, batch: _Batch) -> None:
    """What was measured of ended tasks, and how hot ended runs ran, is owed from now on."""
    owed = owed_by(world.settings)
    measured = (done for done in books.effects.judged if batch.judgements[done.event].evaluation is not None)
    owe_kpi_receipts(session, owed, [(done.run_id, done.task_id) for done in measured], clock=world.clock)
    owe_heat(session, owed, books.effects.ended_runs, clock=world.clock)


def _outcome(books: Books, read: Read, judgements: Mapping[int, Judgement]) -> Outcome:
    if read.refused is not None or read.run_id is None:
        return "refused", read.refused or "no run"
    if read.ignored is not None:
        return "ignored", read.ignored
    if read.lost is not None:
        return books.lose(read.run_id, read.lost)
    if read.found is None:
        return "settled", "a hint: the run is compared with the executor's status"
    judgement = judgements.get(read.event.id)
    return books.complete(read.found.done, judgement.verdict if judgement else None)


def _write(session: Session, books: Books, now: datetime) -> None:
    starts = {run_id: run.started_at for run_id, run in books.runs.items()}
    if not store.write(session, books.effects, at=now, starts=starts, actor=SETTLER):
        raise _Overtaken
    for run_id in books.left_open:
        outbox.ask(session, "terminate_run", run_id, now=now, payload={"reason": _NEVER_COMES})
