"""The arithmetic of the purse, and any sequence of its movements against a ledger kept by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as checked
from hypothesis import strategies as st

from plms_pipeline.budget import store
from plms_pipeline.budget.ledger import (
    LAUNCHER,
    Balance,
    admission,
    budget_day,
    checked_usd,
    daily_account,
    project_account,
    settlement,
)
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project
from plms_pipeline_tests.runs.worlds import planned_project

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USD = st.decimals(min_value=0, max_value=1000, places=6, allow_nan=False, allow_infinity=False)


@given(reserved=USD, spent=USD)
def test_a_settlement_loses_no_cent(reserved: Decimal, spent: Decimal) -> None:
    """Otherwise the books drift from the bill, a micro-dollar at a time."""
    moves = settlement(reserved, spent)
    assert moves.settled + moves.overrun == spent
    assert moves.settled + moves.released == reserved
    assert min(moves.settled, moves.released, moves.overrun) >= 0


@given(limit=USD, settled=USD, reserved=USD, amount=USD)
def test_what_is_admitted_never_passes_the_limit(
    limit: Decimal, settled: Decimal, reserved: Decimal, amount: Decimal
) -> None:
    """Otherwise a budget is a suggestion."""
    is_admitted = admission(Balance("a", limit, settled, reserved), amount) is None
    assert is_admitted == (settled + reserved + amount <= limit)


def test_a_day_is_that_of_the_stated_zone() -> None:
    """Otherwise the machine's own zone decides when a budget is new."""
    late = datetime(2026, 3, 2, 3, tzinfo=UTC)
    assert daily_account(LAUNCHER, late, "UTC") == "launcher:2026-03-02"
    assert daily_account(LAUNCHER, late, "America/New_York") == "launcher:2026-03-01"
    # The night in which 02:00 never comes, and the one in which 01:30 comes twice.
    assert budget_day(datetime(2026, 3, 8, 6, 59, tzinfo=UTC), "America/New_York").day == 8
    assert budget_day(datetime(2026, 11, 1, 5, 30, tzinfo=UTC), "America/New_York").day == 1
    assert budget_day(datetime(2026, 11, 1, 6, 30, tzinfo=UTC), "America/New_York").day == 1


@pytest.mark.parametrize("amount", ["-0.01", "NaN", "inf", "1e9"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    """Otherwise one wrong number poisons an account for ever."""
    with pytest.raises(ValueError, match=r"dollars|nothing"):
        checked_usd(amount)


MOVES = st.lists(
    st.tuples(st.sampled_from(["reserve", "settle", "release", "charge"]), st.sampled_from("abc"), st.integers(0, 40)),
    max_size=25,
)
LIMIT = Decimal(60)
# Examples share a database: each has an account of its own.
_FRESH = count()


class ByHand:
    """What the account should hold."""

    def __init__(self) -> None:
        self.reserved: dict[str, Decimal] = {}
        self.settled = Decimal(0)
        self.done: set[str] = set()

    @property
    def total(self) -> Decimal:
        return self.settled + sum(self.reserved.values(), Decimal(0))

    def move(self, kind: str, subject: str, amount: Decimal) -> bool:
        """Whether it is admitted."""
        key = f"{kind}:{subject}"
        if kind == "release":
            self.reserved.pop(subject, None)
        elif kind == "settle" and key not in self.done:
            self.reserved.pop(subject, None)
            self.settled += amount
            self.done.add(key)
        elif kind == "reserve" and subject not in self.reserved:
            if self.total + amount > LIMIT:
                return False
            if amount:
                self.reserved[subject] = amount
        elif kind == "charge" and key not in self.done:
            if self.total + amount > LIMIT:
                return False
            self.settled += amount
            self.done.add(key)
        return True


def play(registry: Registry, moves: list[tuple[str, str, int]], account: str) -> ByHand:
    """Make the movements in the books and by hand, comparing after each."""
    hand = ByHand()
    for kind, subject, units in moves:
        amount, name = Decimal(units) / 3, f"{account}/{subject}"
        amount = checked_usd(amount)
        facts = {"entry_key": f"{kind}:{name}", "subject": name, "actor": "test", "now": NOW}
        admitted = True
        with registry.writing() as session:
            if kind == "reserve":
                refused = store.reserve(session, account=account, amount=amount, limit=LIMIT, **facts)  # type: ignore[arg-type]  # one dictionary for all
                admitted = refused is None
            elif kind == "charge":
                refused = store.charge(session, purses=[store.Purse(account, LIMIT)], amount=amount, **facts)  # type: ignore[arg-type]  # as above
                admitted = refused is None
            elif kind == "settle":
                store.settle(session, amount=amount, accounts=(account,), **facts)  # type: ignore[arg-type]  # as above
            else:
                store.release(session, **facts)  # type: ignore[arg-type]  # as above
        assert admitted == hand.move(kind, subject, amount)
        with registry.reading() as session:
            found = store.balance(session, account)
            held = {sub: sum(store.reserved_by(session, f"{account}/{sub}").values()) for sub in hand.reserved}
        if found is not None:
            assert [found.settled, found.reserved] == [hand.settled, sum(hand.reserved.values())]
        assert held == hand.reserved
    return hand


@checked(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_any_sequence_of_movements_is_what_a_hand_would_have_kept(
    sqlite_registry: Registry, moves: list[tuple[str, str, int]]
) -> None:
    """Otherwise some order of retries, late receipts and releases makes money appear or vanish."""
    hand = play(sqlite_registry, moves, f"x:{next(_FRESH)}")
    # Bills that come are booked in full; nothing but them passes the limit.
    billed = sum((checked_usd(Decimal(units) / 3) for kind, _, units in moves if kind == "settle"), Decimal(0))
    assert hand.total <= LIMIT + billed


def test_the_same_sequence_on_postgresql(postgres_registry_url: str) -> None:
    """Otherwise the two databases keep different books."""
    registry = Registry.open(postgres_registry_url)
    moves = [
        ("reserve", "a", 30), ("reserve", "a", 40), ("reserve", "b", 100), ("settle", "a", 39), ("settle", "a", 39),
        ("release", "a", 0), ("reserve", "b", 10), ("release", "b", 0), ("reserve", "b", 12), ("settle", "c", 7),
        ("charge", "c", 5), ("charge", "c", 5), ("settle", "b", 200), ("reserve", "a", 1),
    ]  # fmt: skip
    hand = play(registry, moves, "x:1")
    registry.close()
    # 39/3 for a, 7/3 and 5/3 for c, 200/3 for b; the last reservation finds the limit passed.
    assert (hand.settled, hand.reserved) == (Decimal("83.666667"), {})


def test_a_project_that_spent_before_it_had_an_account_is_not_given_its_budget_again(registry: Registry) -> None:
    """Otherwise the day on which the ledger comes doubles every budget."""
    planned_project(registry, budget_usd=Decimal(10))
    with registry.writing() as session:
        purse = store.project_purse(session, 42, now=NOW)
        assert purse == store.Purse(project_account(42), Decimal(10))
        facts = {"entry_key": "settle:x", "subject": "x", "actor": "test", "now": NOW, "accounts": ("project:42",)}
        store.settle(session, amount=Decimal(4), **facts)  # type: ignore[arg-type]  # one dictionary
        assert store.project_purse(session, 42, now=NOW) == purse
        found = store.balance(session, "project:42")
    assert found is not None
    assert found.settled == 4
    with registry.writing() as session:
        session.get_one(Project, 42).budget_cost_usd_max = Decimal(20)
        session.flush()
        assert store.project_purse(session, 42, now=NOW).limit == 20
