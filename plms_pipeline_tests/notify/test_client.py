"""What does each service's answer mean, and is nothing told that nobody may know?"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.notify.channels import Channel, ChannelKind, NotSent, checked_url, without_secrets
from plms_pipeline.notify.client import Notifier
from plms_pipeline.notify.message import Line, Message
from plms_pipeline_tests.notify.payloads import checked
from plms_pipeline_tests.notify.receivers import Receivers, receiving

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "T0000000-hook-of-tests"
MESSAGE = Message(
    "fired", "2c3d4e5f-6071-5b8c-9d0e-1f2a3b4c5d6e", "plms:runway_t5:1", "runway_t5", "P0", "the budget lasts 5 minutes",
    (Line("project:42", "4 min"),), NOW.isoformat(),
)  # fmt: skip


def channels(services: Receivers) -> dict[str, Channel]:
    return {
        "slack": Channel("chat", "slack", "#plms-alerts", services.url("slack") + "/" + SECRET),
        "pagerduty": Channel("page", "pagerduty", "", services.url("pagerduty"), "0123456789abcdef" * 2),
        "tickets": Channel("tickets", "ticket", "", services.url("tickets"), "a-shared-secret-of-tests"),
        "smtp": Channel("mail", "smtp", "", f"smtp://127.0.0.1:{services.smtp_port}", sender="plms@example.org"),
    }


def test_each_service_is_handed_a_message_that_it_takes() -> None:
    """One of each, over real sockets."""
    with receiving() as services, Notifier(monotonic_s=time.monotonic) as notifier:
        for channel in channels(services).values():
            for kind in ("fired", "acked", "resolved"):
                notifier.send(channel, replace(MESSAGE, kind=kind), "a@example.org, b@example.org", now=NOW)
        for one in services.got:
            checked(one)
        assert [one.service for one in services.got] == [name for name in channels(services) for _ in range(3)]
        actions = [one.json["event_action"] for one in services.of("pagerduty")]
        keys = {one.json["dedup_key"] for one in services.of("pagerduty")}
        assert (actions, len(keys)) == (["trigger", "acknowledge", "resolve"], 1)
        assert services.of("smtp")[0].headers["to"] == "a@example.org,b@example.org"


@pytest.mark.parametrize(
    ("status", "headers", "is_permanent", "wait"),
    [
        (429, {"Retry-After": "7"}, False, 7), (503, {}, False, None),
        (503, {"Retry-After": "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT"}, False, None),
        (500, {}, False, None), (404, {}, True, None),
        (410, {}, True, None), (400, {}, True, None), (302, {"Location": "http://127.0.0.1:1/"}, True, None),
    ],
)  # fmt: skip
def test_what_will_pass_is_told_apart_from_what_never_will(
    status: int, headers: dict[str, str], is_permanent: bool, wait: int | None
) -> None:
    """A deleted channel that is tried for ever hides behind one that is merely slow; a redirect would carry the secret away."""
    with receiving() as services, Notifier(monotonic_s=time.monotonic) as notifier:
        services.answers["slack"] = [(status, f"no: {SECRET}", headers)]
        with pytest.raises(NotSent) as refused:
            notifier.send(channels(services)["slack"], MESSAGE, "", now=NOW)
    assert (refused.value.is_permanent, refused.value.retry_after_s) == (is_permanent, wait)
    assert SECRET not in refused.value.message
    assert str(status) in refused.value.message


@pytest.mark.parametrize(("answer", "is_permanent"), [("451 later", False), ("550 nobody here", True)])
def test_a_mail_server_that_refuses_says_for_how_long(answer: str, is_permanent: bool) -> None:
    """4xx comes again, 5xx does not."""
    with receiving() as services, Notifier(monotonic_s=time.monotonic) as notifier:
        services.mail_answers.append(answer)
        with pytest.raises(NotSent) as refused:
            notifier.send(channels(services)["smtp"], MESSAGE, "a@example.org", now=NOW)
    assert refused.value.is_permanent is is_permanent


def test_nobody_there_is_an_outage_and_names_no_url() -> None:
    """The URL of a webhook is its password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Notifier(monotonic_s=time.monotonic) as notifier:
        for channel in (
            Channel("chat", "slack", "", f"http://127.0.0.1:{port}/{SECRET}"),
            Channel("mail", "smtp", "", f"smtp://me:{SECRET}@127.0.0.1:{port}", sender="a@example.org"),
        ):
            with pytest.raises(NotSent) as away:
                notifier.send(channel, MESSAGE, "a@example.org", now=NOW)
            assert not away.value.is_permanent
            assert SECRET not in away.value.message
            assert SECRET not in repr(channel)


@pytest.mark.parametrize(("kind", "scheme"), [("slack", "http"), ("smtp", "smtp")])
def test_an_answer_that_drips_ends_in_time(kind: ChannelKind, scheme: str) -> None:
    """One byte now and then kept the sender busy for as long as the service liked, and its lease ended meanwhile."""
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = server.accept()
        with connection:
            for _ in range(100):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return
                time.sleep(0.05)

    threading.Thread(target=drip, daemon=True).start()
    with server, Notifier(monotonic_s=time.monotonic, timeout_s=1.0, longest_s=0.3) as notifier:
        began = time.monotonic()
        with pytest.raises(NotSent):
            url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"
            notifier.send(Channel("chat", kind, "", url, sender="a@example.org"), MESSAGE, "b@example.org", now=NOW)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/x", "ftp://h/x", "https://", "smtp://mail.example.org", "x",
        # A secret's file with two lines: the library found it at the first alert.
        "https://h/x\nhttps://h/y",
    ],
)  # fmt: skip
def test_a_secret_never_travels_in_the_clear(url: str) -> None:
    """Plain HTTP is for this machine only."""
    with pytest.raises(BadInput) as refused:
        checked_url(url, "The webhook")
    assert "hooks.example.org/x" not in refused.value.message
    assert checked_url("http://127.0.0.1:1/x", "The webhook")


def test_a_password_that_is_not_ascii_is_refused_for_good_and_not_shown() -> None:
    """smtplib broke off with a UnicodeEncodeError: no dead letter, no word of it, the same again each minute."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as talk:
            talk.write(b"220 here\r\n")
            talk.flush()
            talk.readline()
            talk.write(b"250-here\r\n250 AUTH PLAIN\r\n")
            talk.flush()
            talk.readline()

    threading.Thread(target=answer, daemon=True).start()
    with server, Notifier(monotonic_s=time.monotonic, timeout_s=1.0) as notifier:
        url = f"smtp://me:{SECRET}%C3%A4@127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NotSent) as refused:
            notifier.send(Channel("mail", "smtp", "", url, sender="a@example.org"), MESSAGE, "b@example.org", now=NOW)
    assert refused.value.is_permanent
    assert "not ASCII" in refused.value.message
    assert SECRET not in refused.value.message


def test_what_is_kept_of_an_answer_holds_neither_secret_nor_control_characters() -> None:
    """An answer is somebody else's text and is shown in terminals."""
    channel = Channel("page", "pagerduty", "", "https://x", "0123456789abcdef" * 2)
    told = without_secrets(f"bad key {'0123456789abcdef' * 2}\x1b[31m https://h/p?q " + "x" * 900, channel)
    assert "0123456789abcdef" not in told
    assert "\x1b" not in told
    assert "https://h" not in told
    assert len(told) <= 300
