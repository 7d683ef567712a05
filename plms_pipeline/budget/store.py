"""How does money move between reserved, settled and free, so that no admission ever passes a limit?

The account's row is locked while its sums are compared with its limit and changed; the entries beside it are append-only and
are the record. Whoever repeats a movement after a crash changes nothing: a settlement and a charge are told by their key, a
reservation and a release by what the subject has reserved.
`reserved` is the sum of the entries reserve − settle − release, `settled` that of settle + overrun + charge.

Every function takes an open writing session (reading ones say so) and never commits. A project's account is locked
before a day's, so that two who need the same two never wait for each other; slots and rate buckets are locked before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.budget.ledger import (
    PROJECT,
    ZERO,
    Balance,
    Purse,
    Refused,
    admission,
    checked_usd,
    project_account,
    settlement,
)
from plms_pipeline.registry.prepared import Change, Inserts, Prepared, asked
from plms_pipeline.registry.tables import LedgerAccount, LedgerEntry, Project, ProjectRun, TaskReceipt
from plms_pipeline.registry.types import UtcDateTime

_MOVES_RESERVED: Final = {"reserve": 1, "settle": -1, "release": -1}
_MOVES_SETTLED: Final = {"settle": 1, "overrun": 1, "charge": 1}


def reserve(
    session: Session,
    *,
    entry_key: str,
    account: str,
    amount: Decimal,
    limit: Decimal | None,
    subject: str,
    actor: str,
    now: datetime,
    project_id: int | None = None,
    run_id: str | None = None,
) -> Refused | None:
    """Reserve `amount` USD of one account for a subject; None when it is reserved (now or before under this key).

    Args:
        entry_key: names the entries; unique per subject (`reserve:<card key>`).
        limit: of the account as it stands now; kept beside it.
    """
    return reserve_all(
        session, entry_key=entry_key, purses=[Purse(account, limit)], amount=amount, subject=subject, actor=actor, now=now,
        project_id=project_id, run_id=run_id,
    )  # fmt: skip


def reserve_all(
    session: Session,
    *,
    entry_key: str,
    purses: Sequence[Purse],
    amount: Decimal,
    subject: str,
    actor: str,
    now: datetime,
    project_id: int | None = None,
    run_id: str | None = None,
) -> Refused | None:
    """Reserve `amount` USD of every account, or of none; the refusal of the first that does not admit it.

    What the subject has reserved in an account stands: reserving twice reserves once. After a release it reserves anew.
    """
    amount = checked_usd(amount)
    opened = _all_locked(session, purses, now)
    mine = _moves_of(session, subject)
    wanted = [balance for balance in opened if mine.get(balance.account, _NONE).reserved <= 0]
    refused = _refusal(wanted, amount)
    if refused is not None:
        return refused
    for balance in wanted:
        key = _numbered(entry_key, balance.account, mine.get(balance.account, _NONE).times_reserved)
        _post(
            session, "reserve", key, balance.account, amount, subject=subject, actor=actor, now=now, project_id=project_id,
            run_id=run_id,
        )  # fmt: skip
    return None


def settle(
    session: Session,
    *,
    entry_key: str,
    subject: str,
    amount: Decimal,
    actor: str,
    now: datetime,
    accounts: Iterable[str] = (),
    project_id: int | None = None,
    run_id: str | None = None,
) -> Decimal:
    """Settle what a subject spent against everything that it has reserved; by how much that is exceeded, in USD.

    What was reserved is freed and `amount` is charged in full, whatever the limit says; what exceeds the reservation is an
    `overrun`. Settling again under the same key changes nothing and answers the same.

    Args:
        accounts: charged even where nothing is reserved (then all of it is an overrun): a receipt whose reservation was
            released, or never made, is still money.
    """
    amount = checked_usd(amount)
    # What was settled before under this key is asked again, so that a repetition answers the same.
    theirs = [
        account
        for account, moves in _moves_of(session, subject).items()
        if moves.reserved > 0 or f"{entry_key}@{account}" in moves.settled_as
    ]
    names = sorted({*theirs, *accounts}, key=_lock_order)
    for account in names:
        _lock_or_open(session, account, now)
    # Under the locks: somebody else may have settled or released since.
    mine = _moves_of(session, subject)
    facts: dict[str, Any] = {"subject": subject, "actor": actor, "now": now, "project_id": project_id, "run_id": run_id}
    overrun = ZERO
    for account in names:
        key = f"{entry_key}@{account}"
        known = _known(session, [key, f"{key}:overrun"])
        if key in known:
            overrun = max(overrun, known.get(f"{key}:overrun", ZERO))
            continue
        moves = settlement(max(ZERO, mine.get(account, _NONE).reserved), amount)
        overrun = max(overrun, moves.overrun)
        _post(session, "settle", key, account, moves.settled, **facts)
        if moves.released:
            _post(session, "release", f"{key}:release", account, moves.released, **facts)
        if moves.overrun:
            _post(session, "overrun", f"{key}:overrun", account, moves.overrun, **facts)
    return overrun


def release(
    session: Session, *, entry_key: str, subject: str, actor: str, now: datetime, run_id: str | None = None
) -> dict[str, Decimal]:
    """Free everything that a subject has reserved, because nothing will be spent; account → how much. Twice frees once."""
    for account in sorted(reserved_by(session, subject), key=_lock_order):
        _lock_or_open(session, account, now)
    freed: dict[str, Decimal] = {}
    for account, moves in _moves_of(session, subject).items():
        if moves.reserved > 0:
            key = _numbered(entry_key, account, moves.times_released)
            _post(
                session, "release", key, account, moves.reserved, subject=subject, actor=actor, now=now, run_id=run_id
            )
            freed[account] = moves.reserved
    return freed


def charge(
    session: Session,
    *,
    entry_key: str,
    purses: Sequence[Purse],
    amount: Decimal,
    subject: str,
    actor: str,
    now: datetime,
    project_id: int | None = None,
    run_id: str | None = None,
) -> Refused | None:
    """Spend `amount` USD at once, of every account or of none: an admission and its settlement in one."""
    amount = checked_usd(amount)
    opened = _all_locked(session, purses, now)
    known = _known(session, [f"{entry_key}@{balance.account}" for balance in opened])
    wanted = [balance for balance in opened if f"{entry_key}@{balance.account}" not in known]
    refused = _refusal(wanted, amount)
    if refused is not None:
        return refused
    for balance in wanted:
        _post(
            session, "charge", f"{entry_key}@{balance.account}", balance.account, amount, subject=subject, actor=actor,
            now=now, project_id=project_id, run_id=run_id,
        )  # fmt: skip
    return None


def project_purse(session: Session, project_id: int, *, now: datetime) -> Purse:
    """The purse of a project with its budget as it stands now; opened with what its receipts have taken so far.

    Without that opening charge a project that spent before it had an account would be given its budget a second time.
    """
    account = project_account(project_id)
    budget = asked(session, _BUDGET, project_id=project_id)
    purse = Purse(account, budget[0][0] if budget else None)
    key = f"opening@{account}"
    if _known(session, [key]):
        return purse
    opened = _lock_or_open(session, account, now)
    if _known(session, [key]):
        return purse
    spent = session.scalar(
        select(func.coalesce(func.sum(TaskReceipt.cost_usd), ZERO))
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .where(ProjectRun.project_id == project_id)
    )
    # What settled before stands in the account already.
    before = max(ZERO, checked_usd(spent or ZERO) - opened.settled)
    _post(session, "charge", key, account, before, subject=key, actor="ledger", now=now, project_id=project_id)
    return purse


def lock(session: Session, accounts: Iterable[str], *, now: datetime) -> None:
    """Lock accounts until the transaction ends, in the order in which everybody does: for whoever moves money of several."""
    for account in sorted(set(accounts), key=_lock_order):
        _lock_or_open(session, account, now)


def balance(session: Session, account: str) -> Balance | None:
    """An account as it stands; None when nothing was ever moved in it. Reads only."""
    row = session.execute(_BALANCE.where(LedgerAccount.account == account)).one_or_none()
    return None if row is None else Balance(*row)


def balances(session: Session, *, prefix: str = "") -> list[Balance]:
    """The accounts whose name starts with `prefix`, by name. Reads only."""
    query = _BALANCE.where(LedgerAccount.account.startswith(prefix, autoescape=True)).order_by(LedgerAccount.account)
    return [Balance(*row) for row in session.execute(query)]


def reserved_by(session: Session, subject: str) -> dict[str, Decimal]:
    """Account → what a subject has reserved there in USD; accounts without are left out. Reads only."""
    return {account: moves.reserved for account, moves in _moves_of(session, subject).items() if moves.reserved > 0}


@dataclass(frozen=True, slots=True)
class Past:
    """What a subject ever moved in one account, in USD: the first reservation, all that was charged, and the entries' keys."""

    reserved: Decimal
    charged: Decimal
    keys: frozenset[str]


