"""Does the money add up? Pure comparisons; nothing here raises on what it is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from plms_pipeline.invariants.book import found
from plms_pipeline.invariants.report import Found

# Kind of entry → what it moves: (reserved, settled). Written here once more: an oracle that asks the ledger proves nothing.
MOVES: Final = {
    "reserve": (1, 0), "release": (-1, 0), "settle": (-1, 1), "overrun": (0, 1), "charge": (0, 1),
}  # fmt: skip


def unbalanced(accounts: Sequence[Sequence[Any]], entries: Sequence[Sequence[Any]]) -> Found:
    """Accounts whose sums are not those of their entries.

    Args:
        accounts: (account, reserved, settled).
        entries: (account, kind, sum of its entries of that kind).
    """
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for account, kind, amount in entries:
        for place, sign in enumerate(MOVES.get(kind, (0, 0))):
            sums[account][place] += sign * Decimal(amount or 0)
    wrong = []
    for account, reserved, settled in accounts:
        should = sums[account]
        if [Decimal(reserved), Decimal(settled)] != should:
            wrong.append(
                f"ledger_accounts account={account}: reserved {_usd(reserved)} and settled {_usd(settled)}, its entries say "
                f"{_usd(should[0])} and {_usd(should[1])}"
            )
    return found(len(accounts), wrong)


def outliving(rows: Sequence[Sequence[Any]]) -> Found:
    """Reservations for work that is over; rows (account, subject, state of the card or None, kind, sum of the entries)."""
    open_usd: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    states: dict[tuple[str, str], str | None] = {}
    for account, subject, state, kind, amount in rows:
        open_usd[account, subject] += MOVES.get(kind, (0, 0))[0] * Decimal(amount or 0)
        states[account, subject] = state
    wrong = [
        f"ledger_entries account={account} subject={subject}: {_usd(amount)} USD are reserved, its card is "
        f"{states[account, subject] or 'not there'}"
        for (account, subject), amount in sorted(open_usd.items())
        if amount > 0 and states[account, subject] not in ("WAITING", "SUBMITTED")
    ]
    return found(len(open_usd), wrong)


def _usd(amount: Any) -> str:
    return f"{Decimal(amount).normalize():f}"
