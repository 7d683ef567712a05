"""How is the model served?

The port is bound and registry, schema and keys are checked before the first request, as for the API. One process: it holds one
model, and its counters are its own.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import uvicorn

from plms_pipeline.access.routes import AppState
from plms_pipeline.clock import SystemClock
from plms_pipeline.instance.service import bound_socket, interruptible
from plms_pipeline.models.serving.health import Reason, reasons
from plms_pipeline.models.serving.metrics import ServingMetrics
from plms_pipeline.models.serving.routes import SERVER, server_of
from plms_pipeline.models.serving.service import ModelServer
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.service.door import doorkeeper
from plms_pipeline.web.api.service.server import refuse_open_door, server_config, tell_when_started
from plms_pipeline.web.serving.routes import create_model_app


@dataclass(frozen=True, slots=True)
class Beginning:
    """With what serving begins: the model that answers, the number of its promotion, and everything that is wrong."""

    model: dict[str, str] | None
    sequence: int | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What `plms model serve` was asked for. Port 0 takes any free one."""

    host: str
    port: int


def serve_model(settings: Settings, options: ModelOptions, on_ready: Callable[[str, Beginning], None]) -> None:
    """Serve the champion until SIGINT or SIGTERM; requests that have begun are answered, and what was counted is written.

    Args:
        settings: of this process.
        options: address and port.
        on_ready: called once, from another thread, with the URL and what serves, when the first request would be answered.

    Raises:
        BadInput: the address cannot be bound, is reachable by others while PLMS_AUTH=disabled, or the limits make no sense.
        NoData: there are no token keys (`no_token_keys`).
        Unavailable: the registry is away or not at head.
    """
    with bound_socket(options.host, options.port, "PLMS_MODEL_PORT") as listener, interruptible():
        address, port = listener.getsockname()[:2]
        refuse_open_door(settings, address)
        url = f"http://{f'[{options.host}]' if ':' in options.host else options.host}:{port}"
        with running(settings) as app:
            server = uvicorn.Server(server_config(app, lifespan="off"))
            found = _beginning(server_of(app.state.plms))
            threading.Thread(target=tell_when_started, args=(server, lambda: on_ready(url, found)), daemon=True).start()
            server.run(sockets=[listener])


def _beginning(model: ModelServer) -> Beginning:
    served = model.served
    return Beginning(
        None if served is None else served.version.as_document(),
        None if served is None else served.entry.sequence,
        reasons(served, model.refused, model.unread, model.switch),
    )


@contextmanager
def running(settings: Settings) -> Iterator[Any]:
    """The application with its model and the thread that watches the registry; all of it ended when the block ends.

    Raises:
        BadInput: the settings name limits that make no sense.
        NoData: no token keys were made yet.
        Unavailable: the registry is away or not at head.
    """
    clock = SystemClock()
    with opened(settings) as registry:
        state = AppState(
            settings=settings,
            registry=registry,
            clock=clock,
            ids=lambda: str(uuid4()),
            door=doorkeeper(settings, clock),
            pas=lambda: None,
            stopwatch=time.perf_counter,
        )
        server = ModelServer(settings, registry, clock, ServingMetrics())
        state.extras[SERVER] = server
        app = create_model_app(state)
        server.start()
        try:
            # What exists by now stays: without this every full collection walks it again, and some request waits for that.
            gc.collect()
            gc.freeze()
            yield app
        finally:
            server.stop()
