"""How fast does a file come into the books, and how much memory does that take?

Writes a file of N receipts (default a million) of the canonical form, imports it into a fresh registry, imports it again, and
prints rows per second and peak memory as JSON. The floor beside it is the same number of rows inserted by the bare
sqlite3 driver into tables of the same keys, in batches of the same size: what the machine allows.

    .venv/bin/python bench/intake.py --rows 1000000
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import sqlite3
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.intake.actions.importing import import_file, prepare
from plms_pipeline.intake.sources import SOURCES
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings

LANES = (4200, 4201, 4202, 5100, 5101, 5102, 6100, 6101)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def write_file(path: Path, rows: int, seed: int = 1) -> None:
    """A canonical CSV of `rows` single-task runs over two years."""
    rng = random.Random(seed)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["run_id", "lane", "provider", "status", "completed_at", "duration_ms", "cost_usd", "tokens", "validation"]
        )
        for i in range(rows):
            ended = start + timedelta(seconds=i * 63_000_000 // rows)
            writer.writerow([
                uuid.UUID(int=rng.getrandbits(128)), rng.choice(LANES), f"model-{rng.randrange(8)}",
                "SUCCESS" if rng.random() < 0.9 else "FAIL", ended.isoformat(), int(rng.lognormvariate(12, 1)),
                f"{rng.lognormvariate(-1, 1):.8f}", int(rng.lognormvariate(9, 1)),
                "passed" if rng.random() < 0.6 else "failed",
            ])  # fmt: skip


def bare_sqlite(path: Path, rows: int, batch: int = 10_000) -> float:
    """Seconds that the driver alone needs for three keyed rows per receipt, durable per batch."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")
    for table in ("runs", "tasks", "receipts"):
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, run_id TEXT UNIQUE, a, b, c, d, e, f, g)")
    rng = random.Random(1)
    started = time.perf_counter()
    for first in range(0, rows, batch):
        values = [
            (
                str(uuid.UUID(int=rng.getrandbits(128))),
                4200,
                "model-1",
                "SUCCESS",
                "2024-01-01 00:00:00.000000",
                i,
                i,
                i,
            )
            for i in range(first, min(first + batch, rows))
        ]
        connection.execute("BEGIN IMMEDIATE")
        for table in ("runs", "tasks", "receipts"):
            connection.executemany(
                f"INSERT INTO {table} (run_id,a,b,c,d,e,f,g) VALUES (?,?,?,?,?,?,?,?)", sorted(values)
            )
        connection.execute("COMMIT")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--url", help="registry to import into; default a fresh SQLite file")
    arguments = parser.parse_args()
    figures: dict[str, float | int] = {"rows": arguments.rows}
    with tempfile.TemporaryDirectory() as folder:
        environ = {"PLMS_DATA_DIR": f"{folder}/data", "PLMS_REPORTS_DIR": f"{folder}/reports"}
        if arguments.url:
            environ["PLMS_DATABASE_URL"] = arguments.url
        settings = load_settings(environ)
        path = Path(folder) / "receipts.csv"
        write_file(path, arguments.rows)
        migrate.upgrade(settings.database_url)
        registry = Registry.open(settings.database_url)
        for name in ("import", "again"):
            started, cpu = time.perf_counter(), time.process_time()
            prepared = prepare(path, SOURCES["receipts"], renames={}, constants={})
            result = import_file(registry, prepared, settings=settings, clock=FrozenClock(NOW), actor=Actor("bench"))
            seconds = time.perf_counter() - started
            assert result.rows == arguments.rows
            figures[f"{name}_s"] = round(seconds, 2)
            figures[f"{name}_cpu_s"] = round(time.process_time() - cpu, 2)
            figures[f"{name}_rows_per_s"] = round(arguments.rows / seconds)
        registry.close()
        figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        if not arguments.url:
            figures["bare_sqlite_s"] = round(bare_sqlite(Path(folder) / "bare.db", arguments.rows), 2)
            figures["ratio_to_bare_sqlite"] = round(float(figures["import_s"]) / float(figures["bare_sqlite_s"]), 2)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
