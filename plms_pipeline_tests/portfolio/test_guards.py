"""The launcher's guards: the order, what a refusal leaves untouched, crashes, resets, and fifty who ask at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from plms_pipeline.access.actors import Actor
from plms_pipeline.budget import store as ledger
from plms_pipeline.budget.ledger import Purse
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput, Conflict, NotFound
from plms_pipeline.portfolio.actions import guards, switches
from plms_pipeline.portfolio.actions.guards import Lease
from plms_pipeline.portfolio.buckets import Rate
from plms_pipeline.portfolio.guarding import Place, Refusal, Wish
from plms_pipeline.portfolio.policies import LauncherPolicy
from plms_pipeline.portfolio.store import passing, slots
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, LedgerEntry, ProjectRun
from plms_pipeline_tests.runs.shelf import Shelf
from plms_pipeline_tests.runs.worlds import planned_project

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANA = Actor("ana@example.com", is_verified=True)
POLICY = LauncherPolicy(3, Rate(1000.0, 1000.0), Decimal(50), "UTC", timedelta(hours=1))
_NUMBERS = count()


def ids() -> str:
    return f"id-{next(_NUMBERS)}"


def enforce(
    registry: Registry,
    cost: str = "1",
    *,
    policy: LauncherPolicy = POLICY,
    at: datetime = NOW,
    flag: str | None = None,
    holder: str = "host:1:0.00",
    is_dead: Callable[[str], bool] = lambda _: False,
) -> Lease | Refusal:
    return guards.enforce(
        registry, clock=FrozenClock(at), ids=ids, policy=policy, flag=lambda: flag, actor=ANA, holder=holder,
        cost_usd=Decimal(cost), is_dead=is_dead,
    )  # fmt: skip


def done(registry: Registry, lease: Lease, spent: str | None) -> guards.Finished:
    spent_usd = None if spent is None else Decimal(spent)
    return guards.finish(registry, lease.lease_id, clock=FrozenClock(NOW), actor=ANA, spent_usd=spent_usd)


def guard_of(answer: Lease | Refusal) -> str:
    return answer.guard if isinstance(answer, Refusal) else "passed"


def status(registry: Registry, at: datetime = NOW, policy: LauncherPolicy = POLICY) -> guards.GuardStatus:
    return guards.guard_status(registry, clock=FrozenClock(at), policy=policy, flag=lambda: None)


def test_fifty_who_ask_at_once_get_three_places(registry: Registry) -> None:
    """Otherwise a limit of three admits everybody who asks in the same instant."""
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: enforce(registry, "0.1"), range(50)))
    assert sorted(map(guard_of, answers)) == ["concurrency_limited"] * 47 + ["passed"] * 3
    assert len(status(registry).slots) == 3


@pytest.mark.live
def test_two_hundred_charges_at_once_sum_exactly(registry: Registry) -> None:
    """Otherwise parallel starts lose each other's charges."""
    policy = LauncherPolicy(1000, POLICY.rate, Decimal(50), "UTC", POLICY.lease)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: enforce(registry, "0.30", policy=policy), range(200)))
    passed = [answer for answer in answers if isinstance(answer, Lease)]
    assert len(passed) == 166  # 166 × 0.30 = 49.80
    assert status(registry, policy=policy).account.reserved == Decimal("49.80")


def test_the_first_charge_of_a_day_over_its_budget_is_refused(registry: Registry) -> None:
    """Otherwise one start in the morning spends a month's money."""
    assert guard_of(enforce(registry, "1000")) == "budget_exceeded"


def test_guards_are_asked_in_their_order(registry: Registry) -> None:
    """Otherwise a start is told to raise its budget while the kill switch is on."""
    policy = LauncherPolicy(1, Rate(1.0), Decimal(10), "UTC", POLICY.lease)
    assert guard_of(enforce(registry, "1", policy=policy)) == "passed"
    assert guard_of(enforce(registry, "100", policy=policy, flag="smoke")) == "killswitch_on"
    assert guard_of(enforce(registry, "100", policy=policy)) == "concurrency_limited"
    wide = LauncherPolicy(2, Rate(1.0), Decimal(10), "UTC", POLICY.lease)
    assert guard_of(enforce(registry, "100", policy=wide)) == "rate_limited"
    assert guard_of(enforce(registry, "100", policy=wide, at=NOW + timedelta(seconds=1))) == "budget_exceeded"


