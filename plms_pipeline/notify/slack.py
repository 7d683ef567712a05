"""What does a Slack incoming webhook take?

`text` (what notifications and screen readers show) and `blocks`. Bounds of Block Kit: 50 blocks, a header of 150
characters, a section of 3000, a context of ten elements; `block_id` is at most 255 characters and unique in a message. `&`,
`<` and `>` are control characters: unescaped, a subject called `<!channel>` wakes everybody. The sources' payload broke on
every line feed, because it was put together with printf.
"""

from __future__ import annotations

from typing import Any, Final

from plms_pipeline.notify.message import Message, shortened

MOST_HEADER: Final = 150
MOST_SECTION: Final = 3000
MOST_TEXT: Final = 4000
SIGNS: Final[dict[str, str]] = {
    "fired": ":rotating_light:", "escalated": ":fire:", "acked": ":eyes:", "resolved": ":white_check_mark:",
    "test": ":test_tube:",
}  # fmt: skip


def payload(message: Message) -> dict[str, Any]:
    """The JSON that is posted."""
    sign = SIGNS[message.kind]
    headline = f"{sign} [PLMS][{message.environment}] {message.headline}"
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "block_id": f"plms-{message.key}",
            "text": {"type": "plain_text", "text": shortened(f"{sign} {message.headline}", MOST_HEADER), "emoji": True},
        }
    ]
    told = "\n".join(f"• {escaped(line)}" for line in message.told)
    if told:
        blocks.append(_section(told))
    if message.notes:
        blocks.append(_section("\n".join(escaped(note) for note in message.notes)))
    small = [f"*{message.environment}*", message.at, f"key {message.key}"]
    if message.runbook:
        runbook = escaped(message.runbook)
        small.append(f"<{runbook}|runbook>" if runbook.startswith("https://") else f"runbook {runbook}")
    elements = [{"type": "mrkdwn", "text": shortened(text, MOST_SECTION)} for text in small]
    blocks.append({"type": "context", "elements": elements})
    return {"text": shortened(escaped(headline), MOST_TEXT), "blocks": blocks}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": shortened(text, MOST_SECTION)}}


def escaped(text: str) -> str:
    """Text in which nothing is a mention, a link or an entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
