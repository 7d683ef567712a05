"""How fast do cards go out, and how many tasks a minute does each lane complete at its cap?

Two figures. Hand-overs per second: a tick of the dispatcher with an executor that answers at once, against the very statements
that it needed, executed again by SQLite's driver on a copy of the books; what is above one is what deciding costs. And with a
real `plms serve` and the reference executor, every task the command `sleep 1`, each lane at its cap, one after the other and
then all at once: a lane with cap c could complete 60 c tasks a minute if a hand-over took no time, so what is told is the
seconds per task and slot, of which one is the task. All at once, the commands and the executor that starts them want the same
cores as the pipeline.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from sqlalchemy import event, func, insert, select, update

from bench.common import ROUNDS, Row
from plms_pipeline.clock import FrozenClock
from plms_pipeline.pas.client import PasClient
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import JobCard, Lane, Project, ProjectRun, QueuedCard, RunTask, Slot
from plms_pipeline.runs.actions.dispatch import dispatch_due
from plms_pipeline_tests.vectors.live import Live, fresh, new_key

NAME = "throughput"
LANES = (4200, 4201, 4202, 5100, 5101, 5102, 6100, 6101)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROJECTS, CARDS = 20, 200
GOAL_PER_MINUTE = 100
MEASURED_S = 30.0
WARM_S = 3.0


def run() -> list[Row]:
    """Both figures."""
    return [*handed_over(), *completed(MEASURED_S)]


class _Executor:
    """Answers every card at once."""

    takes_whole_runs = False

    def submit_card(self, card: Any) -> SimpleNamespace:
        """Accepted."""
        return SimpleNamespace(pas_task_id=card.card_key)


def handed_over() -> list[Row]:
    """Hand-overs of 200 queued cards of 20 projects over all lanes, against the bare statements."""
    with tempfile.TemporaryDirectory(prefix="plms-bench-") as name:
        folder = Path(name)
        _fill(folder / "queue.db")
        statements = _statements_of_a_tick(folder)
        ours, theirs = [], []
        for place in range(ROUNDS):
            mine, bare = folder / f"ours{place}.db", folder / f"bare{place}.db"
            for copy in (mine, bare):
                shutil.copy(folder / "queue.db", copy)
            ours.append(_tick_s(mine))
            theirs.append(_bare_s(bare, statements))
    a, b = median(ours) / CARDS, median(theirs) / CARDS
    note = f"{1 / a:,.0f} per second against {1 / b:,.0f}; {len(statements) / CARDS:.0f} statements each"
    return [Row(NAME, "one card handed over, 200 queued", "its bare statements", a, b, a / b, "told", None, note=note)]


def _fill(file: Path) -> None:
    url, chance = f"sqlite:///{file}", random.Random(1)
    migrate.upgrade(url)
    registry = Registry.open(url)
    cards = [(str(UUID(int=n + 1)), n % PROJECTS + 1, LANES[n % len(LANES)]) for n in range(CARDS)]
    numbers = range(1, PROJECTS + 1)
    with registry.writing() as session:
        session.execute(update(Lane).values(cap=CARDS))
        session.execute(insert(Project), [
            {"id": n, "name": f"p{n}", "status": "executing", "created_at": AT, "budget_cost_usd_max": 1000} for n in numbers
        ])  # fmt: skip
        session.execute(insert(ProjectRun), [
            {"run_id": str(UUID(int=1000 + n)), "project_id": n, "status": "RUNNING", "created_at": AT, "started_at": AT,
             "passport_sha256": "0" * 64} for n in numbers
        ])  # fmt: skip
        common = [
            {"run_id": str(UUID(int=1000 + project)), "task_id": key, "lane_id": lane, "provider": "m"}
            for key, project, lane in cards
        ]
        session.execute(insert(RunTask), [{**one, "status": "QUEUED"} for one in common])
        session.execute(insert(JobCard), [
            {**one, "card_key": one["task_id"], "created_at": AT, "budget_usd": 1} for one in common
        ])  # fmt: skip
        session.execute(insert(QueuedCard), [
            {"card_key": key, "lane_id": lane, "project_id": project, "run_id": str(UUID(int=1000 + project)),
             "run_kind": "baseline", "ready_at": AT, "not_before": AT, "rank": chance.random(), "reserve_usd": 1}
            for key, project, lane in cards
        ])  # fmt: skip
    registry.close()
    with closing(sqlite3.connect(file)) as books:
        books.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _tick(registry: Registry) -> None:
    done = dispatch_due(
        registry, clock=FrozenClock(AT + timedelta(seconds=5)), pas=cast("PasClient", _Executor()), holder="bench",
        data_dir="/nowhere", sweeps=False, limit=CARDS,
    )  # fmt: skip
    if done.submitted != CARDS:
        raise RuntimeError(f"{done.submitted} of {CARDS} cards went out")


def _statements_of_a_tick(folder: Path) -> list[str]:
    """What a tick says to the database, in order, with its values."""
    shutil.copy(folder / "queue.db", folder / "traced.db")
    registry, said = Registry.open(f"sqlite:///{folder / 'traced.db'}"), list[str]()
    event.listen(registry.engine, "connect", lambda driver, _: driver.set_trace_callback(said.append))
    _tick(registry)
    registry.close()
    # Statements of triggers are told as comments; they run by themselves again.
    return [text for text in said if not text.startswith("--")]


def _tick_s(file: Path) -> float:
    registry = Registry.open(f"sqlite:///{file}")
    with registry.reading():
        pass
    began = time.perf_counter()
    _tick(registry)
    took = time.perf_counter() - began
    registry.close()
    return took


def _bare_s(file: Path, statements: Sequence[str]) -> float:
    with closing(sqlite3.connect(file, isolation_level=None)) as books:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            books.execute(f"PRAGMA {pragma}")
        began = time.perf_counter()
        for text in statements:
            books.execute(text).fetchall()
        return time.perf_counter() - began


def completed(seconds: float) -> list[Row]:
    """Tasks of a second: each lane by itself, and all of them at once."""
    with fresh() as live:
        assert live.environ is not None
        registry = Registry.open(f"sqlite:///{Path(live.environ['PLMS_DATA_DIR']) / 'registry.db'}", read_only=True)
        with registry.reading() as session:
            caps = {lane: int(cap) for lane, cap in session.execute(select(Lane.lane_id, Lane.cap)) if lane in LANES}
        rows = [
            _row(
                f"lane {lane} at its cap of {caps[lane]}",
                caps[lane],
                _rates(live, registry, {lane: caps[lane]}, seconds / 2)[lane],
                least=GOAL_PER_MINUTE,
            )
            for lane in LANES
        ]
        together = _rates(live, registry, caps, seconds)
        registry.close()
    slowest = min(caps, key=lambda lane: together[lane] / caps[lane])
    rows.append(_row("all lanes at their caps at once", sum(caps.values()), sum(together.values())))
    rows.append(_row(f"the slowest of them, lane {slowest}", caps[slowest], together[slowest]))
    return rows


def _row(what: str, slots: int, rate: float, *, least: float | None = None) -> Row:
    paid = 60.0 * slots / rate
    return Row(
        NAME, f"tasks of 1 s, {what}: seconds per task and slot", "a hand-over that takes no time", paid, 1.0, paid,
        "told" if least is None else f"≥ {least:.0f} per minute", None if least is None else rate >= least,
        note=f"{rate:.0f} per minute of {60 * slots}",
    )  # fmt: skip


def _rates(live: Live, registry: Registry, caps: Mapping[int, int], seconds: float) -> dict[int, float]:
    """Lane → tasks per minute while all of them are at their caps, over a time that begins `WARM_S` after its first task."""
    since = datetime.now(UTC)
    for lane, cap in caps.items():
        project = _project(live, lane, int(cap * (seconds + 2 * WARM_S)))
        live.post(f"/api/projects/{project}/start", key=new_key(), body={"run_kind": "baseline"})
    live.until(
        lambda: _lasted_s(registry, since) > seconds + WARM_S + 1.0, what="the measurement", wait_s=3 * seconds + 60
    )
    rates = {lane: _per_minute(registry, lane, since, seconds) for lane in caps}
    live.until(lambda: not _is_working(registry), what="the end of all tasks", wait_s=3 * seconds + 60)
    return rates


def _project(live: Live, lane: int, tasks: int) -> int:
    """An approved project of so many tasks of a second in one lane."""
    planned = [
        {"key": f"t{number}", "name": f"Wait {number}", "lane": lane, "command": ["sleep", "1"]}
        for number in range(tasks)
    ]
    document: dict[str, Any] = {
        "name": f"Lane {lane}", "provider": "GPT-5 (2025-08-07) (medium reasoning)", "budget": {"usd": 90_000.0},
        "tasks": planned,
    }  # fmt: skip
    return live.approved(live.created(document), budget_usd=90_000.0)


def _lasted_s(registry: Registry, since: datetime) -> float:
    with registry.reading() as session:
        first = session.scalar(select(func.min(Slot.taken_at)).where(Slot.taken_at >= since))
    return (datetime.now(UTC) - first).total_seconds() if first else 0.0


def _is_working(registry: Registry) -> bool:
    with registry.reading() as session:
        return session.scalar(select(Slot.slot_id).where(Slot.state != "RELEASED").limit(1)) is not None


def _per_minute(registry: Registry, lane: int, since: datetime, seconds: float) -> float:
    """Tasks per minute of a lane, from the log of slots."""
    with registry.reading() as session:
        log = session.execute(
            select(Slot.taken_at, Slot.released_at).where(Slot.resource == f"lane:{lane}", Slot.taken_at >= since)
        ).all()
    begin = min(row.taken_at for row in log) + timedelta(seconds=WARM_S)
    end = begin + timedelta(seconds=seconds)
    ended: int = sum(row.released_at is not None and begin <= row.released_at < end for row in log)
    return max(1e-9, 60.0 * ended / seconds)