@pytest.mark.parametrize("first", ["place", "rate", "money"])
def test_a_refusal_takes_nothing(registry: Registry, first: str) -> None:
    """Otherwise each refused start keeps its tick of the rate and its place, as in the sources."""
    policy = LauncherPolicy(0 if first == "place" else 3, Rate(1.0), Decimal(10), "UTC", POLICY.lease)
    cost = "11" if first == "money" else "1"
    if first == "rate":
        passed = enforce(registry, "0", policy=policy)
        assert isinstance(passed, Lease)
        guards.finish(registry, passed.lease_id, clock=FrozenClock(NOW), actor=ANA)
    before = status(registry, policy=policy)
    assert guard_of(enforce(registry, cost, policy=policy)) != "passed"
    after = status(registry, policy=policy)
    assert (after.slots, after.tokens, after.account) == (before.slots, before.tokens, before.account)


def test_what_was_really_spent_is_settled(registry: Registry) -> None:
    """Otherwise a day's budget counts estimates for ever."""
    lease = enforce(registry, "40")
    assert isinstance(lease, Lease)
    assert guard_of(enforce(registry, "20")) == "budget_exceeded"
    assert done(registry, lease, "0.5") == guards.Finished(Decimal(0))
    assert status(registry).account.settled == Decimal("0.5")
    assert guard_of(enforce(registry, "20")) == "passed"


def test_what_was_spent_without_a_reservation_is_charged(registry: Registry) -> None:
    """`enforce` reserves nothing unless it is told to: whatever the work took then was in no book at all."""
    lease = enforce(registry, "0")
    assert isinstance(lease, Lease)
    assert done(registry, lease, "7").overrun_usd == 7
    assert status(registry).account.settled == 7


@pytest.mark.parametrize(("spent", "charged"), [("12.5", "12.5"), ("3", "3"), (None, "10")])
def test_what_a_reset_lease_took_is_charged_once(registry: Registry, spent: str | None, charged: str) -> None:
    """Otherwise a reset while work goes on hides what the work took, and the day's budget is spent a second time."""
    lease = enforce(registry, "10")
    assert isinstance(lease, Lease)
    guards.reset(registry, clock=FrozenClock(NOW), actor=ANA, reason="stuck")
    late = done(registry, lease, spent)
    assert (late.overrun_usd, late.ended) == (
        Decimal(charged), "reset by ana@example.com: stuck at 2026-03-01 12:00:00 UTC",
    )  # fmt: skip
    with pytest.raises(NotFound, match=r"settled before.*plms guard status"):
        done(registry, lease, "12.5")
    found = status(registry)
    assert [len(found.slots), found.account.settled, found.account.reserved] == [0, Decimal(charged), 0]
    with registry.reading() as session:
        kinds = session.execute(select(LedgerEntry.kind, LedgerEntry.amount_usd).order_by(LedgerEntry.id)).all()
    assert [tuple(one) for one in kinds if one[1]] == [("reserve", 10), ("release", 10), ("overrun", Decimal(charged))]


@pytest.mark.parametrize(("spent", "more"), [("12.5", "2.5"), ("3", "0")])
def test_what_an_expired_lease_took_beyond_its_reservation_is_charged_once(
    registry: Registry, spent: str, more: str
) -> None:
    """A lease that ended with its subshell counts as what it had reserved; the rest was in no book."""
    lease = enforce(registry, "10")
    assert isinstance(lease, Lease)
    assert guards.end_dead_leases(registry, clock=FrozenClock(NOW), is_dead=lambda _: True) == 1
    late = done(registry, lease, spent)
    assert late.overrun_usd == Decimal(more)
    assert "its owner died" in (late.ended or "")
    with pytest.raises(NotFound, match="settled before"):
        done(registry, lease, "100")
    assert status(registry).account.settled == 10 + Decimal(more)


