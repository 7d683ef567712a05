"""Is every message one that the real services take, whatever it says?"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plms_pipeline.access.webhooks import verify
from plms_pipeline.errors import BadInput
from plms_pipeline.notify import mail, pagerduty, slack, ticket
from plms_pipeline.notify.message import Line, Message, lines_of, message_of
from plms_pipeline_tests.notify.payloads import problems

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = "0123456789abcdef" * 2
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=4000)
MESSAGES = st.builds(
    Message,
    kind=st.sampled_from(["fired", "acked", "escalated", "resolved", "test"]),
    key=st.just("2c3d4e5f-6071-5b8c-9d0e-1f2a3b4c5d6e"),
    thread=st.text("abc:-", min_size=1, max_size=400),
    rule=st.just("runway_t15"),
    severity=st.sampled_from(["P0", "P1", "P2", "P3"]),
    title=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=120),
    lines=st.lists(st.builds(Line, TEXT, TEXT), max_size=20).map(tuple),
    at=st.just(NOW.isoformat()),
    runbook=st.sampled_from(["docs/runbooks/runway_t15.md", "https://docs.example.org/runway_t15.md"]),
    reason=TEXT,
    actor=st.sampled_from(["", "ann"]),
    level=st.integers(0, 3),
    more=st.integers(0, 500),
    still=st.lists(st.just("project:7"), max_size=3).map(tuple),
)


@settings(max_examples=60)
@given(MESSAGES)
def test_any_message_is_valid_for_slack_pagerduty_and_tickets(message: Message) -> None:
    """The sources' Slack payload was broken JSON even when all was well, and nobody noticed that it never arrived."""
    assert problems("slack", json.loads(json.dumps(slack.payload(message)))) == []
    assert problems("pagerduty", json.loads(json.dumps(pagerduty.payload(message, KEY)))) == []
    body, headers = ticket.signed(message, "a-shared-secret", int(NOW.timestamp()))
    assert problems("ticket", json.loads(body)) == []
    verify(b"a-shared-secret", message.key, int(NOW.timestamp()), body, headers["X-PLMS-Signature"], now=NOW)
    assert headers["Idempotency-Key"] == message.key


@settings(max_examples=40)
@given(MESSAGES)
def test_any_message_is_a_mail_without_headers_of_somebody_else(message: Message) -> None:
    """A project called `x\\nBcc: …` must not decide who reads the mail."""
    told = mail.mail(message, sender="plms@example.org", recipients=("a@example.org", "b@example.org"), sent_at=NOW)
    raw = told.as_bytes().decode()
    head = raw.partition("\r\n\r\n")[0]
    names = [line.partition(":")[0] for line in head.split("\r\n") if not line.startswith((" ", "\t"))]
    assert set(names) <= {
        "From", "To", "Subject", "Date", "Message-ID", "References", "In-Reply-To", "Auto-Submitted", "X-PLMS-Rule",
        "X-PLMS-Severity", "X-PLMS-Key", "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip
    assert told["To"] == "a@example.org, b@example.org"


@given(MESSAGES)
@settings(max_examples=30)
def test_a_message_comes_back_as_it_was_kept(message: Message) -> None:
    """What is sent after a restart is what was owed before it."""
    assert message_of(json.loads(json.dumps(message.as_json()))) == message


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_line_end_of_any_kind_in_a_headline_is_a_space_in_the_subject(end: str) -> None:
    """A project named with one of Unicode's made its mail impossible: the alert about it reached nobody."""
    message = Message(
        kind="fired", key="2c3d4e5f-6071-5b8c-9d0e-1f2a3b4c5d6e", thread="a", rule="runway_t15", severity="P1",
        title=f"runway{end}Bcc: x@example.org", lines=(), at=NOW.isoformat(), runbook="", reason="", actor="", level=0, more=0,
        still=(),
    )  # fmt: skip
    told = mail.mail(message, sender="plms@example.org", recipients=("a@example.org",), sent_at=NOW)
    assert "runway Bcc: x@example.org" in told["Subject"]


def test_a_schema_that_takes_everything_would_prove_nothing() -> None:
    """Each of these is a payload that a service refuses."""
    assert problems("pagerduty", {"routing_key": "short", "event_action": "trigger", "dedup_key": "x"})
    assert problems("pagerduty", {"routing_key": KEY, "event_action": "resolve", "dedup_key": ""})
    assert problems(
        "slack", {"text": "x", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}
    )
    assert problems(
        "slack", {"text": "x", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "<!channel>"}}]}
    )


@pytest.mark.parametrize(
    "address", ["nobody", "a@b\r\nBcc: c@d", "a@b, c@d", "ä@example.org", "<a@b>", "a@" + "b" * 300]
)
def test_what_is_no_address_is_refused_before_it_stands_in_a_header(address: str) -> None:
    """An address is somebody's text in a file."""
    with pytest.raises(BadInput):
        mail.checked_address(address)


def test_more_subjects_than_fit_are_counted() -> None:
    """A storm of a thousand projects is one message that can be read."""
    lines, more = lines_of([(f"project:{n}", "x") for n in range(1000)])
    assert (len(lines), more) == (20, 980)
