"""What does a ticket system's webhook get?

One JSON object, signed like every webhook of ours (`X-PLMS-Signature` over id, time and body), with an `Idempotency-Key`: the
same delivery sent twice is one ticket. `action` says what to do with the ticket that `thread` names.
"""

from __future__ import annotations

from typing import Any, Final

from plms_pipeline.access.webhooks import EVENT_ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from plms_pipeline.notify.message import Message
from plms_pipeline.registry.types import canonical_json

ACTIONS: Final[dict[str, str]] = {
    "fired": "open", "escalated": "comment", "acked": "comment", "resolved": "close", "test": "test",
}  # fmt: skip


def payload(message: Message) -> dict[str, Any]:
    """The JSON that is posted."""
    return {
        "version": 1,
        "action": ACTIONS[message.kind],
        "key": message.key,
        "thread": message.thread,
        "rule": message.rule,
        "severity": message.severity,
        "title": message.headline,
        "subjects": [{"subject": line.subject, "text": line.text} for line in message.lines],
        "more": message.more,
        "notes": list(message.notes),
        "environment": message.environment,
        "at": message.at,
        "runbook": message.runbook,
    }


def signed(message: Message, secret: str, timestamp: int) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one sending.

    Args:
        secret: shared with whoever receives it.
        timestamp: of this sending, whole seconds since 1970.
    """
    body = canonical_json(payload(message)).encode()
    return body, {
        "Content-Type": "application/json",
        "Idempotency-Key": message.key,
        EVENT_ID_HEADER: message.key,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: sign(secret.encode(), message.key, timestamp, body),
    }