def test_a_lease_that_never_was_is_told_where_those_that_are_stand(registry: Registry) -> None:
    """Whoever mistyped one needs the list, not the word no."""
    with pytest.raises(NotFound, match="no lease 'launch:x'; `plms guard status` and GET /api/guards"):
        guards.finish(registry, "launch:x", clock=FrozenClock(NOW), actor=ANA)


def test_a_lease_ends_once(registry: Registry) -> None:
    """Otherwise finishing twice gives somebody else's place back."""
    lease = enforce(registry)
    assert isinstance(lease, Lease)
    guards.finish(registry, lease.lease_id, clock=FrozenClock(NOW), actor=ANA)
    with pytest.raises(NotFound):
        guards.finish(registry, lease.lease_id, clock=FrozenClock(NOW), actor=ANA)


def test_the_place_of_an_owner_that_died_is_free_and_its_money_counts(registry: Registry) -> None:
    """Otherwise three crashes stop every start for ever, or a crash hides what was spent."""
    for _ in range(3):
        assert guard_of(enforce(registry, "1", holder="host:dead:0")) == "passed"
    assert guard_of(enforce(registry)) == "concurrency_limited"
    assert guard_of(enforce(registry, is_dead=lambda holder: "dead" in holder)) == "passed"
    found = status(registry)
    assert [len(found.slots), found.account.settled, found.account.reserved] == [1, 3, 1]


def test_a_lease_of_another_machine_ends_with_its_time(registry: Registry) -> None:
    """Otherwise a machine that was switched off keeps its places."""
    for _ in range(3):
        assert guard_of(enforce(registry)) == "passed"
    assert guard_of(enforce(registry, at=NOW + timedelta(minutes=59))) == "concurrency_limited"
    assert guard_of(enforce(registry, at=NOW + timedelta(hours=1))) == "passed"


def test_a_day_begins_at_midnight_of_the_stated_zone(registry: Registry) -> None:
    """Otherwise the budget of a team in New York is refilled at 19:00."""
    policy = LauncherPolicy(99, POLICY.rate, Decimal(50), "America/New_York", POLICY.lease)
    late = datetime(2026, 3, 2, 3, tzinfo=UTC)  # 22:00 of March 1 there
    assert guard_of(enforce(registry, "50", policy=policy)) == "passed"
    assert guard_of(enforce(registry, "1", policy=policy, at=late)) == "budget_exceeded"
    assert guard_of(enforce(registry, "1", policy=policy, at=late + timedelta(hours=2))) == "passed"


def test_a_budget_that_was_used_up_is_new_the_next_day(registry: Registry) -> None:
    """Otherwise a spent budget stops everything until somebody notices: the sources pulled the kill switch for it."""
    assert guard_of(enforce(registry, "50")) == "passed"
    assert guard_of(enforce(registry, "1")) == "budget_exceeded"
    assert not switches.status(registry, flag=lambda: None).is_on
    assert guard_of(enforce(registry, "1", at=NOW + timedelta(days=1))) == "passed"


def test_a_reset_frees_places_and_reservations_but_not_what_was_spent(registry: Registry) -> None:
    """Otherwise a reset is a way around the budget."""
    lease = enforce(registry, "10")
    assert isinstance(lease, Lease)
    guards.finish(registry, lease.lease_id, clock=FrozenClock(NOW), actor=ANA)
    assert guard_of(enforce(registry, "20")) == "passed"
    done = guards.reset(registry, clock=FrozenClock(NOW), actor=ANA, reason="stuck")
    assert [done.places, done.freed_usd] == [1, 20]
    found = status(registry)
    assert [len(found.slots), found.account.settled, found.account.reserved] == [0, 10, 0]


def test_a_replay_of_a_completed_project_holds_a_place_until_it_has_ended(registry: Registry) -> None:
    """Otherwise whoever repeats finished work spends without any limit: the project's own approval is over."""
    planned_project(registry)
    for run_id in ("r1", "r2"):
        started(registry, run_id)
    policy = LauncherPolicy(1, POLICY.rate, Decimal(50), "UTC", POLICY.lease)

    assert launch(registry, "r1", policy) == "passed"
    assert launch(registry, "r2", policy, at=NOW + timedelta(days=1)) == "concurrency_limited"
    ended(registry, "r1")
    assert launch(registry, "r2", policy) == "passed"
    found = status(registry)
    assert [found.account.settled, found.account.reserved] == [0, 5]
    assert guards.end_dead_leases(registry, clock=FrozenClock(NOW), is_dead=lambda _: True) == 0


