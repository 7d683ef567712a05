"""How is a request ended when its time is over, however slowly the answer comes?

httpx bounds each read, so a server that sends one byte now and then is always in time: headers alone may drip for a day, and
whoever asked holds a thread and a claim meanwhile. Looking at the clock between the chunks of a body, as one would, never
happens while headers drip. Here every operation on the socket is given no more than what is left of the request.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import httpcore
import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Who is believed to be who he says: read once, because reading the certificates takes longer than a request does."""
    return httpx.create_ssl_context(trust_env=False)


_UNTIL_S: ContextVar[float | None] = ContextVar("until_s", default=None)


class Deadlines:
    """Gives a transport whose requests end in time: `until` some moment, which is each thread's own.

    Args:
        monotonic_s: seconds of a clock that never jumps.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s

    @contextmanager
    def until(self, until_s: float) -> Iterator[None]:
        """Whatever is read or written in this block ends at that moment of the clock, as a timeout of httpx."""
        before = _UNTIL_S.set(until_s)
        try:
            yield
        finally:
            _UNTIL_S.reset(before)

    def transport(self) -> httpx.HTTPTransport:
        """A transport of httpx that keeps the deadlines. The environment names neither proxies nor certificates for it."""
        transport = httpx.HTTPTransport(trust_env=False, verify=trusted())
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        # httpx offers no way to hand over a network backend; httpcore does. A test with a dripping server holds on to it.
        transport._pool = httpcore.ConnectionPool(
            ssl_context=trusted(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(self),
        )
        return transport

    def left_s(self, timeout: float | None, over: type[Exception]) -> float | None:
        """What an operation may take that was given `timeout`.

        Raises:
            over: nothing is left.
        """
        until_s = _UNTIL_S.get()
        if until_s is None:
            return timeout
        left = until_s - self._monotonic_s()
        if left <= 0:
            raise over("the request's time is over")
        return left if timeout is None else min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines, self._inner = deadlines, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = self._deadlines.left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._deadlines, self._inner.connect_tcp(host, port, left, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, deadlines: Deadlines, inner: httpcore.NetworkStream) -> None:
        self._deadlines, self._inner = deadlines, inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadlines.left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadlines.left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadlines.left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._deadlines, self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
