"""The ledger: no admission beyond the limit, everything that was spent is charged, nothing twice, to the micro-dollar."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import select

from plms_pipeline.budget import store
from plms_pipeline.budget.ledger import Balance, Purse, Refused
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import LedgerEntry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMIT = Decimal(50)
DAY = "launcher:2026-03-01"


def reserve(registry: Registry, subject: str, amount: str, *, limit: Decimal | None = LIMIT) -> Refused | None:
    with registry.writing() as session:
        return store.reserve(
            session, entry_key=f"reserve:{subject}", account=DAY, amount=Decimal(amount), limit=limit, subject=subject,
            actor="test", now=NOW,
        )  # fmt: skip


def settle(registry: Registry, subject: str, amount: str, *, accounts: tuple[str, ...] = ()) -> Decimal:
    with registry.writing() as session:
        return store.settle(
            session, entry_key=f"settle:{subject}", subject=subject, amount=Decimal(amount), actor="test", now=NOW,
            accounts=accounts,
        )  # fmt: skip


def release(registry: Registry, subject: str) -> Decimal:
    with registry.writing() as session:
        freed = store.release(session, entry_key=f"release:{subject}", subject=subject, actor="test", now=NOW)
    return sum(freed.values(), Decimal(0))


def sums(registry: Registry, account: str = DAY) -> tuple[object, object]:
    """Settled and reserved, after holding them against the entries."""
    with registry.reading() as session:
        found = store.balance(session, account)
        rows = session.execute(
            select(LedgerEntry.kind, LedgerEntry.amount_usd).where(LedgerEntry.account == account)
        ).all()
    assert isinstance(found, Balance)
    by_kind = {kind: sum((a for k, a in rows if k == kind), Decimal(0)) for kind in {kind for kind, _ in rows}}

    def of(*kinds: str) -> Decimal:
        return sum((by_kind.get(kind, Decimal(0)) for kind in kinds), Decimal(0))

    assert found.settled == of("settle", "overrun", "charge")
    assert found.reserved == of("reserve") - of("settle") - of("release")
    return found.settled, found.reserved


def test_the_first_charge_of_a_day_is_held_against_the_limit(registry: Registry) -> None:
    """Otherwise one call in the morning spends twenty days' money: the sources stored 1000 of 50 USD unchecked."""
    refused = reserve(registry, "a", "1000")
    assert refused is not None
    assert "budget_exceeded" in refused.reason
    assert sums(registry) == (0, 0)


def test_two_hundred_charges_at_once_sum_exactly_and_never_pass_the_limit(registry: Registry) -> None:
    """Otherwise parallel launchers lose each other's charges: of ten dollars the sources recorded two."""
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: reserve(registry, f"card-{n}", "0.33"), range(200)))
    assert sum(answer is None for answer in answers) == 151  # 151 × 0.33 = 49.83
    assert sums(registry) == (0, Decimal("49.83"))


def test_reaching_the_limit_exactly_is_admitted(registry: Registry) -> None:
    """Otherwise a budget of 50 USD pays for 49."""
    assert reserve(registry, "a", "50") is None
    assert reserve(registry, "b", "0.000001") is not None


def test_what_was_not_spent_is_free_again(registry: Registry) -> None:
    """Otherwise a day's budget is used up by estimates: the sources never settled them."""
    assert reserve(registry, "a", "40") is None
    assert settle(registry, "a", "1.25") == 0
    assert sums(registry) == (Decimal("1.25"), 0)
    assert reserve(registry, "b", "48.75") is None


def test_an_overrun_is_charged_in_full_and_stops_admission(registry: Registry) -> None:
    """Otherwise money that is gone is not in the books, and more is spent on top of it."""
    assert reserve(registry, "a", "10") is None
    assert settle(registry, "a", "60") == 50
    assert sums(registry) == (60, 0)
    assert reserve(registry, "b", "0") is not None


def test_settling_twice_settles_once(registry: Registry) -> None:
    """Otherwise a completion that is told twice is paid twice."""
    assert reserve(registry, "a", "10") is None
    assert settle(registry, "a", "12") == 2
    assert settle(registry, "a", "12") == 2
    assert sums(registry) == (12, 0)


def test_a_receipt_without_reservation_is_charged_all_the_same(registry: Registry) -> None:
    """Otherwise a receipt that comes after its card was given up is never paid for in the books."""
    assert reserve(registry, "a", "10") is None
    assert release(registry, "a") == 10
    assert settle(registry, "a", "3", accounts=(DAY,)) == 3
    assert sums(registry) == (3, 0)


def test_releasing_twice_releases_once_and_reserving_again_reserves_again(registry: Registry) -> None:
    """Otherwise a card that is handed back and taken again runs without a reservation."""
    for _ in range(3):
        assert reserve(registry, "a", "10") is None
        assert reserve(registry, "a", "10") is None
        assert sums(registry) == (0, 10)
        assert release(registry, "a") == 10
        assert release(registry, "a") == 0
        assert sums(registry) == (0, 0)


def test_without_a_limit_nothing_is_refused_but_everything_is_counted(registry: Registry) -> None:
    """Otherwise a portfolio without a daily budget has no books."""
    assert reserve(registry, "a", "1000000", limit=None) is None
    assert sums(registry) == (0, 1000000)


def test_of_two_accounts_both_are_charged_or_none(registry: Registry) -> None:
    """Otherwise a project without money uses up everybody's day."""
    purses = [Purse("portfolio:2026-03-01", Decimal(100)), Purse("launcher:2026-03-01", Decimal(5))]
    with registry.writing() as session:
        refused = store.reserve_all(
            session, entry_key="reserve:a", purses=purses, amount=Decimal(6), subject="a", actor="test", now=NOW
        )
    assert refused is not None
    assert refused.account == DAY
    with registry.reading() as session:
        assert [balance.reserved for balance in store.balances(session)] == [0, 0]
        assert store.reserved_by(session, "a") == {}


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity", "100000000"])
def test_an_amount_that_is_none_is_refused(registry: Registry, amount: str) -> None:
    """Otherwise a negative cost refills a budget."""
    with pytest.raises(ValueError, match=r"dollars|nothing"):
        reserve(registry, "a", amount)
