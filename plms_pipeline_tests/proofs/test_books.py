"""Would the kill proof notice what it is there to notice?"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from random import Random

import pytest

from plms_pipeline_tests.proofs import kill
from plms_pipeline_tests.proofs.books import differences, duplicates


@pytest.fixture
def instance(tmp_path: Path, migrated_sqlite: Path) -> Path:
    folder = tmp_path / "one"
    (folder / "data" / "receipts").mkdir(parents=True)
    (folder / "reports" / "nightly" / "2026-03-01").mkdir(parents=True)
    (folder / "data" / "receipts" / "day.parquet").write_bytes(b"rows")
    (folder / "reports" / "nightly" / "2026-03-01" / "summary.json").write_text(
        '{"verdict": "ok", "receipt_days": {"stale": 3}}'
    )
    shutil.copyfile(migrated_sqlite, folder / "data" / "registry.db")
    with closing(sqlite3.connect(folder / "data" / "registry.db")) as connection, connection:
        connection.execute(
            "INSERT INTO projects (name, status, source, created_by, created_at) "
            "VALUES ('p', 'completed', 's', 'u', '2026-03-01')"
        )
    return folder


def sql(statement: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "data" / "registry.db")) as connection, connection:
            connection.execute(statement)

    return spoil


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a lost row": (sql("DELETE FROM projects"), "projects: 1 rows missing"),
    "a doubled row": (
        sql(
            "INSERT INTO projects (name, status, source, created_by, created_at) VALUES ('p', 'completed', 's', 'u', '1')"
        ),
        "projects: 0 rows missing, 1 too many",
    ),
    "a changed number": (
        sql("UPDATE lanes SET cap = cap + 1 WHERE lane_id = 4200"),
        "lanes: 1 rows missing, 1 too many",
    ),
    "other bytes": (lambda folder: (folder / "data/receipts/day.parquet").write_bytes(b"row"), "day.parquet differs"),
    "a lost file": (lambda folder: (folder / "data/receipts/day.parquet").unlink(), "day.parquet is missing"),
    "one file too many": (
        lambda folder: (folder / "data/receipts/x.parquet").write_bytes(b""),
        "x.parquet is too many",
    ),
    "another verdict": (
        lambda folder: (folder / "reports/nightly/2026-03-01/summary.json").write_text('{"verdict": "broken"}'),
        "summary.json differs",
    ),
    "half a file": (lambda folder: (folder / "data/receipts/.x.part").write_bytes(b""), "left behind"),
}


@pytest.mark.parametrize(("spoil", "told"), SPOILED.values(), ids=SPOILED)
def test_every_kind_of_damage_is_told(instance: Path, spoil: Callable[[Path], object], told: str) -> None:
    """A proof that cannot fail proves nothing."""
    other = instance.with_name("other")
    shutil.copytree(instance, other)
    spoil(other)
    found = differences(instance, other)
    assert len(found) == 1
    assert told in found[0]


def test_ids_and_times_of_writing_are_free(instance: Path) -> None:
    """A disturbed instance writes later and in other portions; that is no difference in the books."""
    other = instance.with_name("other")
    shutil.copytree(instance, other)
    summary = other / "reports" / "nightly" / "2026-03-01" / "summary.json"
    summary.write_text('{"verdict": "ok", "receipt_days": {"stale": 0}}')
    sql("UPDATE projects SET id = 77, created_at = '2026-04-01'")(other)
    assert differences(instance, other) == []
    assert duplicates(other) == []


def test_a_key_that_stands_twice_is_told_even_if_the_schema_forgot_it(instance: Path) -> None:
    """The unique index may be what the crash damaged."""
    add = (
        "INSERT INTO projects (name, status, source, external_key, created_by, created_at) "
        "VALUES ('a', 'completed', 's', 'k', 'u', '1')"
    )
    sql(add)(instance)
    assert duplicates(instance) == []
    with closing(sqlite3.connect(instance / "data" / "registry.db")) as connection, connection:
        (schema,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'projects'").fetchone()
        connection.execute("PRAGMA legacy_alter_table = ON")
        connection.execute("PRAGMA writable_schema = ON")
        without = schema.replace("UNIQUE (source, external_key)", "CHECK (1)")
        assert without != schema
        connection.execute("ALTER TABLE projects RENAME TO old")
        connection.execute(without)
        connection.execute("INSERT INTO projects SELECT * FROM old")
        connection.execute(add)
    assert duplicates(instance) == ["projects: ('s', 'k') stands 2 times"]


def test_every_tenth_row_is_taken_whole(tmp_path: Path) -> None:
    """The proof runs on a fixed tenth, so that two runs with one seed do the same."""
    middle, last = kill.write_tenth(tmp_path)
    assert datetime(2024, 1, 1) < middle < last < datetime(2027, 1, 1)  # noqa: DTZ001 - only dates matter
    again = tmp_path / "again"
    again.mkdir()
    assert kill.write_tenth(again) == (middle, last)


def test_kills_fall_over_the_whole_command_and_mostly_after_its_first_write() -> None:
    """A process that dies while it imports libraries has nothing to lose."""
    random = Random(1)
    drawn = [kill.moments(kill.Timing(10.0, 6.0), random) / kill.STRETCH for _ in range(2000)]
    assert 0 < min(drawn) < 1
    assert 9 < max(drawn) <= 10
    assert sum(moment > 5.4 for moment in drawn) > 0.7 * len(drawn)


@pytest.mark.parametrize("count", [1, 9, 10, 50])
def test_every_tenth_start_at_least_is_left_to_finish(tmp_path: Path, count: int) -> None:
    """Nine kills at most before a world is left alone."""
    planned = list(kill.worlds(tmp_path, count))
    assert sum(kills for _, kills in planned) == count
    assert max(kills for _, kills in planned) <= 9
