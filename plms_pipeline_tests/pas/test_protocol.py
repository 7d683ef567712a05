"""Do messages say what they mean, and nothing else?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from plms_pipeline.pas.protocol import (
    JobCard,
    RunStatus,
    StartRun,
    TaskCompleted,
    TaskReceiptMessage,
    has_succeeded,
    is_ended,
    problem_of,
)

START: dict[str, Any] = {
    "project_id": 42, "run_id": "run-1", "run_kind": "baseline", "tasks_total": 3, "passport_sha256": "a" * 64,
    "provider_matrix": {"openai/gpt-4": "gpt-4-0613"},
}  # fmt: skip
CARD: dict[str, Any] = {
    "card_key": "k1", "run_id": "run-1", "task_id": "t1", "project_id": 42, "lane": 4200, "provider": "openai/gpt-4",
}  # fmt: skip
RECEIPT: dict[str, Any] = {
    "task_id": "t1", "run_id": "run-1", "lane": 4200, "provider": "p", "time_ms": 5, "cost_usd": 0.1, "status": "succeeded",
    "started_at": "2026-03-01T12:00:00Z", "completed_at": "2026-03-01T12:05:00Z",
}  # fmt: skip


def test_a_misspelt_budget_is_not_ignored() -> None:
    """A cap that the executor never sees is discovered by the bill."""
    with pytest.raises(ValidationError, match="budget_used"):
        JobCard.model_validate({**CARD, "budget_used": 1})
    with pytest.raises(ValidationError, match="budget_us"):
        StartRun.model_validate({**START, "budget_caps": {"budget_us": 1}})


def test_a_newer_executor_may_say_more_than_we_know() -> None:
    """An upgrade of the executor must not stop every completion."""
    receipt = TaskReceiptMessage.model_validate({**RECEIPT, "carbon_kg": 0.2})
    assert receipt.time_ms == 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.000001, True, "much"])
@pytest.mark.parametrize("field", ["cost_usd", "time_ms", "tokens_in", "energy_kwh"])
def test_numbers_are_finite_and_not_negative(field: str, value: object) -> None:
    """A NaN cost made every sum after it NaN; a negative one refilled budgets."""
    with pytest.raises(ValidationError):
        TaskReceiptMessage.model_validate({**RECEIPT, field: value})


@pytest.mark.parametrize(
    "changed", [{"tasks_total": 0}, {"run_kind": "experiment"}, {"run_id": "../x"}, {"run_id": ""}]
)
def test_a_start_that_means_nothing_is_refused_before_it_is_sent(changed: dict[str, Any]) -> None:
    """A run of zero tasks is complete at once; an unknown kind teaches the priors what it should not."""
    with pytest.raises(ValidationError):
        StartRun.model_validate({**START, **changed})


@pytest.mark.parametrize(
    "more",
    [
        {"payload": {"command": ["a\0b"]}}, {"payload": {"command": []}}, {"payload": {"artifacts_dir": "/a\0"}},
        {"project_id": 2**63}, {"attempt": 0}, {"lane": -1}, {"lane": 70_000}, {"priority": 1.5}, {"budget_usd": 1e9},
    ],
)  # fmt: skip
def test_what_no_machine_can_do_is_refused_at_the_door(more: dict[str, Any]) -> None:
    """Past the door a zero byte, or a number that no column holds, fails where nobody expects it, again and again."""
    with pytest.raises(ValidationError):
        JobCard.model_validate({**CARD, **more})


@pytest.mark.parametrize("name", ["a\nb", "..", "a/../b", "\x00", " a", ""])
def test_identifiers_carry_no_tricks(name: str) -> None:
    """Task names become parts of paths and of log lines."""
    with pytest.raises(ValidationError):
        JobCard.model_validate({**CARD, "task_id": name})


@pytest.mark.parametrize("name", ["Qwen2.5-Coder 32B Instruct", "azure|gpt-4 & co", "名前", "a'b\"c"])
def test_providers_are_called_what_others_call_them(name: str) -> None:
    """Receipts come with the names of other people's models; a name that we do not like must not stop the work."""
    card = JobCard.model_validate({**CARD, "provider": name, "provider_version": name})
    assert JobCard.model_validate_json(card.model_dump_json()) == card
    with pytest.raises(ValidationError):
        JobCard.model_validate({**CARD, "provider": name + "\n"})


