"""What does a mailbox get?

A plain text whose first line says all. `Message-ID` comes from the delivery, so that a mail sent twice is recognised as
one; `References` from the thread, so that a resolve stands below what it resolves. `Auto-Submitted` keeps holiday notices
away.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from plms_pipeline.errors import BadInput
from plms_pipeline.notify.message import Message, shortened

MOST_SUBJECT: Final = 200
# What no header and no command of SMTP may hold; the rest is the mail server's to judge.
_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"\\\x00-\x1f\x7f]+@[^\s@<>,;:\"\\\x00-\x1f\x7f]+")


def checked_address(text: str) -> str:
    """An address as it may stand in a header.

    Raises:
        BadInput: it is none (`bad_address`).
    """
    if not _ADDRESS.fullmatch(text) or len(text) > 254 or not text.isascii():
        raise BadInput(f"{text[:80]!r} is no mail address; write it as name@example.org.", code="bad_address")
    return text


def mail(message: Message, *, sender: str, recipients: tuple[str, ...], sent_at: datetime) -> EmailMessage:
    """The mail of a message.

    Raises:
        BadInput: an address is none.
    """
    told = EmailMessage(policy=SMTP)
    told["From"] = checked_address(sender)
    told["To"] = ", ".join(checked_address(recipient) for recipient in recipients)
    told["Subject"] = shortened(f"[PLMS][{_plain(message.environment)}] {_plain(message.headline)}", MOST_SUBJECT)
    told["Date"] = format_datetime(sent_at)
    told["Message-ID"] = f"<{message.key}@plms.invalid>"
    told["References"] = told["In-Reply-To"] = f"<{re.sub(r'[^A-Za-z0-9.-]', '.', message.thread)}@plms.invalid>"
    told["Auto-Submitted"] = "auto-generated"
    told["X-PLMS-Rule"] = message.rule
    told["X-PLMS-Severity"] = message.severity
    told["X-PLMS-Key"] = message.key
    parts = [message.headline, "", *message.told]
    if message.notes:
        parts += ["", *message.notes]
    parts += ["", f"When: {message.at}", f"Environment: {message.environment}"]
    if message.runbook:
        parts.append(f"Runbook: {message.runbook}")
    told.set_content("\n".join(parts) + "\n")
    return told


def _plain(text: str) -> str:
    """Text without line ends, those of Unicode too: whoever puts one into a header could add headers of his own."""
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", text)
