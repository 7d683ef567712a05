"""Does a server say in one sentence why it cannot have its port, and does it end when it is told to?"""

from __future__ import annotations

import os
import signal
import socket

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.instance.service import bound_socket, interruptible


@pytest.mark.parametrize(("variable", "remedy"), [(None, "--port.$"), ("PLMS_API_PORT", "--port or PLMS_API_PORT.$")])
def test_a_port_in_use_is_one_clear_error(variable: str | None, remedy: str) -> None:
    """Three tracebacks would hide the one word that matters."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"Port {port} on 127.0.0.1 is already in use.*{remedy}") as caught:
            bound_socket("127.0.0.1", port, variable).__enter__()
    assert (caught.value.code, caught.value.exit_code) == ("port_in_use", 2)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "8.8.8.8", "a" * 300])
def test_an_address_that_is_not_ours_is_one_clear_error(host: str) -> None:
    """The reader needs to know that it is the address and what to write instead."""
    with pytest.raises(BadInput, match="--host"):
        bound_socket(host, 3000).__enter__()


def test_a_free_port_is_taken_and_given_back() -> None:
    """A server that keeps its port cannot be started again."""
    with bound_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    with bound_socket("127.0.0.1", port) as listener:
        assert listener.getsockname()[1] == port


def test_sigterm_ends_a_block_as_ctrl_c_does() -> None:
    """What is stopped by the system puts its things in order as what a person stops."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
