"""How is a message handed to a service, and what did the service say?

One attempt: when and how often to try again is decided by whoever owes the message. Every request ends in time however slowly
the answer drips, redirects are not followed, and what is told of an answer holds no secret.
"""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx

from plms_pipeline.access.deadline.client import Deadlines, trusted
from plms_pipeline.access.retry_after import retry_after_s
from plms_pipeline.notify import mail, pagerduty, slack, ticket
from plms_pipeline.notify.channels import Channel, NotSent, is_loopback, outcome, recipients_of, shown, without_secrets
from plms_pipeline.notify.message import Message

TIMEOUT_S: Final = 5.0
LONGEST_S: Final = 15.0
MAX_ANSWER: Final = 64 * 1024
_log = logging.getLogger("plms.alerts")


class Notifier:
    """Sends messages. Safe to share between threads; close it when done.

    Args:
        monotonic_s: seconds of a clock that never jumps.
        timeout_s: for connecting, and for each part of an answer.
        longest_s: for a whole sending.
        transport: another way to reach HTTP services (in-process, in tests).
    """

    def __init__(
        self,
        *,
        monotonic_s: Callable[[], float],
        timeout_s: float = TIMEOUT_S,
        longest_s: float = LONGEST_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._monotonic_s, self._timeout_s, self._longest_s = monotonic_s, timeout_s, longest_s
        self._deadlines = Deadlines(monotonic_s)
        self._http = httpx.Client(
            timeout=timeout_s, follow_redirects=False, trust_env=False,
            transport=transport or self._deadlines.transport(),
        )  # fmt: skip

    def __enter__(self) -> Notifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, channel: Channel, message: Message, recipient: str, *, now: datetime) -> str:
        """Hand over one message; what the service said, without secrets.

        Args:
            recipient: addresses for mail; a label for everything else.
            now: of this sending.

        Raises:
            NotSent: it was not taken, or nobody knows.
            BadInput: an address is none.
        """
        if channel.kind == "log":
            level = logging.INFO if message.kind in ("resolved", "acked", "test") else logging.WARNING
            _log.log(level, "event=alert %s | %s", message.headline, " | ".join((*message.told, *message.notes)))
            return "logged"
        if channel.kind == "smtp":
            told = mail.mail(message, sender=channel.sender, recipients=recipients_of(recipient), sent_at=now)
            return self._mail(channel, told)
        if channel.kind == "slack":
            return self._post(channel, _json(slack.payload(message)), {}, good=(200,))
        if channel.kind == "pagerduty":
            return self._post(channel, _json(pagerduty.payload(message, channel.secret)), {}, good=(202,))
        body, headers = ticket.signed(message, channel.secret, int(now.timestamp()))
        return self._post(channel, body, headers, good=(200, 201, 202, 204))

    def _post(self, channel: Channel, body: bytes, headers: dict[str, str], *, good: tuple[int, ...]) -> str:
        headers = {"Content-Type": "application/json", **headers}
        try:
            with (
                self._deadlines.until(self._monotonic_s() + self._longest_s),
                self._http.stream("POST", channel.url, content=body, headers=headers) as answer,
            ):
                told = _read(answer)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            # Not the library's text: it may name the URL.
            raise NotSent(f"Channel {channel.name} ({channel.kind}) did not answer: {type(error).__name__}") from None
        try:
            document: Any = json.loads(told)
        except ValueError:
            document = None
        wait = retry_after_s(answer.headers)
        return outcome(channel, answer.status_code, shown(document) or told, wait, good)

    def _mail(self, channel: Channel, told: EmailMessage) -> str:
        parts = urlsplit(channel.url)
        host, is_tls = parts.hostname or "", parts.scheme == "smtps"
        port = parts.port or (465 if is_tls else 587)
        connect: dict[str, Any] = {"host": host, "port": port, "timeout": self._timeout_s}
        try:
            with (
                self._deadlines.until(self._monotonic_s() + self._longest_s),
                _Tls(self._left_s, **connect, context=trusted())
                if is_tls
                else _Plain(self._left_s, **connect) as server,
            ):
                if not is_tls and not is_loopback(host):
                    # Who stands in between could take the offer away: then nothing is sent.
                    server.starttls(context=trusted())
                if parts.username:
                    server.login(unquote(parts.username), unquote(parts.password or ""))
                refused = server.send_message(told)
        except smtplib.SMTPResponseException as error:
            raise _refused(channel, error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPRecipientsRefused as error:
            code, text = max(error.recipients.values(), key=lambda answer: answer[0])
            raise _refused(channel, code, text) from None
        except (smtplib.SMTPNotSupportedError, UnicodeError) as error:
            # The latter: user and password go in ASCII. Its text would hold a piece of them.
            why = "its user or password is not ASCII" if isinstance(error, UnicodeError) else str(error)
            raise NotSent(f"Channel {channel.name} (smtp) cannot be used: {why}", is_permanent=True) from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotSent(f"Channel {channel.name} (smtp) did not answer: {type(error).__name__}") from None
        return "250 accepted" + "".join(f"; {to} refused ({code})" for to, (code, _) in sorted(refused.items()))

    def _left_s(self) -> float | None:
        return self._deadlines.left_s(self._timeout_s, TimeoutError)


class _Answers:
    """What a mail server says, as long as there is time: smtplib gives each byte a timeout of its own."""

    def __init__(self, connection: Any, left_s: Callable[[], float | None]) -> None:
        self._connection, self._left_s, self._read = connection, left_s, b""

    def readline(self, most: int) -> bytes:
        while b"\n" not in self._read and len(self._read) < most:
            self._connection.settimeout(self._left_s())
            more = self._connection.recv(4096)
            if not more:
                break
            self._read += more
        end = min(self._read.find(b"\n") + 1 or len(self._read), most)
        line, self._read = self._read[:end], self._read[end:]
        return line

    def close(self) -> None:
        """The connection is smtplib's to close."""


class _Plain(smtplib.SMTP):
    def __init__(self, left_s: Callable[[], float | None], **connect: Any) -> None:
        self._left_s = left_s
        super().__init__(**connect)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Answers(self.sock, self._left_s)
        return super().getreply()


class _Tls(_Plain, smtplib.SMTP_SSL):
    """The same, encrypted from the beginning."""


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def _read(answer: httpx.Response) -> str:
    read = b""
    for chunk in answer.iter_bytes():
        read += chunk
        if len(read) > MAX_ANSWER:
            break
    return read[:MAX_ANSWER].decode(errors="replace")


def _refused(channel: Channel, code: int, text: bytes | str) -> NotSent:
    told = without_secrets(text.decode(errors="replace") if isinstance(text, bytes) else text, channel)
    return NotSent(f"Channel {channel.name} (smtp) answered {code}: {told}", is_permanent=code >= 500)