def test_a_reset_keeps_the_place_and_the_money_of_a_run_that_goes_on(registry: Registry) -> None:
    """Freed, what it goes on to spend was nobody's: the day's budget was spent a second time, by whoever started next."""
    planned_project(registry)
    for run_id in ("r1", "r2"):
        started(registry, run_id)
        assert launch(registry, run_id) == "passed"
    took(registry, "r2", "3")
    ended(registry, "r2")
    assert guard_of(enforce(registry, "20")) == "passed"
    done = guards.reset(registry, clock=FrozenClock(NOW), actor=ANA, reason="stuck")
    # The lease is free, r2 is charged what it took, and r1 goes on.
    assert (done.places, done.kept_runs) == (1, ("r1",))
    assert done.freed_usd == 20
    found = status(registry)
    assert [[slot.run_id for slot in found.slots], found.account.settled, found.account.reserved] == [["r1"], 3, 5]
    took(registry, "r1", "7.5")
    ended(registry, "r1")
    assert guards.end_dead_leases(registry, clock=FrozenClock(NOW + timedelta(days=1)), is_dead=lambda _: False) == 1
    found = status(registry)
    assert [len(found.slots), found.account.settled, found.account.reserved] == [0, Decimal("10.5"), 0]
    with registry.reading() as session:
        (details,) = session.scalars(select(AuditEntry.details_json).where(AuditEntry.action == "guard.reset"))
    assert details["kept_runs"] == ["r1"]


def test_the_place_of_a_run_is_not_given_back_by_hand(registry: Registry) -> None:
    """Whoever settles a run that goes on settles what it has not spent yet, and its receipts are charged to nobody."""
    planned_project(registry)
    started(registry, "r1")
    assert launch(registry, "r1") == "passed"
    with pytest.raises(Conflict, match="plms run cancel r1"):
        guards.finish(registry, "run:r1", clock=FrozenClock(NOW), actor=ANA, spent_usd=Decimal(0))
    assert status(registry).account.reserved == 5
    took(registry, "r1", "2")
    ended(registry, "r1")
    assert guards.end_dead_leases(registry, clock=FrozenClock(NOW), is_dead=lambda _: False) == 1
    assert status(registry).account.settled == 2


def launch(registry: Registry, run_id: str, policy: LauncherPolicy = POLICY, *, at: datetime = NOW) -> str:
    """Start a run of a project that is not approved; what the guards say."""
    with registry.writing() as session:
        refusal = guards.pass_launcher(
            session, now=at, ids=ids, policy=policy, actor=ANA, run_id=run_id, project_id=42, amount_usd=Decimal(5)
        )
    return "passed" if refusal is None else refusal.guard


def ended(registry: Registry, run_id: str) -> None:
    """A run that ends."""
    with registry.writing() as session:
        session.execute(update(ProjectRun).where(ProjectRun.run_id == run_id).values(status="FAIL", completed_at=NOW))


def took(registry: Registry, run_id: str, usd: str) -> None:
    """A receipt of a run."""
    with registry.writing() as session:
        Shelf(registry).receipt(session, 42, run_id, "t", cost_usd=Decimal(usd))


def started(registry: Registry, run_id: str) -> None:
    """A run that was started."""
    with registry.writing() as session:
        session.execute(
            insert(ProjectRun).values(
                run_id=run_id, project_id=42, status="QUEUED", created_at=NOW, run_kind="replay", validation="pending",
                write_sandbox=False, passport_sha256="0" * 64, source="plms", provider_matrix_json="{}",
            )
        )  # fmt: skip


