"""Do two instances hold the same books, but for ids and times of writing?"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

# What may differ: surrogate ids, moments at which this instance wrote, and where it lies.
FREE_COLUMNS = {"id", "project_id", "created_at", "recorded_at", "written_at", "path", "decided_at"}
# `audit_log` tells of attempts, `leases` of processes, `proof_marks` counts the rows of both: all are about the disturbance.
FREE_TABLES = {"audit_log", "leases", "proof_marks", "alembic_version"}
KEYS = {
    "projects": ("source", "external_key"),
    "project_runs": ("run_id",),
    "run_tasks": ("run_id", "task_id"),
    "task_receipts": ("run_id", "task_id", "attempt"),
    "estimate_versions": ("lane_id", "provider_name", "basis", "version"),
}
# Two versions of a prior with the same numbers: a night that counted twice, although each row has its own version.
CONTENT = {"estimate_versions": ("lane_id", "provider_name", "basis", "priors_hash", "as_of")}


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return sorted({name for (name,) in names} - FREE_TABLES)


def _rows(folder: Path) -> Iterator[tuple[str, Counter[tuple[object, ...]]]]:
    with closing(sqlite3.connect(folder / "data" / "registry.db")) as connection:
        for table in _tables(connection):
            columns = [
                row[1] for row in connection.execute(f"PRAGMA table_xinfo({table})") if row[1] not in FREE_COLUMNS
            ]
            chosen = ", ".join(f'"{column}"' for column in columns)
            yield table, Counter(connection.execute(f"SELECT {chosen} FROM {table}"))


def _files(folder: Path) -> dict[str, str]:
    """Digest of every file that is a function of the receipts, by its place below the instance."""
    found = {path: path.read_bytes() for path in folder.glob("data/**/*.parquet")}
    found |= {path: _told(path.read_text()) for path in folder.glob("reports/nightly/*/summary.json")}
    return {str(path.relative_to(folder)): hashlib.sha256(content).hexdigest() for path, content in found.items()}


def _told(text: str) -> bytes:
    """What a night says about the books, without what it says about its own work: how much it rewrote, and how long."""
    summary = json.loads(text)
    summary.pop("receipt_days", None)
    summary.get("calibration_dataset", {}).pop("stale_days", None)
    checks = summary.pop("invariants", {}).get("checks", {})
    summary["proof"] = {name: (check["passed"], check["violations"]) for name, check in checks.items()}
    return json.dumps(summary, sort_keys=True).encode()


def differences(one: Path, other: Path) -> list[str]:
    """What `other` holds otherwise than `one`: rows by table, files by name, and half-written files left behind."""
    found = []
    theirs = dict(_rows(other))
    for table, rows in _rows(one):
        missing, extra = rows - theirs[table], theirs[table] - rows
        if missing or extra:
            sample = str(next(iter(missing or extra)))[:300]
            found.append(f"{table}: {missing.total()} rows missing, {extra.total()} too many, such as {sample}")
    ours, others = _files(one), _files(other)
    found += [f"{name} is missing" for name in sorted(ours.keys() - others.keys())]
    found += [f"{name} is too many" for name in sorted(others.keys() - ours.keys())]
    found += [f"{name} differs" for name in sorted(ours.keys() & others.keys()) if ours[name] != others[name]]
    found += [f"{path.relative_to(other)} was left behind" for path in other.rglob("*.part")]
    if not any(name.endswith(".parquet") for name in ours):
        found.append("the undisturbed instance has no Parquet file to compare")
    return found


def duplicates(folder: Path) -> list[str]:
    """Rows that stand more than once under their natural key, whatever the schema promises."""
    found = []
    with closing(sqlite3.connect(folder / "data" / "registry.db")) as connection:
        for table, key in [*KEYS.items(), *CONTENT.items()]:
            columns = ", ".join(key)
            statement = f"SELECT {columns}, COUNT(*) FROM {table} GROUP BY {columns} HAVING COUNT(*) > 1"
            found += [f"{table}: {row[:-1]} stands {row[-1]} times" for row in connection.execute(statement)]
    return found
