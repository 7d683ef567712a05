"""Is what was told about budgets true? Pure comparisons; nothing here raises on what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from plms_pipeline.invariants.book import found
from plms_pipeline.invariants.report import Found

# Written here once more: an oracle that asks the runway itself proves nothing.
SHORT_MIN, LONG_MIN = 10.0, 30.0
CRITICAL: Final = 0.20
# Stored numbers are rounded to six places.
ROUNDING: Final = 1e-5


def unpaid(rows: Sequence[Sequence[Any]]) -> Found:
    """Accounts of projects whose settled sum is not that of their receipts; rows (account, settled, sum of the receipts)."""
    wrong = [
        f"ledger_accounts account={account}: {Decimal(settled):f} USD settled, its receipts say {Decimal(cost or 0):f}"
        for account, settled, cost in rows
        if Decimal(settled) != Decimal(cost or 0)
    ]
    return found(len(rows), wrong)


def contradictory(rows: Sequence[Sequence[Any]]) -> Found:
    """Looks at budgets whose numbers contradict each other.

    Args:
        rows: (project, moment, spent, budget, minutes left, low, high, final, low, high, overrun, status).
    """
    wrong = []
    for project, at, *numbers in rows:
        problem = _problem(*numbers)
        if problem:
            wrong.append(f"runway_snapshots project_id={project} at={at}: {problem}")
    return found(len(rows), wrong)


def _problem(
    spent: Any, budget: Any, minutes: Any, low: Any, high: Any, final: Any, least: Any, most: Any, overrun: Any, status: str
) -> str | None:  # fmt: skip
    if not _ordered(low, minutes, high) or not _ordered(least, final, most):
        return "an interval does not hold its own middle"
    if minutes is not None and minutes < 0:
        return f"{minutes} minutes are left"
    if final is not None and final < float(spent) - ROUNDING:
        return f"{final} in the end, and {spent} are spent"
    if budget is not None and final is not None and abs(max(0.0, final - float(budget)) - (overrun or 0.0)) > ROUNDING:
        return f"an overrun of {overrun}, where {final} of {budget} are projected"
    allowed = _status(budget, minutes, overrun)
    return None if status in allowed else f"status {status}, its numbers say {' or '.join(allowed)}"


def _ordered(low: Any, middle: Any, high: Any) -> bool:
    return None in (low, middle, high) or low - ROUNDING <= middle <= high + ROUNDING


def _status(budget: Any, minutes: Any, overrun: Any) -> tuple[str, ...]:
    if budget is None:
        return ("ok",)
    if (minutes is not None and minutes < SHORT_MIN) or (overrun and overrun >= CRITICAL * float(budget) + ROUNDING):
        return ("critical",)
    if overrun and overrun >= CRITICAL * float(budget) - ROUNDING:
        return ("warning", "critical")
    if overrun or (minutes is not None and minutes <= LONG_MIN):
        return ("warning", "critical") if minutes == SHORT_MIN else ("warning",)
    # Where nobody knows what is left, it is a warning as soon as something runs.
    return ("ok", "warning") if overrun is None else ("ok",)
