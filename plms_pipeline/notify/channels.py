"""Which channels are there, and what is needed to reach each?

A channel is a name of `oncall.yaml` with the kind of service behind it; its secret comes from a setting or a file and is
never part of a message, a row or an error. One whose secret is missing is not configured: what should go there goes to the
log.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from plms_pipeline.errors import BadInput, PlmsError

ChannelKind = Literal["log", "slack", "pagerduty", "smtp", "ticket"]
LOG: Final = "log"


class NotSent(PlmsError):
    """A message was not taken. `is_permanent`: the same will not be taken later either. Holds no secret."""

    default_code = "not_sent"
    default_exit_code = 4
    default_http_status = 502

    def __init__(self, message: str, *, is_permanent: bool = False, retry_after_s: int | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.is_permanent = is_permanent


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel, ready to be used.

    Args:
        name: as `oncall.yaml` calls it.
        address: what may be shown: `#plms-alerts`, a host.
        url: where to; for Slack it is the secret itself.
        secret: routing key, HMAC secret; empty where the URL is all.
        sender: who mails come from.
    """

    name: str
    kind: ChannelKind
    address: str = ""
    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    sender: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any text about this channel."""
        if self.kind == "smtp":
            password = urlsplit(self.url).password
            return (self.url, *((password, unquote(password)) if password else ()))
        # A service may repeat a piece of the path that is the secret, as well as all of it.
        pieces = (
            [self.url, urlsplit(self.url).path, *urlsplit(self.url).path.split("/")] if self.kind == "slack" else []
        )
        return tuple(text for text in (*pieces, self.secret) if len(text) >= 8)


def without_secrets(text: str, channel: Channel) -> str:
    """A text as it may be kept: an answer may repeat what it was sent. At most 300 printable characters."""
    for secret in sorted(channel.secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    # The path of a webhook is its secret, also where a library shows it without the host.
    text = re.sub(r"(https?|smtps?)://\S+", r"\1://***", text)
    return re.sub(r"[^\x20-\x7e\xa0-\U0010ffff]+", " ", text)[:300].strip()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_url(url: str, what: str, *, schemes: tuple[str, ...] = ("https",)) -> str:
    """A URL of a service: encrypted, unless the service is on this machine.

    Raises:
        BadInput: it is none, or would carry a secret in the clear (`bad_channel_url`). The URL itself is not shown.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    plain = tuple(scheme.removesuffix("s") for scheme in schemes if scheme.endswith("s"))
    # A line feed in it (a secret's file with two lines) would be found by the first alert.
    is_text = url.isascii() and url.isprintable() and " " not in url
    if not host or not is_text or parts.scheme not in {*schemes, *plain}:
        raise BadInput(
            f"{what} is no URL with {' or '.join(f'{scheme}://' for scheme in schemes)} and a host; correct the setting.",
            code="bad_channel_url",
        )
    if parts.scheme not in schemes and not is_loopback(host):
        raise BadInput(
            f"{what} begins with {parts.scheme}://, which would carry its secret in the clear to {host}; use "
            f"{schemes[0]}://.", code="bad_channel_url",
        )  # fmt: skip
    return url


def recipients_of(text: str) -> tuple[str, ...]:
    """The addresses that a delivery's recipient names, separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def outcome(channel: Channel, status: int, body: str, retry_after_s: float | None, good: tuple[int, ...]) -> str:
    """What an HTTP answer means: a short text that may be kept when the message was taken.

    Raises:
        NotSent: it was not. Trying again helps after 408, 425, 429 and server errors.
    """
    told = without_secrets(body, channel)
    if status in good:
        return f"{status} {told}".strip()[:200]
    is_passing = status in (408, 425, 429) or status >= 500
    wait = None if retry_after_s is None else max(1, min(3600, round(retry_after_s)))
    raise NotSent(
        f"Channel {channel.name} ({channel.kind}) answered {status}{f': {told}' if told else ''}", is_permanent=not is_passing,
        retry_after_s=wait,
    )  # fmt: skip


def shown(document: Any) -> str:
    """What a JSON answer says in one line; empty for what is none."""
    if isinstance(document, dict):
        return " ".join(f"{key}={document[key]}" for key in ("status", "message", "errors") if key in document)
    return ""
