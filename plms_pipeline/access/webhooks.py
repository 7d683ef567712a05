"""Did PAS send this event, lately, and exactly these bytes?

A signature over the body alone can be replayed for ever, and one without the event's id lets a stranger send a known body
under a new id, which then counts as new. So the id and the moment of sending are signed with the body, every delivery is
signed afresh, and a signature older than five minutes is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import datetime, timedelta

from plms_pipeline.errors import Unauthenticated

EVENT_ID_HEADER = "X-PLMS-Event-Id"
TIMESTAMP_HEADER = "X-PLMS-Timestamp"
SIGNATURE_HEADER = "X-PLMS-Signature"
TOLERANCE = timedelta(minutes=5)
_SIGNATURE = re.compile(r"v1=[0-9a-f]{64}")
# No full stop: it separates the signed parts, and an id that held one could lend its signature to another id and time.
_EVENT_ID = re.compile(r"[A-Za-z0-9_:-]{1,128}")


def sign(secret: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """The value of `X-PLMS-Signature`.

    Args:
        secret: shared by PAS and us.
        event_id: value of `X-PLMS-Event-Id`.
        timestamp: value of `X-PLMS-Timestamp`, whole seconds since 1970.
        body: the request body, byte for byte.
    """
    return "v1=" + hmac.new(secret, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def verify(secret: bytes, event_id: str, timestamp: int, body: bytes, signature: str, *, now: datetime) -> None:
    """Return when the signature is right and fresh.

    Raises:
        Unauthenticated: `webhook_forged` or `webhook_stale`. A stale one is looked at only when it is ours: what a stranger
            made up is forged, however old it claims to be.
    """
    if not secret:
        raise Unauthenticated("No webhook secret is set here, so no event can be ours.", code="webhook_forged")
    if not _EVENT_ID.fullmatch(event_id) or not _SIGNATURE.fullmatch(signature):
        raise _forged()
    if not hmac.compare_digest(sign(secret, event_id, timestamp, body), signature):
        raise _forged()
    if abs(int(now.timestamp()) - timestamp) > TOLERANCE.total_seconds():
        raise Unauthenticated(
            f"The event was signed more than {int(TOLERANCE.total_seconds())} s ago or in the future; sign each delivery "
            "afresh and compare the clocks of both machines.",
            code="webhook_stale",
        )


def event_id_for(endpoint: str, run_id: str, task_id: str | int | None, attempt: int | None, status: str) -> str:
    """The id of an event that came without one: equal facts give equal ids, so a repeated delivery is known again."""
    fact = json.dumps([endpoint, run_id, None if task_id is None else str(task_id), attempt, status])
    return hashlib.sha256(fact.encode()).hexdigest()


def _forged() -> Unauthenticated:
    return Unauthenticated("The signature of the event is not right for its id, time and body.", code="webhook_forged")
