"""Is an event kept whatever it claims, and believed only where it is possible?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput, PlmsError
from plms_pipeline.intake.events import Limits, Refused, envelope, message_of
from plms_pipeline.pas.protocol import CompletionHint, RunCompleted, TaskCompleted
from plms_pipeline.registry.types import canonical_json

LIMITS = Limits(
    Decimal(10_000), 30 * 86_400_000, 10**9, datetime(2023, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
)
TASK: dict[str, Any] = {"run_id": "r-1", "task_id": "t", "attempt": 2, "status": "succeeded"}
RECEIPT: dict[str, Any] = {
    "run_id": "r-1", "task_id": "t", "attempt": 2, "lane": 4200, "provider": "p", "time_ms": 1000, "cost_usd": 0.1,
    "status": "succeeded", "started_at": "2026-03-01T11:00:00Z", "completed_at": "2026-03-01T11:30:00Z",
}  # fmt: skip


def body(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_an_event_says_which_run_task_and_attempt_it_is_about() -> None:
    """These are what a person searches for."""
    found = envelope(body(TASK))
    assert (found.run_id, found.task_id, found.attempt, found.status) == ("r-1", "t", 2, "succeeded")


def test_task_ids_that_are_numbers_are_the_same_as_their_text() -> None:
    """The sources write them both ways, and one event must not have two ids."""
    number, text = envelope(body({**TASK, "task_id": 7})), envelope(body({**TASK, "task_id": "7"}))
    assert number.task_id == text.task_id == "7"
    assert number.derived_id("task_completed") == text.derived_id("task_completed")


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"null", b"[]", b"3", b'"x"', b"{", b"\xff", b'{"run_id": "a"', b"[" * 100_000, b'{"a": 1e}',
        b'{"run_id": "r", "x": ' + b"[" * 40 + b"]" * 40 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused_at_the_door(wrong: bytes) -> None:
    """With 400, so that whoever sends it learns of it; the executor's own events never look so."""
    with pytest.raises(PlmsError) as caught:
        envelope(wrong)
    assert (caught.value.code, caught.value.http_status) == ("bad_event", 400)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"run_id": None}, {"run_id": ""}, {"run_id": "a\nb"}, {"run_id": ["r"]}, {"run_id": True}, {"run_id": "r" * 256},
     {"run_id": "r", "attempt": 0}, {"run_id": "r", "attempt": 1.5}, {"run_id": "r", "attempt": True},
     {"run_id": "r", "attempt": 10**40}, {"run_id": "r", "task_id": {}}],
)  # fmt: skip
def test_an_event_of_no_run_or_of_impossible_form_is_refused_at_the_door(wrong: dict[str, Any]) -> None:
    """What cannot be found again is not kept."""
    with pytest.raises(PlmsError) as caught:
        envelope(body(wrong))
    assert (caught.value.code, caught.value.http_status) == ("bad_event", 422)


@pytest.mark.parametrize(
    "text",
    [
        '{"run_id": "r", "x": NaN}', '{"run_id": "r", "x": -Infinity}', '{"run_id": "r", "x": 1e999}',
        '{"run_id": "r", "x": ' + "9" * 10_000 + "}", '{"run_id": "r", "x": "\\ud800", "\\u0000": 1}',
    ],
)  # fmt: skip
def test_what_no_database_can_hold_is_kept_as_text(text: str) -> None:
    """An executor that sends NaN sends it again until it is acknowledged; kept, it can be looked at."""
    stored = canonical_json(envelope(text.encode()).document)
    assert "\x00" not in stored
    stored.encode("utf-8")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_json_is_kept_or_refused_and_never_breaks(value: Any) -> None:
    """The address is open to the world."""
    try:
        found = envelope(json.dumps({"run_id": "r", "value": value}).encode())
    except BadInput:
        return
    text = canonical_json(found.document)
    assert canonical_json(json.loads(text)).encode("utf-8") == text.encode("utf-8")
    assert isinstance(message_of(found.document, LIMITS), CompletionHint | Refused)


def test_what_an_event_is_follows_from_what_it_holds() -> None:
    """The guides send all kinds to one address."""
    assert isinstance(message_of(TASK, LIMITS), TaskCompleted)
    assert isinstance(message_of({"run_id": "r", "project_id": 42}, LIMITS), CompletionHint)
    summary = {"tasks_total": 1, "tasks_succeeded": 1, "tasks_failed": 0, "spend_usd": 1}
    assert isinstance(message_of({"run_id": "r", "validation_pass": True, "summary": summary}, LIMITS), RunCompleted)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cost_usd", -0.01), ("cost_usd", "NaN"), ("cost_usd", 10_000.01), ("time_ms", -1), ("time_ms", 31 * 86_400_000),
        ("tokens_in", 2**63), ("tokens_in", 1.5), ("tokens_cached", 10**9 + 1), ("energy_kwh", "Infinity"), ("echo_cos", 1.01),
        ("completed_at", "2026-03-01T10:59:59Z"), ("completed_at", "2026-03-02T00:00:00Z"),
        ("completed_at", "2026-03-01T11:30:00"),
        ("started_at", "2020-01-01T00:00:00Z"), ("task_id", "other"), ("attempt", 1), ("status", "fine"), ("provider", ""),
    ],
)  # fmt: skip
def test_a_receipt_that_cannot_be_true_refuses_its_event_and_says_which_field(field: str, value: Any) -> None:
    """One impossible number in the books poisons every prior that it touches."""
    found = message_of({**TASK, "receipt": {**RECEIPT, field: value}}, LIMITS)
    assert isinstance(found, Refused)
    assert found.reason.startswith("receipt")


def test_sums_beyond_the_limits_refuse_their_event_too() -> None:
    """An event without a receipt is booked from its sums."""
    found = message_of({**TASK, "metrics": {"cost_usd": 1e6}}, LIMITS)
    assert isinstance(found, Refused)
    assert found.reason.startswith("metrics.cost_usd")


def test_a_possible_event_is_believed() -> None:
    """The rules must let the truth through."""
    found = message_of({**TASK, "receipt": RECEIPT, "kpis": [{"name": "x", "pass": True}]}, LIMITS)
    assert isinstance(found, TaskCompleted)
    assert found.receipt is not None
    assert found.receipt.cost_usd == Decimal("0.1")