@given(st.decimals(min_value=0, max_value=Decimal("99999999.999999"), places=6))
def test_money_survives_the_wire_to_the_last_digit(usd: Decimal) -> None:
    """JSON has only doubles; a budget that loses a micro-dollar on the way is another budget."""
    sent = JobCard.model_validate({**CARD, "budget_usd": usd}).model_dump_json()
    assert isinstance(json.loads(sent)["budget_usd"], float)
    assert JobCard.model_validate_json(sent).budget_usd == usd


def test_the_words_of_the_sources_are_understood() -> None:
    """Executors that follow the published protocol say idempotency_key, duration_ms, cost, lane_id."""
    card = JobCard.model_validate({**{k: v for k, v in CARD.items() if k != "card_key"}, "idempotency_key": "k9"})
    assert card.card_key == "k9"
    plain = {key: value for key, value in RECEIPT.items() if key not in ("time_ms", "cost_usd", "lane")}
    receipt = TaskReceiptMessage.model_validate({**plain, "duration_ms": 7, "cost": 0.2, "lane_id": 4201})
    assert (receipt.time_ms, receipt.cost_usd, receipt.lane) == (7, Decimal("0.200000"), 4201)
    event = TaskCompleted.model_validate(
        {"task_id": "t", "run_id": "r", "status": "succeeded", "kpis": [{"name": "n", "value": 1, "pass": False}]}
    )
    assert event.kpis[0].passed is False


def test_one_bad_receipt_does_not_hide_the_other_tasks() -> None:
    """Reconciliation that fails as a whole leaves every task of the run hanging because one cost was NaN."""
    task = {"task_id": "t1", "lane": 4200, "status": "succeeded"}
    status = RunStatus.model_validate(
        {
            "run_id": "run-1", "status": "executing", "tasks_total": 2, "tasks_completed": 2, "tasks_failed": 0, "spend_usd": 1,
            "tasks": [{**task, "receipt": {**RECEIPT, "cost_usd": -1}}, {**task, "task_id": "t2", "receipt": RECEIPT}],
        }
    )  # fmt: skip
    first, second = status.tasks
    assert first.receipt is None
    assert first.receipt_problem is not None
    assert first.receipt_problem.startswith("cost_usd:")
    assert second.receipt is not None
    assert second.receipt_problem is None


def test_moments_are_aware_and_in_order() -> None:
    """A naive time is read in the zone of whoever reads it; an end before the start makes negative durations."""
    with pytest.raises(ValidationError):
        TaskReceiptMessage.model_validate({**RECEIPT, "started_at": "2026-03-01T12:00:00"})
    with pytest.raises(ValidationError, match="before started_at"):
        TaskReceiptMessage.model_validate({**RECEIPT, "completed_at": "2026-03-01T11:59:59Z"})
    receipt = TaskReceiptMessage.model_validate({**RECEIPT, "started_at": "2026-03-01T13:00:00+01:00"})
    assert receipt.started_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert receipt.started_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("state", "ended", "good"),
    [
        ("queued", False, False), ("RUNNING", False, False), ("waiting_io", False, False), ("paused", False, False),
        ("succeeded", True, True), ("completed", True, True), ("failed", True, False), ("needs_review", True, False),
        ("exploded", True, False),
    ],
)  # fmt: skip
def test_a_state_that_nobody_defined_is_a_bad_end(state: str, ended: bool, good: bool) -> None:
    """Read as harmless, an unknown state leaves its run open for ever or lets it pass."""
    assert (is_ended(state), has_succeeded(state)) == (ended, good)


def test_a_problem_names_field_and_rule_but_never_the_value() -> None:
    """What is wrong with a message goes to logs, and messages may hold secrets."""
    with pytest.raises(ValidationError) as raised:
        JobCard.model_validate({**CARD, "payload": {"command": ["a"], "password": "hunter2"}})
    assert problem_of(raised.value) == "payload.password: Extra inputs are not permitted"


def test_unknown_token_counts_stay_unknown() -> None:
    """Zero for unknown teaches the priors that work is free."""
    assert TaskReceiptMessage.model_validate(RECEIPT).tokens_total is None
    assert TaskReceiptMessage.model_validate({**RECEIPT, "tokens_in": 0, "tokens_out": 3}).tokens_total == 3
