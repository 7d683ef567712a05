"""Does `plms model serve` start, follow the registry, and end as it should? A real process."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import func, select

from plms_pipeline.access.files import make_keys
from plms_pipeline.cli import main
from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ServingMinute
from plms_pipeline.settings import Settings
from plms_pipeline_tests.models.serving.worlds import promote, trained, turn
from plms_pipeline_tests.web.api.test_serve import PLMS, environ, plms
from plms_pipeline_tests.web.conftest import wait_until

pytestmark = pytest.mark.live
WATCH_S = "0.1"


@contextmanager
def serving(settings: Settings, **more: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    process = subprocess.Popen(
        [PLMS, "model", "serve", "--port", "0", "--json"], env=environ(settings, PLMS_MODEL_WATCH_S=WATCH_S, **more),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"it ended with {process.wait(10)}"
        with httpx.Client(base_url=json.loads(line)["url"], trust_env=False, timeout=20) as client:
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def keyed(settings: Settings, sqlite_registry: Registry) -> Settings:
    make_keys(settings.data_dir, alg="HS256", now=SystemClock().now(), rotate=False)
    return settings


def test_the_whole_path_of_a_model(keyed: Settings, sqlite_registry: Registry) -> None:
    """Promoted, asked, replaced, rolled back, guarded and unguarded, without a restart; and what it did is in the books."""
    old, new = trained(keyed.data_dir), trained(keyed.data_dir, 3.0)
    token = plms(keyed, "token", "issue", "--role", "operator", "--subject", "me").stdout.strip()
    book = {"trades": [{"timestamp": "2026-03-02T14:30:00Z", "symbol": "A", "notional": 2.0}]}
    with serving(keyed) as (process, client):
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/health").json()["status"] == "no_model"
        assert client.get("/health").json()["reasons"][0]["code"] == "no_champion"
        assert client.post("/predict").json()["code"] == "no_champion"
        for of in (old, new, old):
            champion = promote(sqlite_registry, of)
            wait_until(lambda named=champion.promotion_id: _promotion(client) == named)
            answer = client.post("/predict")
            assert (answer.status_code, answer.json()["rows"]) == (200, 3)
            assert answer.json()["model"]["model_sha256"] == of.model
        assert client.post("/guardrails", json=book).json()["scaled"] is True
        turn(sqlite_registry, enabled=False)
        wait_until(lambda: client.post("/guardrails", json=book).json()["enabled"] is False)
        assert 'plus_ultra_guardrails_enabled{policy="service"} 0.0' in client.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with sqlite_registry.reading() as session:
        found = session.execute(
            select(
                func.sum(ServingMinute.requests),
                func.sum(ServingMinute.errors),
                func.sum(ServingMinute.trades_evaluated),
            )
        ).one()
    # Nothing is promised before something was promoted.
    assert found[:2] == (3, 0)
    assert found[2] >= 1


def _promotion(client: httpx.Client) -> str | None:
    model = client.get("/health").json()["model"]
    return None if model is None else str(model["promotion_id"])


def test_answers_are_of_one_model_while_models_change(keyed: Settings, sqlite_registry: Registry) -> None:
    """Four clients under a stream of promotions and then SIGTERM: no failure, no mixture, and every answer is in the books."""
    both = (trained(keyed.data_dir), trained(keyed.data_dir, 3.0))
    token = plms(keyed, "token", "issue", "--role", "operator", "--subject", "me").stdout.strip()
    promote(sqlite_registry, both[0])
    over = threading.Event()
    with serving(keyed) as (process, client), ThreadPoolExecutor(4) as pool:
        client.headers["Authorization"] = f"Bearer {token}"
        asked = [pool.submit(_answers, str(client.base_url), token, over) for _ in range(4)]
        for number in range(1, 9):
            champion = promote(sqlite_registry, both[number % 2])
            wait_until(lambda named=champion.promotion_id: _promotion(client) == named)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        over.set()
        told = [answer for each in asked for answer in each.result()]
    assert {status for status, _, _ in told} == {200}
    scores: dict[str, set[str]] = {}
    for _, digest, predictions in told:
        scores.setdefault(digest, set()).add(predictions)
    assert {digest: len(found) for digest, found in scores.items()} == {both[0].model: 1, both[1].model: 1}
    with sqlite_registry.reading() as session:
        counted = session.execute(select(func.sum(ServingMinute.requests), func.sum(ServingMinute.errors))).one()
    # An answer may be counted and not arrive any more, at most one of each client.
    assert len(told) <= counted[0] <= len(told) + 4
    assert counted[1] == 0


def _answers(url: str, token: str, over: threading.Event) -> list[tuple[int, str, str]]:
    """Status, model and predictions of every answer until the server is gone; header and body name one model."""
    told = []
    with httpx.Client(
        base_url=url, trust_env=False, timeout=30, headers={"Authorization": f"Bearer {token}"}
    ) as client:
        while not over.is_set():
            try:
                answer = client.post("/predict")
            except httpx.TransportError:
                break
            said = answer.json()
            assert answer.headers["x-plms-model-promotion"] == said["model"]["promotion_id"]
            told.append((answer.status_code, said["model"]["model_sha256"], json.dumps(said["predictions"])))
    return told


def test_without_keys_or_schema_it_says_what_to_do(
    settings: Settings, sqlite_registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And on an address that others reach it wants tokens."""
    for name, value in environ(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PLMS_AUTH", raising=False)
    assert main(["model", "serve", "--port", "0"]) == 3
    assert "plms token keys" in capsys.readouterr().err
    monkeypatch.setenv("PLMS_AUTH", "disabled")
    assert main(["model", "serve", "--port", "0", "--host", "0.0.0.0"]) == 2
    assert "PLMS_AUTH=disabled" in capsys.readouterr().err
    (settings.data_dir / "registry.db").unlink()
    assert main(["model", "serve", "--port", "0"]) == 4
    assert "plms db upgrade" in capsys.readouterr().err
