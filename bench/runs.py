"""From the executor's event to the prior that it moved, on a live server.

Completions of tasks that really are under way are sent one at a time, signed, each with the shipped artifacts of its lane
staged, so that its gates are measured (equal artifacts once). Two moments are timed from the first byte of the request: the
202, which is given once the event is durable, and the one from which any reader of the registry sees the receipt and the
priors that it moved, which are written in one transaction. Events come at random moments, so that some find the settler busy.
"""

from __future__ import annotations

import http.client
import json
import random
import shutil
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from bench.common import ROOT, Row
from bench.http_world import World
from plms_pipeline.access.webhooks import EVENT_ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from plms_pipeline.pas.files import webhook_secret
from plms_pipeline.runs.dispatching import staging_path
from plms_pipeline.settings import load_settings

EVENTS = 150
WARM_UP = 20
LONGEST_S = 20.0
SERVER_PATIENCE_S = 3.0
SAMPLES = {4200: "4200-token-bucket", 4202: "4202-operator-guide", 5102: "5102-repository-costs"}


def measure(here: World) -> list[Row]:
    """Both distances, p50 and p99."""
    durable, visible = timed(here, EVENTS + WARM_UP)
    durable, visible = sorted(durable[WARM_UP:]), sorted(visible[WARM_UP:])
    rows = []
    for what, seconds in (("webhook to durable", durable), ("completion to visible prior", visible)):
        p50, p99 = (seconds[int(share * len(seconds))] for share in (0.5, 0.99))
        note = f"p50 {p50 * 1000:.0f}, p99 {p99 * 1000:.0f} ms of {len(seconds)}"
        rows.append(Row("runs", f"{what}: p50", "", p50, None, None, "", None, note=note))
        rows.append(Row("runs", f"{what}: p99", "", p99, None, None, "", None))
    return rows


def timed(here: World, count: int) -> tuple[list[float], list[float]]:
    """Seconds to durable and to visible, of so many events."""
    settings = load_settings(here.environ)
    secret, draw = webhook_secret(settings), random.Random(11)
    connection = http.client.HTTPConnection(*here.address, timeout=60)
    books = sqlite3.connect(f"file:{here.folder / 'data' / 'registry.db'}?mode=ro", uri=True, isolation_level=None)
    durable: list[float] = []
    visible: list[float] = []
    try:
        while len(visible) < count:
            # The newest, chosen now: the executor ends tasks as well, those that came first.
            (card,) = cards_under_way(books, 1)
            stage(settings.data_dir, *card)
            body, event_id = completion(*card, draw), str(uuid4())
            before = _newest_prior(books)
            time.sleep(draw.uniform(0.0, 0.1))
            began = time.perf_counter()
            connection.request("POST", "/hooks/pas/task_completed", body, _signed(secret, event_id, body))
            answer = connection.getresponse()
            answer.read()
            durable.append(time.perf_counter() - began)
            if answer.status != 202:
                raise RuntimeError(f"an event was answered with {answer.status}")
            if _end_of(books, event_id) == "ignored":
                durable.pop()
                continue
            visible.append(time.perf_counter() - began)
            if visible[-1] > SERVER_PATIENCE_S:
                # The server has let go of it meanwhile; the next request opens another.
                connection.close()
            if _newest_prior(books) <= before:
                raise RuntimeError("an event was settled and moved no prior")
    finally:
        connection.close()
        books.close()
    return durable, visible


Card = tuple[str, str, int, int, str, str]


def cards_under_way(books: sqlite3.Connection, count: int) -> list[Card]:
    """(run, task, attempt, lane, provider, start) of tasks that are under way and have gates, or wait in no queue of ours."""
    found = books.execute(
        "SELECT c.run_id, c.task_id, c.attempt, c.lane_id, c.provider, t.started_at FROM job_cards c JOIN run_tasks t ON "
        "t.run_id = c.run_id AND t.task_id = c.task_id WHERE c.state = 'SUBMITTED' AND t.status = 'RUNNING' AND c.lane_id IN "
        f"({','.join(map(str, SAMPLES))}) ORDER BY c.submitted_at DESC, c.run_id, c.task_id LIMIT {count}"
    ).fetchall()
    if len(found) < count:
        raise RuntimeError(f"only {len(found)} of {count} tasks are under way")
    return found


def stage(data_dir: Path, run_id: str, task_id: str, attempt: int, lane: int, _provider: str, _started: str) -> None:
    """Put the shipped artifacts of a lane where its executor would."""
    target = data_dir / staging_path(run_id, task_id, attempt)
    shutil.copytree(ROOT / "data/samples/artifacts" / SAMPLES[lane], target, dirs_exist_ok=True)


def completion(
    run_id: str, task_id: str, attempt: int, lane: int, provider: str, started: str, draw: random.Random
) -> bytes:
    """A completion with its receipt, as the executor sends it."""
    began = datetime.fromisoformat(started).replace(tzinfo=UTC)
    ended = max(began + timedelta(milliseconds=1), datetime.now(UTC))
    tokens, cost = draw.randrange(1000, 9000), round(draw.uniform(0.01, 0.2), 6)
    took = int((ended - began) / timedelta(milliseconds=1))
    receipt = {
        "task_id": task_id, "run_id": run_id, "attempt": attempt, "lane": lane, "provider": provider,
        "tokens_in": tokens, "tokens_out": tokens // 3, "tokens_think": 0, "time_ms": took, "cost_usd": cost,
        "status": "succeeded", "started_at": began.isoformat(), "completed_at": ended.isoformat(),
    }  # fmt: skip
    told = {
        "run_id": run_id, "task_id": task_id, "attempt": attempt, "status": "succeeded",
        "metrics": {"tokens_total": tokens + tokens // 3, "time_ms": took, "cost_usd": cost}, "kpis": [],
        "receipt": receipt,
    }  # fmt: skip
    return json.dumps(told).encode()


def _signed(secret: bytes, event_id: str, body: bytes) -> dict[str, str]:
    stamp = int(datetime.now(UTC).timestamp())
    return {
        "Content-Type": "application/json", EVENT_ID_HEADER: event_id, TIMESTAMP_HEADER: str(stamp),
        SIGNATURE_HEADER: sign(secret, event_id, stamp, body),
    }  # fmt: skip


def _end_of(books: sqlite3.Connection, event_id: str) -> str:
    deadline = time.perf_counter() + LONGEST_S
    while time.perf_counter() < deadline:
        if found := end_of(books, event_id):
            return found
        time.sleep(0.001)
    raise RuntimeError(f"an event was not settled in {LONGEST_S:.0f} s")


def end_of(books: sqlite3.Connection, event_id: str) -> str | None:
    """`settled`, `ignored` (the executor was faster: this measures nothing), or None while it waits."""
    row = books.execute("SELECT state, outcome FROM inbox_events WHERE event_id = ?", (event_id,)).fetchone()
    if row is None or row[0] == "pending":
        return None
    if row[0] == "refused":
        raise RuntimeError(f"an event was refused: {row[1]}")
    return str(row[0])


def _newest_prior(books: sqlite3.Connection) -> int:
    return int(books.execute("SELECT coalesce(max(id), 0) FROM estimate_versions").fetchone()[0])
