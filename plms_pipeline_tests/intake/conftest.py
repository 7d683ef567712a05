"""What the intake tests share: small files of each kind, the rules for one batch, and an importer like the command."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock, FrozenClock
from plms_pipeline.intake.actions.importing import ImportResult, import_file, prepare
from plms_pipeline.intake.batch import RawBatch
from plms_pipeline.intake.mapping import Plan, Source, fit, to_cells
from plms_pipeline.intake.ranks import RankBuilder
from plms_pipeline.intake.rules import Checked, Limits, check
from plms_pipeline.intake.sources import SOURCES
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits(Decimal(10_000), 30 * 86_400_000, 1_000_000_000, date(2023, 1, 1), NOW)
LANES = {str(lane): lane for lane in (4200, 4201, 4202, 5100, 5101, 5102, 6100, 6101)} | {"code-docs": 4202}
SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
GOOD = {
    "run_id": "r1", "lane": "4200", "provider": "m1", "status": "SUCCESS", "completed_at": "2025-07-20T12:00:00Z",
    "started_at": "2025-07-20T11:59:00Z", "duration_ms": "60000", "cost_usd": "0.18", "tokens": "3000",
}  # fmt: skip
SWEBENCH = ("run_date", "model", "repo_owner", "instance_id", "cost_usd", "api_calls", "resolved")
METR = (
    "run_id", "task_id", "task_family", "model", "started_at", "completed_at", "score", "score_binarized",
    "human_minutes", "fatal_error_from",
)  # fmt: skip


def plan_of(source: Source, columns: Sequence[str]) -> Plan:
    return fit(source, columns, renames={}, constants={}, thing="test.csv")


def checked(rows: Sequence[Mapping[str, str]], source: str = "receipts", limits: Limits = LIMITS) -> Checked:
    """The rules over rows that all have the columns of the first."""
    columns = list(rows[0])
    plan = plan_of(SOURCES[source], columns)
    cells = {name: [row[name] for row in rows] for name in columns}
    batch = to_cells(plan, RawBatch(0, list(range(2, len(rows) + 2)), cells, []))
    ranks = RankBuilder(plan.source.key)
    ranks.add(batch)
    return check(batch, plan, limits, LANES, ranks.ranks())


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def swebench_rows(n: int, *, models: Sequence[str] = ("B", "A"), day: str = "2025-07-20") -> list[list[Any]]:
    """`n` instances for each model, models not in name order."""
    return [
        [day, m, "astropy", f"i{i:04d}", f"0.{i % 89 + 1:02d}5", i % 7 + 1, i % 3 == 0]
        for m in models
        for i in range(n)
    ]


def receipt_rows(n: int) -> tuple[list[str], list[list[Any]]]:
    columns = [
        "run_id",
        "lane",
        "provider",
        "status",
        "completed_at",
        "duration_ms",
        "cost_usd",
        "tokens",
        "validation",
    ]
    rows = [
        [
            f"r{i}",
            4200,
            f"m{i % 3}",
            "SUCCESS",
            f"2025-0{i % 9 + 1}-11T0{i % 10}:00:00Z",
            1000 + i,
            f"0.{i + 1:04d}",
            i,
            "passed",
        ]
        for i in range(n)
    ]
    return columns, rows


@dataclass(frozen=True)
class Importer:
    """Imports files into one registry."""

    registry: Registry
    settings: Settings
    clock: Clock

    def __call__(self, source: str, path: Path, *, registry: Registry | None = None, **options: Any) -> ImportResult:
        maps, sets = options.pop("renames", {}), options.pop("constants", {})
        prepared = prepare(path, SOURCES[source], renames=maps, constants=sets)
        return import_file(
            registry or self.registry,
            prepared,
            settings=self.settings,
            clock=self.clock,
            actor=Actor("tester"),
            **options,
        )


@pytest.fixture
def importer(registry: Registry, settings: Settings, clock: FrozenClock) -> Importer:
    """An importer into each of the two databases."""
    return Importer(registry, settings, clock)


@pytest.fixture
def sqlite_importer(sqlite_registry: Registry, settings: Settings, clock: FrozenClock) -> Importer:
    return Importer(sqlite_registry, settings, clock)


@pytest.fixture
def samples() -> Callable[[str], Path]:
    return lambda name: SAMPLES / f"{name}_agent_runs.csv.gz"
