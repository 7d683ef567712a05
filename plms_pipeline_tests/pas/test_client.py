"""Does the client lose no call and repeat none under another name?"""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from plms_pipeline.pas.breaker import BreakerPolicy
from plms_pipeline.pas.client import Dialect, PasClient, PasRefused, PasUnavailable
from plms_pipeline.pas.protocol import JobCard, StartRun
from plms_pipeline_tests.pas.scripted import Reply, Request, scripted_server
from plms_pipeline_tests.pas.test_protocol import CARD, START

ACCEPTED = Reply(201, {"pas_task_id": "pas-1", "duplicate": False})


class Machine:
    """A clock that moves only by sleeping, and dice that always show the same."""

    def __init__(self, chance: float = 1.0) -> None:
        self.now, self._chance = 0.0, chance
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def client(self, url: str, *, dialect: Dialect = "pas", **more: Any) -> PasClient:
        return PasClient(
            url, sleep=self.sleep, chance=lambda: self._chance, monotonic_s=lambda: self.now, dialect=dialect, **more
        )


@contextmanager
def talking(
    *replies: Reply,
    answer: Callable[[Request, int], Reply] | None = None,
    machine: Machine | None = None,
    **more: Any,
) -> Iterator[tuple[PasClient, list[Request]]]:
    """A client and what its server sees; the server gives the replies in turn, the last one for ever."""
    with (
        scripted_server(answer or in_turn(*replies)) as server,
        (machine or Machine()).client(server.url, **more) as client,
    ):
        yield client, server.seen


def in_turn(*replies: Reply) -> Callable[[Request, int], Reply]:
    return lambda _request, number: replies[min(number, len(replies) - 1)]


def test_a_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    """A second key would be a second task, paid twice."""
    again = Reply(200, {"pas_task_id": "pas-1", "duplicate": True})
    with talking(Reply(None), Reply(500), again) as (client, seen):
        assert client.submit_card(JobCard.model_validate(CARD)).duplicate
    assert [request.headers["idempotency-key"] for request in seen] == ["k1"] * 3
    assert len({request.body for request in seen}) == 1


def test_a_timeout_is_asked_for_again() -> None:
    """The executor may have taken the card: only the same key tells."""
    never = threading.Event()
    with talking(Reply(wait=never), ACCEPTED, timeout_s=0.2) as (client, seen):
        try:
            assert client.submit_card(JobCard.model_validate(CARD)).pas_task_id == "pas-1"
            assert len(seen) == 2
        finally:
            never.set()


@pytest.mark.parametrize(("chance", "waits"), [(1.0, [0.1, 0.2, 0.4]), (0.0, [0, 0, 0])])
def test_waits_grow_with_full_jitter_and_end(chance: float, waits: list[float]) -> None:
    """Without a bound one call hangs for ever; without jitter a thousand clients come back in step."""
    machine = Machine(chance)
    with talking(Reply(503), machine=machine, attempts=4) as (client, _), pytest.raises(PasUnavailable) as raised:
        client.health()
    assert machine.slept == pytest.approx(waits)
    assert raised.value.exit_code == 4
    assert raised.value.retry_after_s is not None


def test_retry_after_is_honoured() -> None:
    """A client that comes earlier than it was told is what the limit is there for."""
    machine = Machine(chance=0.0)
    with talking(Reply(429, headers={"Retry-After": "3"}), ACCEPTED, machine=machine) as (client, _):
        client.submit_card(JobCard.model_validate(CARD))
    assert machine.slept == [3]


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:04 GMT", "Date": "Sun, 01 Mar 2026 12:00:00 GMT"}, 4),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT", "Date": "Sun, 01 Mar 2026 12:00:00 GMT"}, 0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:04 GMT"}, 0),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "9" * 400}, 0),
        ({"Retry-After": "-1"}, 0),
    ],
)
def test_retry_after_may_be_a_date_by_the_servers_own_clock(headers: dict[str, str], waited: float) -> None:
    """Read against our clock, a skew of an hour becomes a wait of an hour."""
    machine = Machine(chance=0.0)
    with talking(Reply(503, headers=headers), ACCEPTED, machine=machine) as (client, _):
        client.submit_card(JobCard.model_validate(CARD))
    assert machine.slept == [waited]


