"""How long do answers take, asked by a process that does nothing else?

Reads one JSON plan per line on its standard input and writes one JSON result per line. Raw asyncio protocols and requests that
were put together beforehand: a full HTTP client costs more per request than the server does, and then it is the client that is
measured. A closed loop keeps each client's next request waiting for its last answer and gives throughput; an open loop sends
at moments that were drawn beforehand, whatever the server does, and times from those moments, so that a stall is counted for
everybody who would have come meanwhile (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from uuid import uuid4

DRAIN_S = 10.0
# Counts on from plan to plan: a number never comes again.
NUMBERS = count(1)
Answered = Callable[["Connection", int], None]


class Connection(asyncio.Protocol):
    """One kept connection: at most one request at a time, told when its answer is whole."""

    def __init__(self, answered: Answered) -> None:
        self._answered = answered
        self._got = b""
        self._wanted = -1
        self.transport: asyncio.WriteTransport | None = None
        self.begun_s = 0.0
        self.name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to ask."""
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def ask(self, request: bytes, begun_s: float, name: str) -> None:
        """Send one request; `begun_s` is the moment from which its time counts."""
        assert self.transport is not None
        self.begun_s, self.name = begun_s, name
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Part of an answer; only its length and its status are looked at."""
        self._got += data
        if self._wanted < 0:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self._got.lower().find(b"content-length:", 0, end)
            length = int(self._got[at + 15 : self._got.find(b"\r", at)]) if at >= 0 else 0
            self._wanted = end + 4 + length
        if len(self._got) >= self._wanted:
            status = int(self._got[9:12])
            self._got, self._wanted = b"", -1
            self._answered(self, status)


def filled(templates: list[dict[str, str]]) -> Iterator[tuple[str, bytes]]:
    """Requests without end, in turn: `%N` becomes a number that never comes again, `%K` a new key."""
    ready = [(each["name"], each["raw"].encode(), "%N" in each["raw"], "%K" in each["raw"]) for each in templates]
    while True:
        for name, raw, has_number, has_key in ready:
            made = raw.replace(b"%N", b"%d" % next(NUMBERS)) if has_number else raw
            yield name, made.replace(b"%K", str(uuid4()).encode()) if has_key else made


class Tally:
    """Times in seconds by name of request, and how many answers were not the expected ones."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.bad: dict[str, int] = {}

    def add(self, name: str, seconds: float, status: int) -> None:
        """One answer."""
        self.times.setdefault(name, []).append(seconds)
        if not 200 <= status < 300:
            key = f"{name} {status}"
            self.bad[key] = self.bad.get(key, 0) + 1


async def closed(plan: dict[str, Any]) -> dict[str, Any]:
    """`clients` connections, each asking again as soon as it was answered, for `seconds`."""
    loop = asyncio.get_running_loop()
    requests, tally = filled(plan["requests"]), Tally()
    finished: asyncio.Future[None] = loop.create_future()
    clients, busy = int(plan["clients"]), int(plan["clients"])
    ends = 0.0
    last = 0.0

    def answered(connection: Connection, status: int) -> None:
        nonlocal busy, last
        now = time.perf_counter()
        tally.add(connection.name, now - connection.begun_s, status)
        if now < ends:
            name, request = next(requests)
            connection.ask(request, now, name)
            return
        last, busy = now, busy - 1
        if not busy:
            finished.set_result(None)

    connections = await _connected(plan, clients, answered)
    began = time.perf_counter()
    ends = began + float(plan["seconds"])
    for connection in connections:
        name, request = next(requests)
        connection.ask(request, time.perf_counter(), name)
    await asyncio.wait_for(finished, float(plan["seconds"]) + DRAIN_S)
    _close(connections)
    return {"elapsed_s": last - began, "times": tally.times, "bad": tally.bad}


async def opened(plan: dict[str, Any]) -> dict[str, Any]:
    """Requests at moments drawn from a Poisson process of `rate` per second, for `seconds`, whatever the answers do."""
    requests, tally, draw = filled(plan["requests"]), Tally(), random.Random(plan.get("seed", 0))
    moments, at = deque[tuple[float, str, bytes]](), 0.0
    while (at := at + draw.expovariate(float(plan["rate"]))) < float(plan["seconds"]):
        moments.append((at, *next(requests)))
    wanted, late = len(moments), []
    free: deque[Connection] = deque()
    waiting: deque[tuple[float, str, bytes]] = deque()
    done = asyncio.Event()
    answers = 0

    def answered(connection: Connection, status: int) -> None:
        nonlocal answers
        answers += 1
        tally.add(connection.name, time.perf_counter() - connection.begun_s, status)
        if waiting:
            begun, name, request = waiting.popleft()
            connection.ask(request, begun, name)
        else:
            free.append(connection)
        if answers == wanted:
            done.set()

    connections = await _connected(plan, int(plan["clients"]), answered)
    free.extend(connections)
    began = time.perf_counter()
    while moments:
        pause = began + moments[0][0] - time.perf_counter()
        # Epoll counts in whole milliseconds and wakes late: the last one is spent looking at the sockets.
        await asyncio.sleep(pause - 0.001 if pause > 0.002 else 0)
        while moments and began + moments[0][0] <= time.perf_counter():
            at, name, request = moments.popleft()
            late.append(time.perf_counter() - began - at)
            if free:
                free.popleft().ask(request, began + at, name)
            else:
                waiting.append((began + at, name, request))
    await asyncio.wait_for(done.wait(), DRAIN_S)
    _close(connections)
    late.sort()
    return {
        "elapsed_s": time.perf_counter() - began, "times": tally.times, "bad": tally.bad,
        "late_p99_s": late[int(0.99 * len(late))],
    }  # fmt: skip


async def _connected(plan: dict[str, Any], count: int, answered: Answered) -> list[Connection]:
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        _, connection = await loop.create_connection(lambda: Connection(answered), plan["host"], int(plan["port"]))
        made.append(connection)
    return made


def _close(connections: list[Connection]) -> None:
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()


def main() -> None:
    """Plans in, results out, one line each."""
    gc.disable()
    for line in sys.stdin:
        plan = json.loads(line)
        result = asyncio.run(opened(plan) if plan["kind"] == "open" else closed(plan))
        gc.collect()
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
