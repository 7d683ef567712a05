"""How is the API served?

The port is bound before anything else, so that "port in use" is one line; keys, registry and schema are checked before the
first request, so that a server which answers is one that can work. Without tokens (PLMS_AUTH=disabled) it serves this
machine only.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from plms_pipeline.access.extras import IS_ENDING
from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput
from plms_pipeline.instance.service import bound_socket, interruptible
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline.web.api.service.bell import PATH_VARIABLE
from plms_pipeline.web.api.service.door import doorkeeper
from plms_pipeline.web.api.service.own_folder import told
from plms_pipeline.web.api.service.shared_metrics import forget_dead_workers, shared_metrics
from plms_pipeline.web.api.service.worker import worker_beside
from plms_pipeline.web.process import outlived_parent

if TYPE_CHECKING:
    import socket

GRACE_S = 10
FACTORY = "plms_pipeline.web.api.service.server:worker_application"


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """What `plms serve` was asked for. Port 0 takes any free one."""

    host: str
    port: int
    workers: int = 1


def serve_api(settings: Settings, options: ApiOptions, on_ready: Callable[[str], None]) -> None:
    """Serve the API until SIGINT or SIGTERM; requests that have begun are answered before it returns.

    Args:
        settings: of this process; with several workers each reads the environment again.
        options: address, port, number of processes.
        on_ready: called once, from another thread, with the URL, when the first request would be answered.

    Raises:
        BadInput: the address cannot be bound (`port_in_use`, `bad_address`), or is reachable by others while
            PLMS_AUTH=disabled (`not_loopback`).
        NoData: there are no token keys (`no_token_keys`).
        Unavailable: the registry is away or not at head.
    """
    with bound_socket(options.host, options.port, "PLMS_API_PORT") as listener, interruptible():
        address, port = listener.getsockname()[:2]
        refuse_open_door(settings, address)
        url = f"http://{f'[{options.host}]' if ':' in options.host else options.host}:{port}"
        # The processes beside this one ask it how it is: where it listens, and not where the settings say that it would.
        with told("PLMS_API_HOST", options.host), told("PLMS_API_PORT", str(port)):
            _serve(settings, options.workers, listener, lambda: on_ready(url))


def _serve(settings: Settings, workers: int, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    # Told at once, before anything heavy is imported, and once, not by each worker.
    with opened(settings):
        pass
    doorkeeper(settings, SystemClock())
    if workers > 1:
        _serve_many(workers, listener, on_ready)
        return
    from plms_pipeline.web.api.service.composition import running

    with running(settings) as app:
        server = uvicorn.Server(server_config(app, lifespan="off"))
        app.state.plms.extras[IS_ENDING] = lambda: server.should_exit
        threading.Thread(target=tell_when_started, args=(server, on_ready), daemon=True).start()
        server.run(sockets=[listener])


def refuse_open_door(settings: Settings, address: str) -> None:
    """Refuse to serve others than this machine without tokens.

    Raises:
        BadInput: PLMS_AUTH=disabled and the address is not loopback (`not_loopback`).
    """
    if settings.auth == "disabled" and not ip_address(address).is_loopback:
        raise BadInput(
            f"PLMS_AUTH=disabled lets everybody do everything, and {address} is reachable from other machines; bind "
            "127.0.0.1 or use tokens (PLMS_AUTH=jwt, `plms token keys`).",
            code="not_loopback",
        )


def worker_application() -> Any:
    """The application of one of several worker processes; its parts live as long as the server of that process."""
    from plms_pipeline.web.api.service.composition import running

    settings = load_settings()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    forget_dead_workers()
    parts = running(settings, Path(os.environ[PATH_VARIABLE]))
    app = parts.__enter__()
    # uvicorn makes an application while it listens for signals already; who hears them is the server of this process.
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    app.state.plms.extras[IS_ENDING] = lambda: bool(getattr(server, "should_exit", False))

    @asynccontextmanager
    async def until_stopped(_: Any) -> AsyncIterator[None]:
        yield
        parts.__exit__(None, None, None)

    app.router.lifespan_context = until_stopped
    return app


def _end_with_parent() -> None:
    """A worker whose parent was killed would go on serving, and hold the port against the next start."""
    if outlived_parent():
        os.kill(os.getpid(), signal.SIGTERM)


def _serve_many(workers: int, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    from uvicorn.supervisors import Multiprocess

    config = server_config(FACTORY, lifespan="on", factory=True, workers=workers)
    threading.Thread(target=_tell_when_answered, args=(listener, on_ready), daemon=True).start()
    with worker_beside() as heard_at, shared_metrics(), told(PATH_VARIABLE, str(heard_at)):
        Multiprocess(config, sockets=[listener]).run()


def server_config(app: Any, **options: Any) -> uvicorn.Config:
    """How uvicorn serves an application of ours."""
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        # Whom a header says a request comes from is nothing to write into an audit log.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        **options,
    )


def tell_when_started(server: uvicorn.Server, on_ready: Callable[[], None]) -> None:
    """Call `on_ready` as soon as a server listens; for a thread beside it."""
    while not server.started and not server.should_exit:
        time.sleep(0.02)
    if server.started:
        on_ready()


def _tell_when_answered(listener: socket.socket, on_ready: Callable[[], None]) -> None:
    import socket as sockets

    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        try:
            with sockets.create_connection(listener.getsockname()[:2], timeout=5.0) as probe:
                probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if probe.recv(16).startswith(b"HTTP/1.1 200"):
                    on_ready()
                    return
        except OSError:
            time.sleep(0.05)