def test_a_long_wait_is_handed_up_instead_of_slept() -> None:
    """A dispatcher that sleeps ten minutes inside a call holds its lease and its thread."""
    machine = Machine()
    busy = Reply(503, headers={"Retry-After": "600"})
    with talking(busy, machine=machine) as (client, _), pytest.raises(PasUnavailable) as raised:
        client.health()
    assert raised.value.retry_after_s == 600
    assert machine.slept == []


def test_a_dead_executor_costs_no_calls_while_the_breaker_is_open() -> None:
    """A thousand cards against a dead executor are a thousand timeouts otherwise."""
    machine = Machine()
    with talking(Reply(500), machine=machine, policy=BreakerPolicy(failures=4, pause_s=30)) as (client, seen):
        errors = []
        for _ in range(10):
            with pytest.raises(PasUnavailable) as raised:
                client.health()
            errors.append(raised.value)
        assert len(seen) == 4
        assert (errors[-1].code, errors[-1].is_ambiguous) == ("pas_breaker_open", False)
        machine.now += 30
        with pytest.raises(PasUnavailable):
            client.health()
        assert len(seen) == 5


def test_a_recovered_executor_is_used_again() -> None:
    """A breaker that only opens is an outage of our own."""
    machine = Machine()
    replies = (*[Reply(500)] * 4, Reply(200, {"status": "ok"}))
    with talking(*replies, machine=machine, policy=BreakerPolicy(failures=4, pause_s=30)) as (client, _):
        with pytest.raises(PasUnavailable):
            client.health()
        machine.now += 30
        assert client.health().status == "ok"
        assert client.breaker.position == "closed"


@pytest.mark.parametrize("body", [{"detail": "Run not found"}, {"detail": "gone", "code": "run_not_found"}])
def test_a_run_that_the_executor_does_not_know_is_none(body: dict[str, str]) -> None:
    """That a run is gone decides over its end; both the sources' sentence and our code say it."""
    with talking(Reply(404, body)) as (client, _):
        assert client.run_status("run-1") is None


ELSEWHERE = [
    Reply(404, {"detail": "Not Found"}), Reply(404, b"<html>"), Reply(200, b"<html>"),
    Reply(404, {"detail": "There is nothing at this path.", "code": "not_found"}),
]  # fmt: skip


@pytest.mark.parametrize("reply", ELSEWHERE)
def test_a_wrong_address_does_not_end_all_runs(reply: Reply) -> None:
    """A misspelt PLMS_PAS_URL answers every question with 404; read as "unknown run", it fails every run there is.

    PLMS itself, named by mistake, says `not_found` about the path: read as a refusal, it failed every run that was started.
    """
    with talking(reply) as (client, _):
        for ask in (lambda: client.run_status("run-1"), lambda: client.submit_run(StartRun.model_validate(START))):
            with pytest.raises(PasUnavailable) as raised:
                ask()
            assert raised.value.code == "pas_bad_answer"


def test_a_refusal_is_final_and_carries_the_executors_word() -> None:
    """What is refused for good must not be sent four times, and the reason must reach the person."""
    refusal = Reply(422, {"detail": "Unknown lane 1", "code": "unknown_lane"})
    with talking(refusal) as (client, seen), pytest.raises(PasRefused, match="Unknown lane 1") as raised:
        client.submit_card(JobCard.model_validate(CARD))
    assert (raised.value.pas_code, raised.value.status, len(seen)) == ("unknown_lane", 422, 1)


def test_a_wrong_token_says_which_setting_to_look_at() -> None:
    """A 401 read as "refused" would fail the work; it is an outage that an operator ends."""
    refusal = Reply(401, {"detail": "no"})
    with talking(refusal, token="x") as (client, seen), pytest.raises(PasUnavailable, match="PLMS_PAS_TOKEN"):
        client.health()
    assert seen[0].headers["authorization"] == "Bearer x"


def test_an_answer_about_another_run_is_not_taken_for_ours() -> None:
    """A proxy that mixes answers up would give two runs one history."""
    other = Reply(200, {"run_id": "run-2", "status": "executing"})
    with talking(other) as (client, _), pytest.raises(PasUnavailable) as raised:
        client.submit_run(StartRun.model_validate(START))
    assert raised.value.is_ambiguous


