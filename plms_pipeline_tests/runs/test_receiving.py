"""Is a message written into the books as what it says, and nothing made up where it is silent?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from plms_pipeline.pas.protocol import TaskCompleted
from plms_pipeline.runs.receiving import Delivered, delivered, receipt_row
from plms_pipeline_tests.runs.worked import AT, ended

CARD = {"project_id": 1, "lane_id": 4202, "provider": "card/provider", "submitted_at": AT - timedelta(minutes=5)}


def message(**more: Any) -> Delivered:
    document = {"run_id": "theirs", "task_id": "t", "attempt": 1, "status": "succeeded", **more}
    return delivered(TaskCompleted.model_validate(document), event=7, run_id="ours", received_at=AT)


def row(found: Delivered, **more: Any) -> dict[str, Any]:
    measured = {"test_pass_rate": None, "echo_cos": None, "artifacts_path": None, "now": AT, **more}
    return receipt_row(found, CARD, **measured)


def test_a_receipt_is_booked_as_it_stands_under_our_names() -> None:
    """Our id of the run, our lane: nobody chooses an easier lane by naming it."""
    found = message(receipt={**ended("theirs", "t")["receipt"], "echo_cos": 0.9, "tokens_cached": 7})
    booked = row(found)
    assert (booked["run_id"], booked["lane_id"], booked["provider"]) == ("ours", 4202, "maker/one")
    assert (booked["tokens"], booked["tokens_input"], booked["tokens_output"]) == (1507, 1000, 400)
    assert (booked["tokens_reasoning"], booked["tokens_cached"], booked["duration_ms"]) == (100, 7, 60_000)
    assert (booked["cost_usd"], booked["echo_cos"], booked["status"]) == (Decimal("0.25"), 0.9, "SUCCESS")
    assert booked["completed_on"] == AT.date()
    assert booked["natural_key"] == "ours\tt"


def test_what_we_measured_stands_before_what_the_executor_claims() -> None:
    """Echo is the cosine that we compute, never a number that somebody states."""
    found = message(receipt={**ended("theirs", "t")["receipt"], "echo_cos": 0.99})
    assert row(found, echo_cos=0.4, test_pass_rate=1.0)["echo_cos"] == 0.4


def test_sums_stand_in_for_a_missing_receipt() -> None:
    """The sources' event has no receipt, only sums; it ended when we heard of it."""
    booked = row(message(metrics={"tokens_total": 1730, "time_ms": 8500, "cost_usd": 0.12}))
    assert (booked["tokens"], booked["duration_ms"], booked["cost_usd"]) == (1730, 8500, Decimal("0.12"))
    assert (booked["started_at"], booked["completed_at"]) == (AT - timedelta(milliseconds=8500), AT)
    assert booked["provider"] == "card/provider"


def test_what_nobody_said_is_unknown_and_not_zero() -> None:
    """Zeros look like work that cost nothing, and teach so."""
    booked = row(message())
    assert {booked[name] for name in ("tokens", "duration_ms", "cost_usd", "energy_kwh", "echo_cos")} == {None}
    assert (booked["started_at"], booked["completed_at"]) == (CARD["submitted_at"], AT)


@pytest.mark.parametrize(
    ("status", "succeeded", "is_retryable", "has_receipt"),
    [
        ("succeeded", True, True, True),
        ("failed", False, True, True),
        ("cancelled", False, False, False),
        ("skipped", False, False, False),
        ("terminated", False, False, False),
        ("a word that nobody knows", False, True, True),
    ],
)
def test_how_an_attempt_ended_follows_from_the_executors_word(
    status: str, succeeded: bool, is_retryable: bool, has_receipt: bool
) -> None:
    """An unknown word is a failure; what somebody stopped is not tried again and took nothing that is known."""
    done = message(status=status).done
    assert (done.succeeded, done.is_retryable, done.has_receipt) == (succeeded, is_retryable, has_receipt)


def test_an_event_that_contradicts_its_receipt_is_no_success() -> None:
    """Of two words the worse one counts."""
    receipt = {**ended("theirs", "t", ok=False)["receipt"], "error": "out of memory"}
    done = message(status="succeeded", receipt=receipt).done
    assert (done.succeeded, done.reason) == (False, "out of memory")


def test_equal_facts_have_equal_digests_and_others_have_not() -> None:
    """A file of ours that is imported elsewhere is compared by this digest."""
    first, second = (row(message(receipt=ended("theirs", "t", cost=cost)["receipt"])) for cost in (0.25, 0.26))
    assert first["row_sha256"] == row(message(receipt=ended("theirs", "t")["receipt"]))["row_sha256"]
    assert first["row_sha256"] != second["row_sha256"]
    assert (
        first["row_sha256"]
        == row(message(receipt=ended("theirs", "t")["receipt"]), now=datetime(2030, 1, 1, tzinfo=UTC))["row_sha256"]
    )
