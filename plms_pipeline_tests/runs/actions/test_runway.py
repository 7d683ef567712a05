"""What the runway of a project is read from: the ledger, the receipts of what runs, and what is believed of what is left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, update

from plms_pipeline.budget import store as ledger
from plms_pipeline.budget.ledger import project_account
from plms_pipeline.errors import NotFound
from plms_pipeline.estimates.attempts import belief_of_interval
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    EstimateVersion,
    IntervalCorrection,
    JobCard,
    Project,
    ProjectPolicy,
    ProjectRun,
    RunTask,
    TaskPlan,
)
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.actions.runway import budget_runway
from plms_pipeline_tests.runs.shelf import FORECAST, Shelf
from plms_pipeline_tests.runs.worked import AT, Watch

# A task that is believed to take 0.30 and surely does not take less than 0.10 or more than 0.70, once.
BELIEF = belief_of_interval(0.3, 0.1, 0.7, 0.0)


@pytest.fixture
def shelf(registry: Registry) -> Shelf:
    return Shelf(registry)


def seen(shelf: Shelf, number: int = 42, **after: float) -> dict[str, Any]:
    return budget_runway(shelf.registry, number, clock=Watch(AT + timedelta(**after)))


def learn(shelf: Shelf, belief: Mapping[str, float], *, version: int = 1, provider: str = "m") -> None:
    with shelf.registry.writing() as session:
        session.execute(
            insert(EstimateVersion).values(
                lane_id=4200, provider_name=provider, basis="spend", version=version, created_at=AT, as_of=AT,
                priors_hash=f"{version}", source_digest="x", run_kind="baseline", write_sandbox=False, n_observations=9,
                priors_json=canonical_json({"cost_usd": {"attempt": dict(belief)}}),
            )
        )  # fmt: skip


def wait_for(shelf: Shelf, run_id: str, task: str, *, attempt: int = 1) -> None:
    """A task that has not ended, with the cards of its attempts so far."""
    with shelf.registry.writing() as session:
        session.execute(
            insert(RunTask).values(
                run_id=run_id, task_id=task, lane_id=4200, provider="m", status="QUEUED", queued_at=AT
            )
        )
        for number in range(1, attempt + 1):
            session.execute(
                insert(JobCard).values(
                    card_key=str(uuid4()), run_id=run_id, task_id=task, attempt=number, lane_id=4200, provider="m",
                    state="ENDED" if number < attempt else "WAITING", created_at=AT,
                )
            )  # fmt: skip


def test_an_unknown_project_has_no_runway(shelf: Shelf) -> None:
    """The original answered any id with the same numbers."""
    with pytest.raises(NotFound):
        seen(shelf, 7)


def test_what_was_spent_is_what_the_ledger_settled_and_reservations_stand_beside_it(shelf: Shelf) -> None:
    """Admission asks the ledger: a page that adds up something else shows room where none is."""
    run_id = shelf.project(42, tokens=[3000, 3000])
    assert seen(shelf)["budget"]["usd_spent"] == 0.4
    with shelf.registry.writing() as session:
        purse = ledger.project_purse(session, 42, now=AT)
        ledger.reserve(
            session, entry_key="reserve:c", account=purse.account, amount=Decimal("0.3"), limit=purse.limit, subject="c",
            actor="t", now=AT, project_id=42, run_id=run_id,
        )  # fmt: skip
    assert seen(shelf)["budget"] == {"usd_max": 2.0, "usd_spent": 0.4, "usd_reserved": 0.3, "burn_per_min": 0.4 * 60}
    with shelf.registry.writing() as session:
        ledger.settle(
            session, entry_key="settle:c", subject="c", amount=Decimal("0.5"), actor="t", now=AT,
            accounts=[project_account(42)], project_id=42, run_id=run_id,
        )  # fmt: skip
    assert (seen(shelf)["budget"]["usd_spent"], seen(shelf)["budget"]["usd_reserved"]) == (0.9, 0.0)


def test_burn_is_that_of_the_last_ten_minutes_else_of_the_run_so_far(shelf: Shelf) -> None:
    """Four receipts of 0.20 ended in minute five: seen at minute eight, and at minute twenty no longer in the window."""
    shelf.project(42, tokens=[1, 1, 1, 1])
    early, late = seen(shelf, minutes=8), seen(shelf, minutes=20)
    assert early["budget"]["burn_per_min"] == pytest.approx(0.1)
    assert early["runway"]["minutes_to_depletion"] == pytest.approx(12.0)
    # Four equal receipts: c² = 3 · (e^1.44 - 1) / 6 = 1.610 of costs and of durations. The sooner end is the root s = 2.957 of
    # s² = 1.645² (3.221 / 4 + log(1 + 3.221 · 0.20 / 1.20 · e^s)), the later one, with 1.461 for 1.20 and e^-s, 1.555.
    low, high = early["runway"]["minutes_to_depletion_ci_90"]
    assert (low, high) == (pytest.approx(0.62, abs=0.01), pytest.approx(69.21, abs=0.01))
    assert late["budget"]["burn_per_min"] == pytest.approx(0.04)
    assert late["runway"]["minutes_to_depletion"] == pytest.approx(30.0)


def test_nothing_burns_before_the_start_and_after_the_end(shelf: Shelf) -> None:
    """No burn is unknown, never infinite or zero minutes."""
    run_id = shelf.project(42, tokens=[1])
    with shelf.registry.writing() as session:
        session.execute(update(ProjectRun).where(ProjectRun.run_id == run_id).values(status="SUCCESS", completed_at=AT))
    found = seen(shelf, minutes=6)
    assert (found["budget"]["burn_per_min"], found["runway"]["minutes_to_depletion"]) == (None, None)
    assert found["runway"]["projected_final_ci_90"] == [0.2, 0.2]
    assert (found["left"], found["status"]) == ({"tasks": 0, "tasks_without_forecast": 0, "repriced": []}, "ok")


def test_a_project_of_receipts_without_a_price_has_spent_nothing_known(shelf: Shelf) -> None:
    """Dollars may be unknown, and zero dollars divide by zero on one of the two databases."""
    run_id = shelf.project(42, tokens=[])
    with shelf.registry.writing() as session:
        shelf.receipt(session, 42, run_id, "t0", cost_usd=None)
        shelf.receipt(session, 42, run_id, "t1", cost_usd=Decimal(0))
    assert seen(shelf, minutes=6)["budget"]["burn_per_min"] is None


def test_the_last_task_is_forecast_by_the_newest_prior_with_its_correction(shelf: Shelf) -> None:
    """A forecast that does not learn from what was spent is the plan once more."""
    run_id = shelf.project(42, tokens=[1, 1])
    wait_for(shelf, run_id, "next")
    learn(shelf, belief_of_interval(9.0, 8.0, 10.0, 0.0).as_json())
    learn(shelf, BELIEF.as_json(), version=2)
    found = seen(shelf)
    assert found["runway"]["projected_final_usd"] == pytest.approx(0.4 + BELIEF.median, abs=1e-6)
    assert found["runway"]["projected_final_ci_90"] == pytest.approx([0.5, 1.1])
    with shelf.registry.writing() as session:
        for day, value in ((date(2026, 2, 27), 0.9), (date(2026, 2, 28), 1.2)):
            session.execute(
                insert(IntervalCorrection).values(
                    lane_id=4200, measure="cost_usd", basis="spend", day=day, value=value, n=9
                )
            )
    low, high = seen(shelf)["runway"]["projected_final_ci_90"]
    assert (low, high) == pytest.approx((0.4 + BELIEF.corrected(1.2).low, 0.4 + BELIEF.corrected(1.2).high))


def test_attempts_that_were_used_up_are_not_forecast_again(shelf: Shelf) -> None:
    """A task in its third attempt of three takes one more, a fresh one up to three."""
    run_id = shelf.project(42, tokens=[1, 1])
    coin = BELIEF.as_json() | {"ended": 1e6, "repeated": 1e6}
    learn(shelf, coin)
    with shelf.registry.writing() as session:
        session.execute(insert(ProjectPolicy).values(project_id=42, owner="o", max_attempts=3, updated_at=AT))
    wait_for(shelf, run_id, "last", attempt=3)
    last = seen(shelf)["runway"]["projected_final_ci_90"]
    assert last == pytest.approx([0.5, 1.1])
    wait_for(shelf, run_id, "next")
    both = seen(shelf)
    assert both["left"]["tasks"] == 2
    assert both["runway"]["projected_final_ci_90"][1] > 1.6


def test_before_any_receipt_the_plan_is_believed_and_without_a_plan_nothing(shelf: Shelf) -> None:
    """What nobody estimated is not free: counting it as nothing made every such project look cheap."""
    run_id = shelf.project(42, tokens=[1, 1])
    wait_for(shelf, run_id, "next")
    assert seen(shelf)["runway"]["projected_final_ci_90"] == pytest.approx([0.5, 0.9])
    with shelf.registry.writing() as session:
        session.execute(update(TaskPlan).values(forecast_json=None))
    found = seen(shelf, minutes=60)
    assert found["left"] == {"tasks": 1, "tasks_without_forecast": 1, "repriced": []}
    assert found["runway"]["projected_final_usd"] is None
    assert found["runway"]["overrun_probability"] is None
    assert found["status"] == "warning"


def test_a_project_that_was_not_started_is_forecast_whole(shelf: Shelf) -> None:
    """Its owner asks before the start what it will cost; a cancelled one costs nothing more."""
    run_id = shelf.project(42, tokens=[1, 1, 1])
    with shelf.registry.writing() as session:
        session.execute(update(ProjectRun).where(ProjectRun.run_id == run_id).values(project_id=shelf.other(session)))
        session.execute(update(TaskPlan).values(forecast_json=FORECAST))
    found = seen(shelf)
    assert found["left"] == {"tasks": 3, "tasks_without_forecast": 0, "repriced": []}
    assert found["runway"]["projected_final_usd"] > found["budget"]["usd_spent"]
    with shelf.registry.writing() as session:
        session.execute(update(Project).where(Project.id == 42).values(status="cancelled"))
    assert seen(shelf)["left"]["tasks"] == 0
