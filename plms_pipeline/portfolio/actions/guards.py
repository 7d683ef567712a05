"""May a person start something outside an approved project, and what became of it?

`enforce` passes the guards and holds a place and a reservation under a lease; `finish` gives the place back and settles what
was really spent. A lease whose owner is known to be dead ends at once, any other when its time is over: nothing of it is at the
executor, so nobody else could say that it ended. What it had reserved counts as spent then, because nobody knows better.
Whoever reports afterwards what it took, or after a reset, is told that the lease had ended and is charged all the same, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.store import record
from plms_pipeline.budget import store as ledger
from plms_pipeline.budget.ledger import LAUNCHER as LAUNCHER_ACCOUNTS
from plms_pipeline.budget.ledger import Balance, checked_usd
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.rules import reason_of
from plms_pipeline.errors import BadInput, Conflict, NotFound
from plms_pipeline.portfolio.actions.switches import Flag, SwitchStatus
from plms_pipeline.portfolio.actions.switches import status as switch_status
from plms_pipeline.portfolio.buckets import Level, refilled
from plms_pipeline.portfolio.guarding import Place, Refusal, Wish
from plms_pipeline.portfolio.policies import LAUNCHER_BUCKET, LauncherPolicy
from plms_pipeline.portfolio.store import buckets, launched, passing, slots
from plms_pipeline.portfolio.store.slots import LAUNCHER, OpenSlot
from plms_pipeline.registry.engine import Registry

IsDead = Callable[[str], bool]
FINISHED: Final = "finished"
# The subjects of runs of projects that are not approved: they end with their runs, and with nothing else.
RUN: Final = "run:"
_NOBODY: Final[IsDead] = lambda _holder: False  # noqa: E731 - a default that can be named


@dataclass(frozen=True, slots=True)
class Lease:
    """A start that passed the guards. Give it back with `finish`."""

    lease_id: str
    reserved_usd: Decimal
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Finished:
    """What a settlement moved: by how much it exceeded what was reserved still, in USD.

    `ended`: the lease had ended before, when and why; None when it went on until now.
    """

    overrun_usd: Decimal
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """What the launcher's guards say now. Money in USD of the day that it is in the policy's zone."""

    switch: SwitchStatus
    places: int
    slots: tuple[OpenSlot, ...]
    tokens: float
    rate_per_s: float
    account: Balance

    def as_json(self) -> dict[str, Any]:
        """For machines: what `plms guard status --json` prints and the API answers."""
        account = self.account
        stopping = [one for one in self.switch.switches if not one.is_mirror and one.scope == "global"]
        return {
            "killswitch": bool(self.switch.flag or self.switch.unreadable or stopping),
            "killswitch_reasons": [
                *(said for said in (self.switch.flag, self.switch.unreadable) if said),
                *(f"{one.where}: {one.reason}" for one in stopping),
            ],
            # A lane's or a project's switch stops nothing that is started outside an approved project.
            "killswitch_elsewhere": [
                f"{one.where}: {one.reason}" for one in self.switch.switches if one.scope != "global"
            ],
            "concurrency": {"taken": len(self.slots), "limit": self.places},
            "leases": [
                {"lease": slot.subject, "holder": slot.holder, "since": slot.taken_at.isoformat(),
                 "until": slot.expires_at.isoformat()}
                for slot in self.slots
            ],
            "rate": {"per_s": self.rate_per_s, "tokens": round(self.tokens, 6)},
            "budget": {
                "account": account.account, "limit_usd": shown_usd(account.limit), "left_usd": shown_usd(account.left),
                "settled_usd": shown_usd(account.settled), "reserved_usd": shown_usd(account.reserved),
            },
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset gave back, and the runs that go on and therefore keep their places and reservations."""

    places: int
    freed_usd: Decimal
    kept_runs: tuple[str, ...] = ()


def enforce(
    registry: Registry,
    *,
    clock: Clock,
    ids: Callable[[], str],
    policy: LauncherPolicy,
    flag: Flag,
    actor: Actor,
    holder: str,
    cost_usd: Decimal,
    is_dead: IsDead = _NOBODY,
) -> Lease | Refusal:
    """Pass the launcher's guards: kill switch, concurrency, rate, budget. A refusal takes nothing.

    Args:
        cost_usd: what it will take at most; settled by `finish`.
        holder: the process that starts it, by which a crash is noticed.

    Raises:
        BadInput: the cost is no amount.
    """
    amount = _usd(cost_usd)
    raised = flag()
    with registry.writing() as session:
        # The clock is looked at when it is our turn, so that what begins is as far apart as it says.
        slots.lock(session, LAUNCHER)
        now = clock.now()
        _end_dead(session, now, is_dead)
        wish = Wish(
            subject=f"launch:{ids()}", holder=holder, expires_at=now + policy.lease,
            places=(Place(LAUNCHER, policy.places),), rates=((LAUNCHER_BUCKET, policy.rate),),
            purses=(policy.purse(now),), amount_usd=amount, actor=actor.name,
        )  # fmt: skip
        refusal = passing.pass_guards(session, wish, flag=raised, now=now, ids=ids)
        record(
            session, at=now, actor=actor, action="guard.enforce", subject=wish.subject,
            outcome="passed" if refusal is None else refusal.guard, details={"cost_usd": str(amount)},
        )  # fmt: skip
    return Lease(wish.subject, amount, wish.expires_at) if refusal is None else refusal


