"""What could this server do at best?

The application of `plms serve` with its worker process, and beside it, in the same uvicorn process and on the same event
loop, a bare FastAPI application with the two limits: an async endpoint that answers a constant, and one that makes a single
durable insert in the same database. Prints its URL as one line of JSON, ends on SIGTERM.

With BENCH_PROFILE=<file> the event loop's thread runs under cProfile, and each thread of the pool as well.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from sqlalchemy import text

from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings
from plms_pipeline.web.api.service.composition import running
from plms_pipeline.web.service import bound_socket, interruptible

TABLE = "bench_limit"


def limits(registry: Registry) -> FastAPI:
    """The bare application. On SQLite one raw connection with the same PRAGMAs as ours makes the insert."""
    app = FastAPI(openapi_url=None)
    with registry.writing() as session:
        session.execute(text(f"CREATE TABLE IF NOT EXISTS {TABLE} (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"))
    held: Any = registry.engine.connect()
    raw = held.connection.dbapi_connection
    held.rollback()

    @app.get("/limit/empty")
    async def empty() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/limit/insert")
    async def insert(request: Request) -> dict[str, str]:
        body = await request.body()
        # The connection is in the driver's autocommit mode: one statement, one transaction, one fsync.
        raw.execute(f"INSERT INTO {TABLE} (body) VALUES (?)", (body.decode(),))
        return {"status": "ok"}

    return app


def beside(ours: Any, theirs: Any) -> Any:
    """One ASGI application of two, told apart by the path."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        chosen = theirs if scope["type"] == "http" and scope["path"].startswith("/limit/") else ours
        await chosen(scope, receive, send)

    return app


def main() -> None:
    """Serve until SIGTERM."""
    settings = load_settings()
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with bound_socket("127.0.0.1", port, "PLMS_API_PORT") as listener, interruptible(), running(settings) as ours:
        bench = Registry.open(settings.database_url)
        app = beside(ours, limits(bench))
        config = uvicorn.Config(app, log_config=None, log_level="warning", access_log=False, lifespan="off",
                                proxy_headers=False, server_header=False, timeout_graceful_shutdown=2)  # fmt: skip
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        threading.Timer(0.5, lambda: print(json.dumps({"url": url}), flush=True)).start()
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            bench.close()


def profiled(file: str) -> None:
    """`main` under cProfile, one profile per thread, written to `file` and `file.<n>` at the end."""
    import cProfile
    import functools

    kept: list[cProfile.Profile] = []
    plain = threading.Thread.run

    @functools.wraps(plain)
    def run(self: threading.Thread) -> None:
        profile = cProfile.Profile()
        kept.append(profile)
        profile.runcall(plain, self)

    setattr(threading.Thread, "run", run)  # noqa: B010 - a plain assignment is one that mypy refuses
    profile = cProfile.Profile()
    try:
        profile.runcall(main)
    finally:
        profile.dump_stats(file)
        for number, each in enumerate(kept):
            each.dump_stats(f"{file}.{number}")


if __name__ == "__main__":
    if os.environ.get("BENCH_PROFILE"):
        profiled(os.environ["BENCH_PROFILE"])
    else:
        main()