def past_of(session: Session, subject: str) -> dict[str, Past]:
    """Account → what a subject ever moved there, reserved or not any more. Reads only."""
    found: dict[str, Past] = {}
    for account, kind, amount, key in asked(session, _MOVED, of_subject=subject):
        past = found.get(account, Past(ZERO, ZERO, frozenset()))
        found[account] = Past(
            max(past.reserved, amount) if kind == "reserve" else past.reserved,
            past.charged + _MOVES_SETTLED.get(kind, 0) * amount, past.keys | {key},
        )  # fmt: skip
    return found


_BALANCE: Final = select(
    LedgerAccount.account, LedgerAccount.limit_usd, LedgerAccount.settled_usd, LedgerAccount.reserved_usd
)


_OF_ACCOUNT: Final = LedgerAccount.account == bindparam("of_account", type_=LedgerAccount.account.type)
_USD: Final = LedgerAccount.settled_usd.type
_LOCKED: Final = Prepared(_BALANCE.where(_OF_ACCOUNT).with_for_update())
_MOVED: Final = Prepared(
    select(LedgerEntry.account, LedgerEntry.kind, LedgerEntry.amount_usd, LedgerEntry.entry_key).where(
        LedgerEntry.subject == bindparam("of_subject", type_=LedgerEntry.subject.type)
    )
)
_KNOWN: Final = Prepared(
    select(LedgerEntry.amount_usd).where(LedgerEntry.entry_key == bindparam("key", type_=LedgerEntry.entry_key.type))
)
_BUDGET: Final = Prepared(select(Project.budget_cost_usd_max).where(Project.id == bindparam("project_id")))
_POST: Final = Inserts(LedgerEntry)
_MOVE: Final = Change(
    update(LedgerAccount)
    .where(_OF_ACCOUNT)
    .values(
        updated_at=bindparam("moment", type_=UtcDateTime()),
        reserved_usd=LedgerAccount.reserved_usd + bindparam("reserved", type_=_USD),
        settled_usd=LedgerAccount.settled_usd + bindparam("settled", type_=_USD),
    )
)