def pass_launcher(
    session: Session,
    *,
    now: datetime,
    ids: Callable[[], str],
    policy: LauncherPolicy,
    actor: Actor,
    run_id: str,
    project_id: int,
    amount_usd: Decimal,
) -> Refusal | None:
    """Let a run of a project that is not approved start, in the transaction of its start; None when it may.

    Its place and reservation are its own until it has ended, however long that takes.
    """
    slots.lock(session, LAUNCHER)
    _end_dead(session, now, _NOBODY)
    wish = Wish(
        subject=f"{RUN}{run_id}", holder="run", expires_at=now + policy.lease, places=(Place(LAUNCHER, policy.places),),
        rates=((LAUNCHER_BUCKET, policy.rate),), purses=(policy.purse(now),), amount_usd=amount_usd,
        project_id=project_id, run_id=run_id, actor=actor.name,
    )  # fmt: skip
    return passing.pass_guards(session, wish, flag=None, now=now, ids=ids)


def finish(
    registry: Registry, lease_id: str, *, clock: Clock, actor: Actor, spent_usd: Decimal | None = None
) -> Finished:
    """Give a start's place back and settle what it spent, once.

    A lease that was reset, or given up because its owner died or its time was over, is settled all the same: what was
    spent beyond what its account has been charged for it already is charged now, in full.

    Args:
        spent_usd: None: what was reserved.

    Raises:
        NotFound: no such lease, or it was settled before.
        Conflict: it is that of a run, which ends with its run (`lease_of_a_run`).
        BadInput: the amount is none.
    """
    if lease_id.startswith(RUN):
        run_id = lease_id.removeprefix(RUN)[:80]
        raise Conflict(
            f"Run {run_id} gives its place back when it has ended, and is charged what its receipts say. "
            f"`plms run cancel {run_id}` calls it off.",
            code="lease_of_a_run",
        )
    spent = None if spent_usd is None else _usd(spent_usd)
    with registry.writing() as session:
        now = clock.now()
        if slots.release(session, LAUNCHER, lease_id, now=now, reason=FINISHED):
            done = Finished(_settle(session, lease_id, spent, actor=actor.name, now=now))
        else:
            done = _settle_late(session, lease_id, spent, actor=actor.name, now=now)
        record(
            session, at=now, actor=actor, action="guard.finish", subject=lease_id, outcome="late" if done.ended else "done",
            details={"spent_usd": None if spent is None else str(spent), "overrun_usd": str(done.overrun_usd)},
        )  # fmt: skip
    return done


def end_dead_leases(registry: Registry, *, clock: Clock, is_dead: IsDead) -> int:
    """End the launcher's leases whose owner died, whose time is over or whose run ended; how many. Writes only if any."""
    with registry.reading() as session:
        if not slots.open_slots(session, LAUNCHER):
            return 0
    with registry.writing() as session:
        slots.lock(session, LAUNCHER)
        return _end_dead(session, clock.now(), is_dead)


def guard_status(registry: Registry, *, clock: Clock, policy: LauncherPolicy, flag: Flag) -> GuardStatus:
    """What the guards say now. Reads only.

    Raises:
        Unavailable: the registry cannot be read; the kill switch counts as on then.
    """
    now = clock.now()
    purse = policy.purse(now)
    with registry.reading() as session:
        held = slots.open_slots(session, LAUNCHER)
        level = buckets.levels(session).get(LAUNCHER_BUCKET, Level(policy.rate.burst, now))
        account = ledger.balance(session, purse.account)
    zero = Decimal(0)
    return GuardStatus(
        switch_status(registry, flag=flag), policy.places, tuple(held), refilled(level, policy.rate, now).tokens,
        policy.rate.per_s,
        Balance(purse.account, purse.limit, account.settled if account else zero, account.reserved if account else zero),
    )  # fmt: skip


