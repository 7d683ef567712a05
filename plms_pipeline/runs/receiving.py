"""What did an attempt take, by the executor's message, and how is that written into the books?

The receipt when the message holds one, else its sums; else nothing is known but that it ended. Unknown stays unknown: the
sources wrote zeros, which look like work that cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from plms_pipeline.intake.identity import SEPARATOR, row_digests
from plms_pipeline.letters.reasons import POLICY, classify
from plms_pipeline.pas.protocol import SUCCEEDED, TaskCompleted, has_succeeded
from plms_pipeline.runs.settling import Completion

SOURCE: Final = "plms"
# Ends that somebody else made: trying again would undo what was decided.
STOPPED: Final = frozenset({"cancelled", "canceled", "skipped", "terminated"})
# The columns that `row_sha256` covers, in this order.
_HASHED: Final = (
    "run_id", "task_id", "attempt", "lane_id", "provider", "tokens", "tokens_input", "tokens_output", "tokens_cached",
    "tokens_reasoning", "duration_ms", "cost_usd", "energy_kwh", "echo_cos", "test_pass_rate", "status", "started_at",
    "completed_at",
)  # fmt: skip
COLUMNS: Final = (
    *_HASHED, "project_id", "completed_on", "api_calls", "time_precision", "natural_key", "artifacts_path", "source",
    "source_file_sha256", "row_sha256", "recorded_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Taken:
    """What one attempt took. Tokens, ms, USD; None: unknown. `started_at` None: unknown, `provider` None: the card's."""

    completed_at: datetime
    started_at: datetime | None = None
    tokens: int | None = None
    tokens_input: int | None = None
    tokens_output: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None
    duration_ms: int | None = None
    cost_usd: Decimal | None = None
    energy_kwh: float | None = None
    echo_cos: float | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message about an ended attempt: what ended, and what it took."""

    done: Completion
    taken: Taken


def delivered(message: TaskCompleted, *, event: int, run_id: str, received_at: datetime) -> Delivered:
    """A message as settlement reads it.

    Args:
        event: the row of the inbox.
        run_id: our id of the run, whatever the message calls it.
        received_at: when the event came; the end of the work when the message does not say.
    """
    receipt, metrics = message.receipt, message.metrics
    succeeded = has_succeeded(message.status) and (receipt is None or receipt.status in SUCCEEDED)
    is_stopped = message.status.lower() in STOPPED
    knows = receipt is not None or any(
        value is not None for value in (metrics.tokens_total, metrics.time_ms, metrics.cost_usd)
    )
    reason = None
    if not succeeded:
        reason = (receipt.error if receipt is not None else None) or f"the executor says {message.status}"
    done = Completion(
        event=event,
        run_id=run_id,
        task_id=message.task_id,
        attempt=message.attempt,
        succeeded=succeeded,
        has_receipt=knows or not is_stopped,
        # How often work is tried within its run is the project's policy; what broke one of ours is not tried again by anybody.
        is_retryable=not is_stopped and classify(reason).error_class != POLICY,
        reason=reason[:2000] if reason else None,
    )
    return Delivered(done, _taken(message, received_at))


def _taken(message: TaskCompleted, received_at: datetime) -> Taken:
    receipt, metrics = message.receipt, message.metrics
    if receipt is None:
        started = None if metrics.time_ms is None else received_at - timedelta(milliseconds=metrics.time_ms)
        return Taken(
            completed_at=received_at, started_at=started, tokens=metrics.tokens_total, duration_ms=metrics.time_ms,
            cost_usd=metrics.cost_usd,
        )  # fmt: skip
    elapsed = receipt.completed_at - receipt.started_at
    return Taken(
        completed_at=receipt.completed_at,
        started_at=receipt.started_at,
        tokens=_tokens(message),
        tokens_input=receipt.tokens_in,
        tokens_output=receipt.tokens_out,
        tokens_cached=receipt.tokens_cached,
        tokens_reasoning=receipt.tokens_think,
        duration_ms=receipt.time_ms if receipt.time_ms is not None else round(elapsed / timedelta(milliseconds=1)),
        cost_usd=receipt.cost_usd,
        energy_kwh=receipt.energy_kwh,
        echo_cos=receipt.echo_cos,
        provider=receipt.provider,
    )


def _tokens(message: TaskCompleted) -> int | None:
    """All tokens: the receipt's parts, cached ones included, because in the books the parts exclude each other; its sum when
    it knows no parts, which is never less than what was cached."""
    receipt, total = message.receipt, message.metrics.tokens_total
    if receipt is None:
        return total
    cached = receipt.tokens_cached or 0
    if receipt.tokens_total is not None:
        return receipt.tokens_total + cached
    return None if total is None else max(total, cached)


def receipt_row(
    found: Delivered,
    card: Mapping[str, Any],
    *,
    test_pass_rate: float | None,
    echo_cos: float | None,
    artifacts_path: str | None,
    now: datetime,
) -> dict[str, Any]:
    """The row of `task_receipts`.

    Args:
        found: the message.
        card: `project_id`, `lane_id`, `provider` and `submitted_at` of the attempt. The lane is ours, whatever the message
            says: nobody chooses an easier lane by naming it.
        test_pass_rate: as our gates measured it.
        echo_cos: as we computed it; the executor's claim otherwise.
        artifacts_path: where the work lies.
        now: when it is booked.
    """
    done, taken = found.done, found.taken
    started = taken.started_at or card["submitted_at"] or taken.completed_at
    row: dict[str, Any] = {
        "run_id": done.run_id,
        "task_id": done.task_id,
        "attempt": done.attempt,
        "lane_id": card["lane_id"],
        "provider": taken.provider or card["provider"],
        "tokens": taken.tokens,
        "tokens_input": taken.tokens_input,
        "tokens_output": taken.tokens_output,
        "tokens_cached": taken.tokens_cached,
        "tokens_reasoning": taken.tokens_reasoning,
        "duration_ms": taken.duration_ms,
        "cost_usd": taken.cost_usd,
        "energy_kwh": taken.energy_kwh,
        "echo_cos": taken.echo_cos if echo_cos is None else echo_cos,
        "test_pass_rate": test_pass_rate,
        "status": "SUCCESS" if done.succeeded else "FAIL",
        "started_at": min(started, taken.completed_at),
        "completed_at": taken.completed_at,
    }
    digest = row_digests(SOURCE, [[row[name]] for name in _HASHED])[0]
    return row | {
        "project_id": card["project_id"],
        "completed_on": taken.completed_at.date(),
        "api_calls": None,
        "time_precision": "ms",
        "natural_key": f"{done.run_id}{SEPARATOR}{done.task_id}",
        "artifacts_path": artifacts_path,
        "source": SOURCE,
        "source_file_sha256": None,
        "row_sha256": digest,
        "recorded_at": now,
    }
