"""How does a server take its port, and how does it end?

For every server of the house: the port is bound before anything else is started, so that "port in use" is one sentence and not
a traceback of the server's, and SIGTERM ends it as Ctrl-C does.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from plms_pipeline.errors import BadInput

_IN_USE = (98, 48)  # EADDRINUSE on Linux and macOS


@contextmanager
def bound_socket(host: str, port: int, variable: str | None = None) -> Iterator[socket.socket]:
    """A listening TCP socket; port 0 takes any free one.

    Args:
        host: a name or address of this machine.
        port: where it listens.
        variable: the setting of the port, which the error names, where it has one.

    Raises:
        BadInput: `port_in_use`, or `bad_address` when the address or port cannot be bound for another reason.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise BadInput(
            f"{host} is no address of this machine ({error}); use --host 127.0.0.1.", code="bad_address"
        ) from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            in_use = error.errno in _IN_USE
            where = "--port" if variable is None else f"--port or {variable}"
            raise BadInput(
                f"Port {port} on {host} is already in use; stop what uses it, or choose another with {where}."
                if in_use
                else f"Port {port} on {host} cannot be opened ({error.strerror}); choose another with --host and --port.",
                code="port_in_use" if in_use else "bad_address",
            ) from None
        yield listener


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends the block like Ctrl-C does, even when a background shell made us ignore SIGINT."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
