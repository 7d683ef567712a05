"""Slack, PagerDuty, a ticket system and a mail server on this machine: real servers that keep what they were sent.

In one process for tests (`receiving`), or as a process of their own (`python -m plms_pipeline_tests.notify.receivers FILE`)
that writes each message as a JSON line, synced before it answers: what was answered is in the file whoever is killed.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import os
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

GOOD = {
    "slack": (200, "ok"),
    "pagerduty": (202, '{"status": "success", "message": "Event processed"}'),
    "tickets": (201, ""),
}


@dataclass
class Received:
    """One message as it arrived."""

    service: str
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def mail(self) -> EmailMessage:
        return email.message_from_string(self.body, _class=EmailMessage, policy=email.policy.default)


@dataclass
class Receivers:
    """What arrived, and how the next ones are answered.

    Args:
        answers: service → (status, body, headers) for the next calls, in order; then everything is taken.
        mail_answers: codes of SMTP for the next mails.
    """

    http_port: int = 0
    smtp_port: int = 0
    got: list[Received] = field(default_factory=list)
    answers: dict[str, list[tuple[int, str, dict[str, str]]]] = field(default_factory=dict)
    mail_answers: list[str] = field(default_factory=list)
    log: Path | None = None
    wait_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, service: str) -> list[Received]:
        with self.lock:
            return [one for one in self.got if one.service == service]

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.http_port}/{service}"

    @property
    def environ(self) -> dict[str, str]:
        """The settings that lead here."""
        return {
            "SLACK_WEBHOOK_URL": self.url("slack"), "PD_ROUTING_KEY": "0123456789abcdef" * 2,
            "PLMS_PAGERDUTY_URL": self.url("pagerduty"), "PLMS_SMTP_URL": f"smtp://127.0.0.1:{self.smtp_port}",
            "PLMS_TICKET_URL": self.url("tickets"), "PLMS_TICKET_SECRET": "a-shared-secret-of-tests",
            "ALERT_EMAIL": "nobody@example.org",
        }  # fmt: skip

    def keep(self, one: Received) -> None:
        with self.lock:
            self.got.append(one)
            if self.log is not None:
                with self.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"service": one.service, "headers": one.headers, "body": one.body}) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
        if self.wait_s:
            time.sleep(self.wait_s)

    def next_answer(self, service: str) -> tuple[int, str, dict[str, str]]:
        with self.lock:
            waiting = self.answers.get(service)
            if waiting:
                return waiting.pop(0)
        status, body = GOOD[service]
        return status, body, {}


class _Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receivers: Receivers

    def do_POST(self) -> None:
        service = self.path.strip("/").partition("/")[0]
        size = int(self.headers["Content-Length"])
        raw = self.rfile.read(size)
        if len(raw) < size:
            # Whoever sent it was killed in the middle: no service takes half a message.
            self.close_connection = True
            return
        body = raw.decode()
        status, text, headers = self.receivers.next_answer(service)
        if status < 300:
            self.receivers.keep(Received(service, {name.lower(): value for name, value in self.headers.items()}, body))
        answer = text.encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


class _Smtp(socketserver.StreamRequestHandler):
    receivers: Receivers
    timeout = 30

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._talk()

    def _talk(self) -> None:
        self.say("220 receiver ESMTP")
        headers: dict[str, str] = {"to": ""}
        while line := self.rfile.readline(1000).decode(errors="replace").strip():
            word = line.upper()
            if word.startswith("EHLO"):
                self.say("250-receiver")
                self.say("250 SIZE 1000000")
            elif word.startswith("MAIL FROM"):
                headers = {"from": line[10:].partition(" ")[0].strip("<>"), "to": ""}
                self.say("250 ok")
            elif word.startswith("RCPT TO"):
                headers["to"] = ",".join(filter(None, (headers["to"], line[8:].strip("<>"))))
                self.say("250 ok")
            elif word == "DATA":
                self.say("354 go on")
                body = self._body()
                if body is None:
                    return
                answer = self.receivers.mail_answers.pop(0) if self.receivers.mail_answers else "250 taken"
                if answer.startswith("2"):
                    self.receivers.keep(Received("smtp", headers, body))
                self.say(answer)
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok" if word in ("RSET", "NOOP") else "502 not here")

    def _body(self) -> str | None:
        """The message; None when whoever sent it was killed in the middle."""
        lines = []
        while (line := self.rfile.readline().decode()) not in (".\r\n", ""):
            lines.append(line.removeprefix(".") if line.startswith("..") else line)
        return "".join(lines) if line else None


class _Web(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def receiving(log: Path | None = None) -> Iterator[Receivers]:
    """Servers on free ports while the block runs."""
    receivers = Receivers(log=log)
    http = _Web(("127.0.0.1", 0), type("Http", (_Http,), {"receivers": receivers}))
    smtp = _Tcp(("127.0.0.1", 0), type("Smtp", (_Smtp,), {"receivers": receivers}))
    receivers.http_port, receivers.smtp_port = http.server_address[1], smtp.server_address[1]
    # The default poll of half a second is what closing would wait for.
    threads = [threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True) for one in (http, smtp)]
    for thread in threads:
        thread.start()
    try:
        yield receivers
    finally:
        for server in (http, smtp):
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def main() -> None:
    """Serve until the standard input closes; the ports are the first line."""
    with receiving(Path(sys.argv[1])) as receivers:
        receivers.wait_s = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
        sys.stdout.write(json.dumps({"http_port": receivers.http_port, "smtp_port": receivers.smtp_port}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
