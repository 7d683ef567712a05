"""What does a body that claims to be an event of the executor say, before anybody believes it?

Two questions are kept apart. Is it an event at all (JSON, an object, of a run)? That is answered at the door, and what is
not is refused there. Are its numbers possible? That is asked when it is settled: an executor that once sent a NaN cost
would otherwise send the same event for ever, and nobody would find out why its run never ends. So what no database can
hold (NaN, infinities, integers of a thousand digits, half a surrogate) is kept as text that the models then refuse.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import ValidationError

from plms_pipeline.access.webhooks import event_id_for
from plms_pipeline.errors import BadInput, Unprocessable
from plms_pipeline.pas.protocol import CompletionHint, RunCompleted, TaskCompleted, problem_of

COMPLETION: Final = "completion"
RUN_COMPLETED: Final = "run_completed"
TASK_COMPLETED: Final = "task_completed"
# Of our own making: what the executor's status shows and no event told, and a run that it does not know any more.
RECONCILED: Final = "reconciled"
RUN_LOST: Final = "run_lost"
ENDPOINTS: Final = (COMPLETION, RUN_COMPLETED, TASK_COMPLETED, RECONCILED, RUN_LOST)

MAX_DEPTH: Final = 32
MAX_DIGITS: Final = 30
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,255}")


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event as far as it must be understood to be kept: which run, task and attempt, and the document."""

    document: dict[str, Any]
    body_sha256: str
    run_id: str
    task_id: str | None
    attempt: int | None
    status: str

    def derived_id(self, endpoint: str) -> str:
        """The id of an event that came without one."""
        return event_id_for(endpoint, self.run_id, self.task_id, self.attempt, self.status)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one attempt may claim to have taken at most; the same bounds as for imported receipts. USD, ms, tokens."""

    max_cost_usd: Decimal
    max_duration_ms: int
    max_tokens: int
    first_moment: datetime
    last_moment: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that can never be settled, and why, in one line."""

    reason: str


Message = TaskCompleted | RunCompleted | CompletionHint | Refused


def envelope(body: bytes) -> Envelope:
    """What is needed to keep an event.

    Raises:
        BadInput: the body is no JSON object, or nested too deeply (`bad_event`, 400).
        Unprocessable: it names no run, or a run, task or attempt of impossible form (`bad_event`, 422).
    """
    try:
        document = json.loads(
            body.decode("utf-8"), parse_constant=str, parse_float=_finite, parse_int=_bounded, strict=True
        )
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The body is no JSON: {_short(error)}.", code="bad_event") from None
    if not isinstance(document, dict):
        raise BadInput("The body must be a JSON object that names a run_id.", code="bad_event")
    document = _storable(document, 0)
    run_id = _name(document, "run_id")
    if run_id is None:
        raise Unprocessable("The event names no run_id, so nobody can say what ended.", code="bad_event")
    attempt = document.get("attempt")
    if isinstance(attempt, float) and attempt.is_integer():
        # In JSON 1.0 is a whole number, too.
        attempt = int(attempt)
    if attempt is not None and (isinstance(attempt, bool) or not isinstance(attempt, int) or not 1 <= attempt <= 1000):
        raise Unprocessable("attempt must be a whole number from 1 to 1000.", code="bad_event")
    status = document.get("status")
    return Envelope(
        document=document,
        body_sha256=hashlib.sha256(body).hexdigest(),
        run_id=run_id,
        task_id=_name(document, "task_id"),
        attempt=attempt,
        status=status[:255] if isinstance(status, str) else "",
    )


def message_of(document: Mapping[str, Any], limits: Limits) -> Message:
    """The event as a typed message; `Refused` when its fields break a rule, with the first rule that they break.

    What a document holds decides what it is, not the address that it came to: the guides use one address for all kinds.
    """
    model: type[TaskCompleted | RunCompleted | CompletionHint] = CompletionHint
    if "task_id" in document:
        model = TaskCompleted
    elif "summary" in document or "validation_pass" in document:
        model = RunCompleted
    try:
        found = model.model_validate(document)
    except ValidationError as error:
        return Refused(problem_of(error))
    return (_problem(found, limits) or found) if isinstance(found, TaskCompleted) else found


def _problem(event: TaskCompleted, limits: Limits) -> Refused | None:
    receipt = event.receipt
    claims: list[tuple[str, Any, Any]] = [
        ("metrics.cost_usd", event.metrics.cost_usd, limits.max_cost_usd),
        ("metrics.time_ms", event.metrics.time_ms, limits.max_duration_ms),
        ("metrics.tokens_total", event.metrics.tokens_total, limits.max_tokens),
    ]
    if receipt is not None:
        if (receipt.run_id, receipt.task_id, receipt.attempt) != (event.run_id, event.task_id, event.attempt):
            return Refused("receipt: it is that of another run, task or attempt than the event's")
        claims += [
            ("receipt.cost_usd", receipt.cost_usd, limits.max_cost_usd),
            ("receipt.time_ms", receipt.time_ms, limits.max_duration_ms),
            ("receipt.tokens", receipt.tokens_total, limits.max_tokens),
            ("receipt.tokens_cached", receipt.tokens_cached, limits.max_tokens),
            ("receipt.completed_at", receipt.completed_at, limits.last_moment),
        ]
        if receipt.started_at < limits.first_moment:
            return Refused(f"receipt.started_at: lies before {limits.first_moment.date()} (PLMS_FIRST_DAY)")
    for name, value, limit in claims:
        if value is not None and value > limit:
            return Refused(f"{name}: {value} is more than {limit}, which no attempt may claim")
    return None


def _name(document: Mapping[str, Any], field: str) -> str | None:
    value = document.get(field)
    if value is None:
        return None
    # The sources' task ids are numbers in one place and text in another.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise Unprocessable(
            f"{field} must be text of 1 to 255 characters without control characters.", code="bad_event"
        )
    return text


def _finite(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text[:MAX_DIGITS]


def _bounded(text: str) -> int | str:
    return int(text) if len(text) <= MAX_DIGITS else text[:MAX_DIGITS]


def _storable(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise BadInput(f"The event is nested deeper than {MAX_DEPTH} levels.", code="bad_event")
    if isinstance(value, dict):
        return {_storable(key, depth): _storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item, depth + 1) for item in value]
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return value


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
