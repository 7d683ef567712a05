"""What may be admitted, and what does a settlement move?

Money stands in one of two sums of an account: *reserved* for work that goes on, *settled* for what it took. A reservation that
is settled moves out of the first; what it took moves into the second, in full, even where that is more than was reserved. The
guard of the sources charged estimates, never corrected them, and took the first charge of a day without looking at the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from plms_pipeline.registry.types import to_usd

ZERO: Final = Decimal(0)
PROJECT: Final = "project:"
PORTFOLIO: Final = "portfolio:"
LAUNCHER: Final = "launcher:"


@dataclass(frozen=True, slots=True)
class Balance:
    """An account as it stands, in USD. `limit` None: nothing is refused."""

    account: str
    limit: Decimal | None
    settled: Decimal
    reserved: Decimal

    @property
    def left(self) -> Decimal | None:
        """What may still be reserved, never below zero; None without a limit."""
        return None if self.limit is None else max(ZERO, self.limit - self.settled - self.reserved)


@dataclass(frozen=True, slots=True)
class Refused:
    """An amount that an account does not admit, with the figures by which it was decided."""

    account: str
    amount: Decimal
    limit: Decimal
    settled: Decimal
    reserved: Decimal

    @property
    def reason(self) -> str:
        """The sentence for people."""
        return (
            f"budget_exceeded: {self.account} has settled {_shown(self.settled)} and reserved {_shown(self.reserved)} of "
            f"{_shown(self.limit)} USD; {_shown(self.amount)} more does not fit"
        )


@dataclass(frozen=True, slots=True)
class Purse:
    """An account from which something is to be paid, and its limit in USD as it stands now (None: no limit)."""

    account: str
    limit: Decimal | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an amount that was spent falls onto its reservation: `settled` within, `released` unused, `overrun` beyond it."""

    settled: Decimal
    released: Decimal
    overrun: Decimal


def admission(balance: Balance, amount: Decimal) -> Refused | None:
    """Whether `amount` USD may be reserved: settled + reserved + new ≤ limit, the very first amount included.

    Returns:
        None when it may; what was refused otherwise. Exactly reaching the limit is admitted.
    """
    if balance.limit is None or balance.settled + balance.reserved + amount <= balance.limit:
        return None
    return Refused(balance.account, amount, balance.limit, balance.settled, balance.reserved)


def settlement(reserved: Decimal, spent: Decimal) -> Settlement:
    """How `spent` USD settle a reservation of `reserved`: settled + overrun = spent, settled + released = reserved."""
    within = min(reserved, spent)
    return Settlement(settled=within, released=reserved - within, overrun=spent - within)


def checked_usd(amount: Decimal | int | str | float) -> Decimal:
    """An amount as the ledger keeps it: rounded to six places, finite, not negative.

    Raises:
        ValueError: it is none.
    """
    usd = to_usd(amount)
    if usd < 0:
        raise ValueError(f"{str(amount)[:40]} is less than nothing.")
    return usd


def project_account(project_id: int) -> str:
    """The account of a project's budget."""
    return f"{PROJECT}{project_id}"


def daily_account(prefix: str, now: datetime, zone: str) -> str:
    """The account of a day's budget; the day is that of `zone` (an IANA name), whatever the machine's own zone is."""
    return f"{prefix}{budget_day(now, zone).isoformat()}"


def budget_day(now: datetime, zone: str) -> date:
    """The calendar day in `zone` of an aware moment."""
    return now.astimezone(ZoneInfo(zone)).date()


def _shown(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
