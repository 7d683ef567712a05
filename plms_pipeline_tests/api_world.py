"""An application with keys of its own, served for real on a free port: for the tests of every domain's routes.

`world(settings, registry, clock)` builds what `plms serve` builds, without its threads; `live(app)` serves it.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import uvicorn

from plms_pipeline.access.answers import AnswerCache, NoCache
from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.deadline.client import trusted
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import AppState
from plms_pipeline.access.tokens import Key, issue
from plms_pipeline.clock import Clock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.routes.app import create_app

KEY = Key("tests", "HS256", b"0123456789abcdef" * 2)


@dataclass
class World:
    """An application and what it is made of."""

    state: AppState
    app: Any

    def token(self, role: str = "admin", subject: str | None = None, **changes: Any) -> str:
        """A good token; `changes` replace arguments of `issue`."""
        given = {
            "subject": subject or f"a-{role}", "role": role, "issuer": self.state.settings.jwt_issuer,
            "audience": self.state.settings.jwt_audience, "now": self.state.clock.now(), "ttl": timedelta(hours=1),
            "token_id": uuid4().hex,
        }  # fmt: skip
        key = changes.pop("key", KEY)
        return issue(key, **{**given, **changes})

    def headers(self, role: str = "admin", subject: str | None = None) -> dict[str, str]:
        """The header that names somebody with a role."""
        return {"Authorization": f"Bearer {self.token(role, subject)}"}


def world(
    settings: Settings,
    registry: Registry,
    clock: Clock,
    *,
    cache: AnswerCache | None = None,
    pas: Callable[[], Any] = lambda: None,
    everybody: Principal | None = None,
    routers: tuple[Any, ...] = (),
) -> World:
    """The application over a registry, as `plms serve` would build it."""
    keys = {KEY.kid: KEY}
    door = Doorkeeper(
        lambda _now: keys, clock, issuer=settings.jwt_issuer, audience=settings.jwt_audience, everybody=everybody
    )
    state = AppState(
        settings=settings, registry=registry, clock=clock, ids=lambda: str(uuid4()), door=door, pas=pas,
        cache=cache or NoCache(), stopwatch=time.perf_counter,
    )  # fmt: skip
    return World(state, create_app(state, routers))


@contextmanager
def live(app: Any) -> Iterator[httpx.Client]:
    """A client of the application, served by uvicorn on a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", loop="asyncio"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        host, port = listener.getsockname()
        with httpx.Client(base_url=f"http://{host}:{port}", timeout=30, trust_env=False, verify=trusted()) as client:
            yield client
        server.should_exit = True
        thread.join(10)


def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """One request, without a server between: for tests that ask the application thousands of times."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://plms") as client:
            return await client.request(method, path, **options)

    return asyncio.run(asked())
