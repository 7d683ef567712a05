"""Which projects have a budget to watch, and what did everything spend today? Reads only."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session

from plms_pipeline.budget.ledger import LAUNCHER, PORTFOLIO, PROJECT
from plms_pipeline.registry.tables import LedgerAccount, LedgerEntry, Project, ProjectRun

WATCHED: Final = ("approved", "executing", "validating", "needs_review")
SPENT: Final = ("settle", "overrun", "charge")


def watched(session: Session) -> list[tuple[int, str, bool]]:
    """(project, name, whether a run of it is under way) of open projects with a budget."""
    at_work = exists().where(
        ProjectRun.project_id == Project.id, ProjectRun.status == "RUNNING", ProjectRun.source == "plms"
    )
    rows = session.execute(
        select(Project.id, Project.name, at_work)
        .where(Project.status.in_(WATCHED), Project.budget_cost_usd_max.is_not(None))
        .order_by(Project.id)
    )
    return [(row[0], row[1], bool(row[2])) for row in rows]


def daily_accounts(session: Session, accounts: Collection[str]) -> list[tuple[str, Decimal, Decimal]]:
    """(account, limit, settled) of these accounts, in USD, where they have a limit above zero."""
    rows = session.execute(
        select(LedgerAccount.account, LedgerAccount.limit_usd, LedgerAccount.settled_usd)
        .where(LedgerAccount.account.in_(sorted(accounts)), LedgerAccount.limit_usd.is_not(None))
        .order_by(LedgerAccount.account)
    )
    return [(account, limit, settled) for account, limit, settled in rows if limit]


def spent_since(session: Session, since: datetime) -> Decimal:
    """What projects and launched starts have spent since a moment, in USD; the portfolio's account repeats theirs."""
    paid = or_(LedgerEntry.account.startswith(PROJECT), LedgerEntry.account.startswith(LAUNCHER))
    total = session.scalar(
        select(func.sum(LedgerEntry.amount_usd)).where(LedgerEntry.at >= since, LedgerEntry.kind.in_(SPENT), paid)
    )
    return total or Decimal(0)


__all__ = ["LAUNCHER", "PORTFOLIO", "daily_accounts", "spent_since", "watched"]