@dataclass(slots=True)
class _Moves:
    """What a subject moved in one account."""

    reserved: Decimal = ZERO
    times_reserved: int = 0
    times_released: int = 0
    settled_as: frozenset[str] = frozenset()


_NONE: Final = _Moves()


def _moves_of(session: Session, subject: str) -> dict[str, _Moves]:
    found: dict[str, _Moves] = {}
    for account, kind, amount, key in asked(session, _MOVED, of_subject=subject):
        moves = found.setdefault(account, _Moves())
        moves.reserved += _MOVES_RESERVED.get(kind, 0) * amount
        moves.times_reserved += kind == "reserve"
        moves.times_released += kind == "release"
        if kind == "settle":
            moves.settled_as |= {key}
    return dict(sorted(found.items()))


def _numbered(entry_key: str, account: str, times_before: int) -> str:
    return f"{entry_key}@{account}" + (f"#{times_before + 1}" if times_before else "")


def _lock_order(account: str) -> tuple[bool, str]:
    # The day's account is everybody's: whoever holds it should wait for nothing any more.
    return not account.startswith(PROJECT), account


def _all_locked(session: Session, purses: Iterable[Purse], now: datetime) -> list[Balance]:
    return [_locked(session, purse, now) for purse in sorted(purses, key=lambda purse: _lock_order(purse.account))]


def _refusal(balances_: Iterable[Balance], amount: Decimal) -> Refused | None:
    return next((refused for one in balances_ if (refused := admission(one, amount)) is not None), None)


def _open(session: Session, account: str, now: datetime) -> None:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(LedgerAccount).values(account=account, updated_at=now).on_conflict_do_nothing())


def _lock_or_open(session: Session, account: str, now: datetime) -> Balance:
    """The account, locked until the transaction ends; made when nothing was ever moved in it."""
    rows = asked(session, _LOCKED, of_account=account)
    if not rows:
        _open(session, account, now)
        rows = asked(session, _LOCKED, of_account=account)
    return Balance(*rows[0])


def _locked(session: Session, purse: Purse, now: datetime) -> Balance:
    """The account, locked, with the limit that the purse says."""
    found = _lock_or_open(session, purse.account, now)
    limit = None if purse.limit is None else checked_usd(purse.limit)
    if found.limit != limit:
        session.execute(
            update(LedgerAccount)
            .where(LedgerAccount.account == purse.account)
            .values(limit_usd=limit, updated_at=now)
            .execution_options(synchronize_session=False)
        )
    return Balance(found.account, limit, found.settled, found.reserved)


def _known(session: Session, keys: Sequence[str]) -> dict[str, Decimal]:
    return {key: rows[0][0] for key in keys if (rows := asked(session, _KNOWN, key=key))}


def _post(
    session: Session,
    kind: str,
    entry_key: str,
    account: str,
    amount: Decimal,
    *,
    subject: str,
    actor: str,
    now: datetime,
    project_id: int | None = None,
    run_id: str | None = None,
) -> None:
    """One entry, and the sums beside it."""
    _POST.into(session, [{
        "entry_key": entry_key, "account": account, "kind": kind, "amount_usd": amount, "subject": subject,
        "project_id": project_id, "run_id": run_id, "actor": actor[:255], "at": now,
    }])  # fmt: skip
    _MOVE.into(
        session, of_account=account, moment=now, reserved=_MOVES_RESERVED.get(kind, 0) * amount,
        settled=_MOVES_SETTLED.get(kind, 0) * amount,
    )  # fmt: skip
