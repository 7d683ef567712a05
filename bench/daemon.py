"""From a completion to the prior that it moved: with a live Dagster daemon beside `plms serve`, and with the daemon alone.

`plms serve` settles at once; the daemon's sensor `pas_completion` is the net behind it and looks every so many seconds. So
three situations are told apart: serve alone, serve with `plms ui` (webserver, code server and daemon) on the same cores, and
the daemon alone, with events that are durable and nobody else to settle them. There the sensor's interval is the figure: an
event that comes at a random moment waits half of it.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from bench import runs
from bench.common import Row
from bench.http_world import BIN, World, _serving, wait_until, world
from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import SystemClock
from plms_pipeline.intake.actions.inbox import accept_event
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings

EVENTS = 100
SLOW_EVENTS = 40
# Several intervals of the sensor, so that events fall anywhere between two ticks.
SPREAD_S = 240.0
PATIENCE_S = 180.0


def run() -> list[Row]:
    """p50 and p99 of the three situations."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="plms-bench-") as name, ExitStack() as outer:
        folder = Path(name)
        with ExitStack() as inner:
            here = inner.enter_context(world(folder))
            _start(here)
            rows += _rows("serve alone", runs.timed(here, EVENTS + runs.WARM_UP)[1][runs.WARM_UP :])
            ui = [BIN / "plms", "ui", "--port", "0", "--no-browser", "--json"]
            outer.enter_context(_serving(here.environ, folder / "ui.log", ui))
            wait_until(lambda: _ticks(folder), what="the daemon's first look", wait_s=120)
            rows += _rows("serve and a live daemon", runs.timed(here, EVENTS)[1])
        # Server and executor are down now; the executor comes back at its address, the daemon was never away.
        pas = here.environ["PLMS_PAS_URL"].rpartition(":")[2]
        executor = [BIN / "plms", "pas", "serve", "--port", pas, "--speed", "1", "--json"]
        outer.enter_context(_serving(here.environ, folder / "pas-again.log", executor))
        rows += _rows("the daemon alone", _by_the_daemon(here))
    return rows


def _rows(situation: str, seconds: Sequence[float]) -> list[Row]:
    found = sorted(seconds)
    p50, p99 = (found[int(share * len(found))] for share in (0.5, 0.99))
    note = f"of {len(found)}"
    what = f"completion to visible prior, {situation}"
    return [
        Row("daemon", f"{what}: p50", "", p50, None, None, "", None, note=note),
        Row("daemon", f"{what}: p99", "", p99, None, None, "", None),
    ]


def _start(here: World) -> None:
    """A run of every project, handed out as far as it goes."""
    with httpx.Client(base_url=here.url, timeout=60, trust_env=False) as client:
        for project in here.projects:
            head = {"Authorization": f"Bearer {here.tokens['operator']}", "Idempotency-Key": str(uuid4())}
            client.post(f"/api/projects/{project}/start", json={}, headers=head).raise_for_status()
    out = "SELECT count(*) FROM job_cards WHERE state = 'SUBMITTED'"
    wait_until(lambda: here.ask(out)[0][0] >= 3 * len(here.projects), what="the handing out", wait_s=120)


def _ticks(folder: Path) -> bool:
    """Whether the daemon has looked at `pas_completion`."""
    for file in (folder / "data").rglob("schedules.db"):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as books:
            try:
                if books.execute("SELECT 1 FROM job_ticks WHERE status != 'STARTED' LIMIT 1").fetchone():
                    return True
            except sqlite3.Error:
                return False
    return False


def _by_the_daemon(here: World) -> list[float]:
    """Seconds from durable to settled of events that come at random moments, while only the daemon is there."""
    settings, clock, draw = load_settings(here.environ), SystemClock(), random.Random(13)
    registry = Registry.open(settings.database_url)
    books = sqlite3.connect(f"file:{here.folder / 'data' / 'registry.db'}?mode=ro", uri=True, isolation_level=None)
    moments = sorted(draw.uniform(0, SPREAD_S) for _ in range(SLOW_EVENTS))
    cards = runs.cards_under_way(books, SLOW_EVENTS)
    sent: dict[str, float] = {}
    taken: list[tuple[str, float]] = []
    began = time.monotonic()
    try:
        while len(taken) < SLOW_EVENTS:
            now = time.monotonic() - began
            if now > SPREAD_S + PATIENCE_S:
                raise RuntimeError(f"{SLOW_EVENTS - len(taken)} events were not settled")
            while len(taken) + len(sent) < SLOW_EVENTS and moments[len(taken) + len(sent)] <= now:
                sent[_deliver(registry, clock, settings, cards[len(taken) + len(sent)], draw)] = time.monotonic()
            for event_id, end in [(one, runs.end_of(books, one)) for one in sent]:
                if end is not None:
                    taken.append((end, time.monotonic() - sent.pop(event_id)))
            time.sleep(0.02)
    finally:
        books.close()
        registry.close()
    return [seconds for end, seconds in taken if end == "settled"]


def _deliver(registry: Registry, clock: SystemClock, settings: Any, card: runs.Card, draw: random.Random) -> str:
    runs.stage(settings.data_dir, *card)
    event_id = str(uuid4())
    accept_event(
        registry, clock, endpoint="task_completed", event_id=event_id, body=runs.completion(*card, draw),
        actor=Actor("bench", is_verified=True),
    )  # fmt: skip
    return event_id


if __name__ == "__main__":
    from bench.__main__ import table

    print(table(run()))
    sys.exit(0)
