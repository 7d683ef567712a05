"""How long does `/predict` take, against an empty endpoint?

The application of `plms model serve` and a bare FastAPI application with an endpoint that answers a constant, in one uvicorn
process on one event loop, asked in turn by one client over one connection. The promoted model was trained on 20 symbols: asked
are the newest bars of all of them, one new bar of one symbol and of each, and the guardrails of a book of 20 positions. P95 of
each, medians over rounds.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI

from bench.common import ROUNDS, Row
from plms_pipeline.clock import SystemClock
from plms_pipeline.instance.service import bound_socket
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.retraining import retrain
from plms_pipeline.models.evaluation.gates import GateConfig
from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.market.generator import World, generate
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline.web.api.service.server import server_config
from plms_pipeline.web.serving.service import running
from plms_pipeline_tests.models.serving.worlds import SUMMARY, Trained, promote

SYMBOLS, BARS, REQUESTS, WARM = 20, 2_500, 40, 5
PROMISED_MS = {"predict": 750, "guardrails": 250}


def run() -> list[Row]:
    """All of it on one fresh instance."""
    with tempfile.TemporaryDirectory(prefix="plms-bench-", ignore_cleanup_errors=True) as name:
        settings = load_settings({"PLMS_DATA_DIR": name, "PLMS_REPORTS_DIR": name, "PLMS_AUTH": "disabled"})
        bars = _promoted(settings)
        with _served(settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            return _rows(client, _questions(bars))


def _promoted(settings: Settings) -> Bars:
    """A model that serves; the bars that it was trained on."""
    root = settings.data_dir
    market = generate(World(symbols=SYMBOLS, bars=BARS, signal_to_noise=0.2, has_alt=False), 7)
    write_prices(root / "market.csv", market.raw)
    migrate.upgrade(settings.database_url)
    asked = experiment({})
    done = retrain(
        Request(root / "market.csv", asked, gates=GateConfig(resamples=200)), root=root, clock=SystemClock(),
        run_id="bench", code_version="0",
    )  # fmt: skip
    summary = hashlib.sha256((done.run.path / SUMMARY).read_bytes()).hexdigest()
    registry = Registry.open(settings.database_url)
    try:
        folder = str(done.run.path.relative_to(root))
        promote(
            registry,
            Trained(folder, done.data.digest, done.run.manifest_sha256, done.run.model_sha256, summary, asked.digest()),
        )
    finally:
        registry.close()
    return done.data.examination.bars


@contextmanager
def _served(settings: Settings) -> Iterator[str]:
    """Both applications on one port, in a thread; the URL."""
    bare = FastAPI(openapi_url=None)

    @bare.post("/limit/empty")
    async def empty() -> dict[str, str]:
        return {"status": "ok"}

    with running(settings) as ours, bound_socket("127.0.0.1", 0) as listener:

        async def both(scope: Any, receive: Any, send: Any) -> None:
            chosen = bare if scope["path"].startswith("/limit/") else ours
            await chosen(scope, receive, send)

        server = uvicorn.Server(server_config(both, lifespan="off"))
        # Signals belong to the main thread, which this is not.
        with patch.object(server, "install_signal_handlers", create=True):
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True
            thread.join(20)


def _questions(bars: Bars) -> dict[str, tuple[str, bytes]]:
    """Name → path and body."""
    newest = [_next_bar(bars, name, rows) for name, rows in bars.slices()]
    book = [
        {"timestamp": "2026-03-02T14:30:00Z", "symbol": row["symbol"], "notional": 0.1, "pnl": 0.0} for row in newest
    ]
    asked: dict[str, tuple[str, Any]] = {
        f"the newest bars of {SYMBOLS} symbols": ("/predict", {}),
        "one new bar of one symbol": ("/predict", {"bars": newest[:1]}),
        f"one new bar of each of {SYMBOLS} symbols": ("/predict", {"bars": newest}),
        f"a book of {SYMBOLS} positions": ("/guardrails", {"trades": book}),
    }
    return {name: (path, json.dumps(body).encode()) for name, (path, body) in asked.items()}


def _next_bar(bars: Bars, symbol: str, rows: slice) -> dict[str, Any]:
    last = rows.stop - 1
    moment = bars.timestamp[last] + (bars.timestamp[last] - bars.timestamp[last - 1])
    close = float(bars.close[last])
    return {
        "timestamp": f"{np.datetime_as_string(moment, unit='s')}Z", "symbol": symbol, "open": close, "high": close * 1.01,
        "low": close * 0.99, "close": close * 1.002, "volume": float(bars.volume[last]),
    }  # fmt: skip


def _rows(client: httpx.Client, asked: dict[str, tuple[str, bytes]]) -> list[Row]:
    taken: dict[str, list[float]] = {name: [] for name in ("empty", *asked)}
    for _ in range(ROUNDS):
        for name, (path, body) in {"empty": ("/limit/empty", b"{}"), **asked}.items():
            taken[name].append(_p95(lambda path=path, body=body: _ask(client, path, body)))  # type: ignore[misc]
    rows = []
    for name, (path, _) in asked.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(taken[name], taken["empty"], strict=True))
        promised = PROMISED_MS[path.removeprefix("/")]
        ours = statistics.median(taken[name])
        rows.append(
            Row("serving", f"POST {path}, {name}: p95", "an empty endpoint", ours, statistics.median(taken["empty"]), ratio,
                f"p95 ≤ {promised} ms", ours * 1000 <= promised)
        )  # fmt: skip
    return rows


def _ask(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text


def _p95(ask: Callable[[], None]) -> float:
    for _ in range(WARM):
        ask()
    taken = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[int(0.95 * REQUESTS)]