def test_every_answer_is_audited(registry: Registry) -> None:
    """Otherwise nobody knows who was refused, and why."""
    enforce(registry)
    enforce(registry, "1000")
    with registry.reading() as session:
        outcomes = session.scalars(select(AuditEntry.outcome).where(AuditEntry.action == "guard.enforce")).all()
    assert list(outcomes) == ["passed", "budget_exceeded"]


@pytest.mark.parametrize("cost", ["-1", "NaN", "1e12"])
def test_a_cost_that_is_none_is_refused(registry: Registry, cost: str) -> None:
    """Otherwise a negative cost refills the day's budget; and `Decimal('-1')` is what nobody typed."""
    with pytest.raises(BadInput, match=f"(?i)^{cost.replace('1e', '1E.')} .*dollars"):
        enforce(registry, cost)


def test_refusals_that_waiting_helps_say_how_long() -> None:
    """Otherwise a client hammers, or waits for what never comes."""
    assert Refusal("rate_limited", "x", 0.2).error().retry_after_s == 1
    assert Refusal("rate_limited", "x", 0.2).error().http_status == 429
    assert Refusal("concurrency_limited", "x").error().retry_after_s == 5
    assert Refusal("budget_exceeded", "x").error().retry_after_s is None
    assert Refusal("killswitch_on", "x").error().http_status == 409


def wish(lane: int, project: int | None = None, amount: str = "1") -> Wish:
    purses = () if project is None else (Purse("project:42", Decimal(5)), Purse("portfolio:2026-03-01", Decimal(100)))
    return Wish(
        "card", "dispatcher", NOW + timedelta(minutes=1), places=(Place(f"lane:{lane}", 4),), purses=purses,
        amount_usd=Decimal(amount), lane_id=lane,
    )  # fmt: skip


def test_a_card_whose_money_is_refused_gives_its_place_back_in_the_same_transaction(registry: Registry) -> None:
    """Otherwise a project without money holds the lanes of all others."""
    with registry.writing() as session:
        refused = passing.pass_guards(session, wish(5100, 42, "6"), flag=None, now=NOW, ids=ids)
        assert refused is not None
        assert refused.guard == "budget_exceeded"
    with registry.reading() as session:
        assert slots.open_counts(session) == {}
        assert ledger.reserved_by(session, "card") == {}


def test_a_card_that_did_not_go_out_gives_back_all_it_held(registry: Registry) -> None:
    """Otherwise an executor that is away uses up every lane and every budget."""
    wanted = wish(5100, 42)
    for _ in range(2):
        with registry.writing() as session:
            assert passing.pass_guards(session, wanted, flag=None, now=NOW, ids=ids) is None
            assert len(ledger.reserved_by(session, "card")) == 2
        with registry.writing() as session:
            passing.give_back(session, wanted, now=NOW, reason="executor away")
    with registry.reading() as session:
        assert slots.open_counts(session) == {}
        assert [balance.reserved for balance in ledger.balances(session)] == [0, 0]


def test_a_switch_of_a_lane_stops_only_that_lane(registry: Registry) -> None:
    """Otherwise one sick lane stops the portfolio."""
    switches.turn_on(registry, clock=FrozenClock(NOW), ids=ids, actor=ANA, reason="sick", scope="lane", subject="5100")
    with registry.writing() as session:
        stopped = passing.pass_guards(session, wish(5100), flag=None, now=NOW, ids=ids)
        assert stopped is not None
        assert stopped.guard == "killswitch_on"
        assert passing.pass_guards(session, wish(5101), flag=None, now=NOW, ids=ids) is None


def test_a_folder_in_the_flags_place_counts_as_raised(tmp_path: Path) -> None:
    """Otherwise `mkdir KILLSWITCH`, the atomic way to raise a flag, stops nothing."""
    from plms_pipeline.portfolio import files

    assert files.flag_reason(tmp_path) is None
    (tmp_path / files.FLAG).mkdir()
    assert "cannot be read" in (files.flag_reason(tmp_path) or "")
    (tmp_path / files.FLAG).rmdir()
    files.raise_flag(tmp_path, "fire")
    assert files.flag_reason(tmp_path) == "fire"
    assert files.lower_flag(tmp_path)
    assert not files.lower_flag(tmp_path)