def test_a_redirect_does_not_carry_the_token_away() -> None:
    """Following it would show the token to whatever host the answer names."""
    with scripted_server(in_turn(Reply(200, {"status": "ok"}))) as other:
        away = Reply(307, headers={"Location": other.url + "/pas/v1/health"})
        with talking(away, token="secret") as (client, _), pytest.raises(PasUnavailable):
            client.health()
    assert other.seen == []


def test_a_closed_port_is_unavailable_and_not_ambiguous() -> None:
    """Nothing can have happened where nobody listens, so the card may also go elsewhere."""
    with Machine().client("http://127.0.0.1:9") as client, pytest.raises(PasUnavailable) as raised:
        client.submit_card(JobCard.model_validate(CARD))
    assert not raised.value.is_ambiguous


def test_the_architect_gets_the_whole_run_and_names_it() -> None:
    """The guide's endpoint mints its own id; what it gets must hold every task, because there is no second call."""
    with talking(Reply(200, {"run_id": "pas-77"}), dialect="architect") as (client, seen):
        accepted = client.submit_run(StartRun.model_validate(START), [JobCard.model_validate(CARD)])
        with pytest.raises(PasRefused, match="whole runs"):
            client.submit_card(JobCard.model_validate(CARD))
    assert accepted.run_id == "pas-77"
    [request] = seen
    assert request.path == "/pas/architect/submit"
    assert request.headers["idempotency-key"] == "run-1"
    sent = json.loads(request.body)
    assert (sent["project_id"], sent["run_kind"], sent["provider_matrix"]) == (42, "baseline", START["provider_matrix"])
    assert [task["task_id"] for task in sent["tasks"]] == ["t1"]


def test_ids_cannot_reach_another_path() -> None:
    """A run id with a slash or a question mark in it must stay a parameter."""
    with talking(Reply(404, {"detail": "Run not found"})) as (client, seen):
        client.run_status("../x?y=1&run_id=z")
    assert seen[0].path == "/pas/v1/runs/status?run_id=..%2Fx%3Fy%3D1%26run_id%3Dz"


def test_an_answer_that_drips_for_ever_is_given_up() -> None:
    """A byte now and then keeps every read in time: the dispatcher's thread would hang on one call for days."""
    machine = Machine(chance=0.0)

    def dripping() -> Iterator[bytes]:
        while machine.now < 10_000:
            machine.now += 9.0
            yield b" "

    class Dripping(httpx.BaseTransport):
        def handle_request(self, _request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=dripping())

    with (
        machine.client("http://executor", transport=Dripping(), attempts=2) as client,
        pytest.raises(PasUnavailable, match="ReadTimeout, 1 attempt"),
    ):
        client.run_status("r1")
    assert machine.now < 100


@contextmanager
def dripping_server(head: bytes) -> Iterator[tuple[str, list[int]]]:
    """A real server that says `head` and then `x` for ever, a byte each 20 ms; its URL, and how many connections came."""
    came: list[int] = []
    over = threading.Event()

    class Dripping(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            came.append(1)
            self.request.sendall(head)
            with suppress(OSError):
                while not over.wait(0.02):
                    self.request.sendall(b"x")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", came
        finally:
            over.set()
            server.shutdown()


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX-Endless: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"],
    ids=["status line", "headers", "body"],
)
def test_an_executor_that_drips_holds_nobody_beyond_the_deadline(head: bytes) -> None:
    """Each byte was in time for its read: one status line held a dispatcher's thread, and its claim, for a day."""
    with (
        dripping_server(head) as (url, came),
        PasClient(
            url, sleep=time.sleep, chance=lambda: 0.0, monotonic_s=time.monotonic, timeout_s=0.2, longest_s=0.3
        ) as client,
    ):
        began_s = time.monotonic()
        with pytest.raises(PasUnavailable, match="ReadTimeout, 1 attempt"):
            client.health()
        assert 0.25 < time.monotonic() - began_s < 5
        assert len(came) == 1


def test_connections_are_kept_under_the_deadline() -> None:
    """The bound must not cost a new connection for each of a thousand cards, nor outlive the call that it was for."""
    with talking(ACCEPTED, longest_s=5.0) as (client, seen):
        for _ in range(3):
            client.submit_card(JobCard.model_validate(CARD))
    assert len(seen) == 3
    assert len({request.port for request in seen}) == 1