def reset(registry: Registry, *, clock: Clock, actor: Actor, reason: str) -> Reset:
    """Give back every lease of the launcher with its reservation, and refill its rate. What was spent stays spent.

    A run that goes on keeps its place and its reservation: it goes on spending, and nobody else would tell the day's account
    of that. One that has ended is settled by its receipts.

    Raises:
        BadInput: there is no reason.
    """
    reason = reason_of(reason)
    with registry.writing() as session:
        slots.lock(session, LAUNCHER)
        now = clock.now()
        _end_runs(session, slots.open_slots(session, LAUNCHER), now)
        held = slots.open_slots(session, LAUNCHER)
        kept = tuple(slot.run_id for slot in held if slot.run_id is not None)
        leases = [slot for slot in held if slot.run_id is None]
        freed = Decimal(0)
        for slot in leases:
            slots.release(session, LAUNCHER, slot.subject, now=now, reason=f"reset by {actor.name}: {reason}")
            given = ledger.release(
                session, entry_key=f"release:{slot.subject}", subject=slot.subject, actor=actor.name, now=now
            )
            freed += sum((usd for account, usd in given.items() if account.startswith(LAUNCHER_ACCOUNTS)), Decimal(0))
        buckets.forget(session, LAUNCHER_BUCKET)
        details: dict[str, Any] = {
            "reason": reason, "places": len(leases), "freed_usd": str(freed), "kept_runs": list(kept)
        }  # fmt: skip
        record(session, at=now, actor=actor, action="guard.reset", subject="launcher", outcome="done", details=details)
    return Reset(len(leases), freed, kept)


def shown_usd(amount: Decimal | None) -> str | None:
    """An amount in USD as text, without zeros that say nothing."""
    return None if amount is None else f"{amount.normalize():f}"


def _end_dead(session: Session, now: datetime, is_dead: IsDead) -> int:
    held = slots.open_slots(session, LAUNCHER)
    count = _end_runs(session, held, now)
    for slot in held:
        if slot.run_id is not None:
            continue
        dead = is_dead(slot.holder)
        if not dead and slot.expires_at > now:
            continue
        why = "its owner died" if dead else "its lease expired"
        if slots.release(session, LAUNCHER, slot.subject, now=now, reason=why):
            _settle(session, slot.subject, None, actor="guard", now=now)
            count += 1
    return count


def _end_runs(session: Session, held: Sequence[OpenSlot], now: datetime) -> int:
    """Settle the runs that have ended by their receipts. Whatever the clock says, one goes on until its end is in the books."""
    count = 0
    runs = launched.ended(session, {slot.run_id for slot in held if slot.run_id is not None})
    for slot in held:
        if slot.run_id in runs and slots.release(session, LAUNCHER, slot.subject, now=now, reason="its run ended"):
            _settle(session, slot.subject, runs[slot.run_id], actor="guard", now=now)
            count += 1
    return count


def _settle(session: Session, lease_id: str, spent: Decimal | None, *, actor: str, now: datetime) -> Decimal:
    reserved = ledger.reserved_by(session, lease_id)
    amount = max(reserved.values(), default=Decimal(0)) if spent is None else spent
    # Who reserved nothing is charged all the same.
    return ledger.settle(
        session, entry_key=f"settle:{lease_id}", subject=lease_id, amount=amount, actor=actor, now=now,
        accounts=_past(session, lease_id),
    )  # fmt: skip


def _settle_late(session: Session, lease_id: str, spent: Decimal | None, *, actor: str, now: datetime) -> Finished:
    """Charge what a lease spent that ended before anybody said so: all of it after a reset, else what nobody reckoned with."""
    slots.lock(session, LAUNCHER)
    ended = slots.last_end(session, LAUNCHER, lease_id)
    where = "`plms guard status` and GET /api/guards list those that go on."
    if ended is None:
        raise NotFound(f"There is no lease {lease_id[:80]!r}; {where}", code="lease_not_found")
    at, why = ended
    past = _past(session, lease_id)
    late = f"late:{lease_id}"
    if why == FINISHED or any(f"{late}@{account}" in moved.keys for account, moved in past.items()):
        raise NotFound(
            f"The lease {lease_id[:80]!r} was settled before, and nothing is charged twice; {where}",
            code="lease_not_found",
        )
    amount = max((moved.reserved for moved in past.values()), default=Decimal(0)) if spent is None else spent
    charged = max((moved.charged for moved in past.values()), default=Decimal(0))
    more = ledger.settle(
        session, entry_key=late, subject=lease_id, amount=max(Decimal(0), amount - charged), actor=actor, now=now,
        accounts=past,
    )  # fmt: skip
    return Finished(more, f"{why} at {at:%Y-%m-%d %H:%M:%S} UTC")


def _past(session: Session, lease_id: str) -> dict[str, ledger.Past]:
    """The days' accounts that a lease was reserved in, and what it moved there."""
    past = ledger.past_of(session, lease_id)
    return {account: moved for account, moved in past.items() if account.startswith(LAUNCHER_ACCOUNTS)}


def _usd(amount: Decimal) -> Decimal:
    try:
        return checked_usd(amount)
    except ValueError as error:
        raise BadInput(f"{error} Give dollars such as 0.25.", code="bad_amount") from None
