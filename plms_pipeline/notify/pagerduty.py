"""What does PagerDuty's Events API v2 take?

`routing_key` (32 characters), `event_action`, `dedup_key` (to 255), and for a trigger a `payload` with `summary` (to 1024),
`source` and `severity`; 202 says that it was taken. The sources never kept the `dedup_key`, so nothing they opened could be
resolved; ours is the message's thread, the same for trigger, acknowledge and resolve of one group of episodes.
"""

from __future__ import annotations

from typing import Any, Final

from plms_pipeline.notify.message import Message, shortened

ACTIONS: Final[dict[str, str]] = {
    "fired": "trigger", "escalated": "trigger", "test": "trigger", "acked": "acknowledge", "resolved": "resolve",
}  # fmt: skip
SEVERITIES: Final[dict[str, str]] = {"P0": "critical", "P1": "error", "P2": "warning", "P3": "info"}
MOST_KEY: Final = 255
MOST_SUMMARY: Final = 1024
SOURCE: Final = "plms"


def payload(message: Message, routing_key: str) -> dict[str, Any]:
    """The JSON that is posted to `/v2/enqueue`.

    Args:
        routing_key: the service's integration key; never stored, put in when it is sent.
    """
    action = ACTIONS[message.kind]
    event: dict[str, Any] = {"routing_key": routing_key, "event_action": action, "dedup_key": thread(message)}
    if action != "trigger":
        return event
    event["client"] = "PLMS"
    event["payload"] = {
        "summary": shortened(f"[{message.environment}] {message.headline}", MOST_SUMMARY),
        "source": f"{SOURCE}-{message.environment}",
        "severity": SEVERITIES[message.severity],
        "timestamp": message.at,
        "component": message.rule,
        "class": "alert",
        "custom_details": {
            "subjects": list(message.told), "notes": list(message.notes), "runbook": message.runbook, "key": message.key,
        },
    }  # fmt: skip
    if message.runbook.startswith("https://"):
        event["links"] = [{"href": message.runbook, "text": f"Runbook {message.rule}"}]
    return event


def thread(message: Message) -> str:
    """The key of the incident."""
    return shortened(message.thread, MOST_KEY)
