"""How does one event reach PLMS?

One signed POST, signed afresh each time because a signature is good for five minutes only. The answer is handed back as it
is; when to try again is decided elsewhere (`actions.telling`).
"""

from __future__ import annotations

import re

import httpx

from plms_pipeline.access.deadline.client import trusted
from plms_pipeline.access.webhooks import EVENT_ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from plms_pipeline.clock import Clock
from plms_pipeline.pas.reference.actions.telling import Delivery
from plms_pipeline.pas.reference.store import Event

MAX_ANSWER = 64 * 1024


class WebhookSender:
    """Sends events to one PLMS.

    Args:
        url: base address of PLMS.
        secret: shared with it.
        clock: the machine's time, signed with every event.
        timeout_s: for connecting, and again for the answer.
    """

    def __init__(self, url: str, secret: bytes, clock: Clock, *, timeout_s: float = 10.0) -> None:
        self._url, self._secret, self._clock = url.rstrip("/"), secret, clock
        self._http = httpx.AsyncClient(
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=False,
            verify=trusted(),
            limits=httpx.Limits(max_connections=32),
        )

    async def send(self, event: Event) -> Delivery:
        """Send one event; never raises for what the other side does."""
        timestamp = int(self._clock.now().timestamp())
        signature = sign(b"forged" if event.is_forged else self._secret, event.event_id, timestamp, event.body)
        headers = {
            "Content-Type": "application/json",
            EVENT_ID_HEADER: event.event_id,
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: signature,
        }
        try:
            async with self._http.stream("POST", self._url + event.path, content=event.body, headers=headers) as answer:
                # Read, or the connection is thrown away with every event.
                size = 0
                async for chunk in answer.aiter_bytes():
                    size += len(chunk)
                    if size > MAX_ANSWER:
                        break
                asked = answer.headers.get("Retry-After", "")
                return Delivery(
                    event, answer.status_code, retry_after_s=float(asked) if re.fullmatch(r"[0-9]{1,4}", asked) else 0.0
                )
        except httpx.HTTPError as error:
            return Delivery(event, None, type(error).__name__)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
