"""The file of a day agrees with the book, whoever wrote last and whatever was killed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, update

from plms_pipeline.errors import Unavailable
from plms_pipeline.intake.actions import days as actions
from plms_pipeline.intake.actions.days import stale_days, write_receipt_day, write_receipt_days
from plms_pipeline.intake.dayfile import ROWS_KEY, SCHEMA, VERSION_KEY, rows_sha256
from plms_pipeline.intake.files.days import DayFiles
from plms_pipeline.intake.store.days import mark_written
from plms_pipeline.intake.store.importing import mark_changed
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProjectRun, ReceiptDay, TaskReceipt
from plms_pipeline_tests.intake.conftest import SWEBENCH, Importer, swebench_rows, write_csv

DAY = date(2025, 7, 20)


@pytest.fixture
def files(importer: Importer) -> DayFiles:
    return DayFiles(importer.settings.data_dir)


@pytest.fixture
def filled(importer: Importer, tmp_path: Path) -> Importer:
    importer("swebench", write_csv(tmp_path / "s.csv", SWEBENCH, swebench_rows(5, models=("é", "B", "a", "A"))))
    return importer


def test_a_file_holds_the_receipts_of_its_day_in_canonical_order(filled: Importer, files: DayFiles) -> None:
    """If this fails the priors are folded in an order that depends on the database's collation."""
    written = write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    table = pq.read_table(files.path(DAY))
    assert table.schema.remove_metadata() == SCHEMA
    frame = table.to_pandas()
    assert (written.n_receipts, len(frame)) == (20, 20)
    order = list(zip(frame["completed_at"], frame["natural_key"], strict=True))
    assert order == sorted(order)
    assert list(frame["provider"].unique()) == ["A", "B", "a", "é"]
    with filled.registry.reading() as session:
        stored = {r.natural_key: r for r in session.scalars(select(TaskReceipt))}
        runs = {r.run_id: r for r in session.scalars(select(ProjectRun))}
    for row in frame.itertuples():
        receipt, run = stored[row.natural_key], runs[row.run_id]
        assert (row.cost_usd, row.api_calls, row.row_sha256) == (
            receipt.cost_usd,
            receipt.api_calls,
            receipt.row_sha256,
        )
        assert (row.validation, row.run_kind, row.verdict_by) == (run.validation, "baseline", "source")
        assert row.completed_at == pd.Timestamp(receipt.completed_at)
    assert frame["duration_ms"].isna().all()


def test_the_registry_knows_the_file(filled: Importer, files: DayFiles) -> None:
    written = write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    data = files.path(DAY).read_bytes()
    assert written.file_sha256 == hashlib.sha256(data).hexdigest()
    metadata = pq.read_schema(files.path(DAY)).metadata
    assert (metadata[VERSION_KEY], metadata[ROWS_KEY]) == (b"1", written.rows_sha256.encode())
    with filled.registry.reading() as session:
        day = session.get(ReceiptDay, DAY)
    assert day is not None
    assert (day.written_seq, day.changed_seq, day.n_receipts) == (1, 1, 20)
    assert (day.file_sha256, day.path) == (written.file_sha256, "receipts/2025-07-20.parquet")


def test_writing_again_gives_the_same_bytes_and_says_that_nothing_changed(filled: Importer, files: DayFiles) -> None:
    """If this fails Dagster shows a new version of every day every night."""
    first = write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    before = files.path(DAY).read_bytes()
    second = write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    assert (first.has_changed, second.has_changed) == (True, False)
    assert files.path(DAY).read_bytes() == before
    assert stale_days(filled.registry, files) == []


def test_two_registries_with_the_same_receipts_write_the_same_bytes(
    sqlite_importer: Importer, postgres_registry_url: str, tmp_path: Path
) -> None:
    """Ids and recording times are not in the file, nor what the database is."""
    rows = write_csv(tmp_path / "s.csv", SWEBENCH, swebench_rows(5, models=("é", "B", "a", "A")))
    with closing(Registry.open(postgres_registry_url)) as postgres:
        written = []
        for registry, place in ((sqlite_importer.registry, "here"), (postgres, "there")):
            sqlite_importer("swebench", rows, registry=registry)
            written.append(write_receipt_day(registry, DayFiles(tmp_path / place), DAY, clock=sqlite_importer.clock))
    assert written[0].file_sha256 == written[1].file_sha256


def test_a_late_receipt_makes_its_day_stale_and_no_other(filled: Importer, files: DayFiles, tmp_path: Path) -> None:
    list(write_receipt_days(filled.registry, files, stale_days(filled.registry, files), clock=filled.clock))
    filled("swebench", write_csv(tmp_path / "late.csv", SWEBENCH, swebench_rows(1, day="2025-07-21", models=("late",))))
    assert stale_days(filled.registry, files) == [date(2025, 7, 21)]


@pytest.mark.parametrize("harm", ["delete", "truncate", "replace"])
def test_a_file_that_was_lost_or_altered_is_written_again(filled: Importer, files: DayFiles, harm: str) -> None:
    written = write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    path = files.path(DAY)
    if harm == "delete":
        path.unlink()
    elif harm == "truncate":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        pq.write_table(pa.table({"a": [1]}), path)
    assert stale_days(filled.registry, files) == [DAY]
    again = write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    assert (again.file_sha256, again.has_changed) == (written.file_sha256, True)


def test_a_change_while_the_file_is_written_is_never_lost(
    filled: Importer, files: DayFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that lands between reading the day and noting the file leaves the day stale, not silently written."""
    real = DayFiles.write

    def overtaken(self: DayFiles, day: date, data: bytes) -> bool:
        with filled.registry.writing() as session:
            mark_changed(session, [DAY])
        return real(self, day, data)

    monkeypatch.setattr(DayFiles, "write", overtaken)
    write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    monkeypatch.undo()
    assert stale_days(filled.registry, files) == [DAY]


def test_a_slow_writer_does_not_leave_older_bytes_than_the_note_says(
    filled: Importer, files: DayFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails a writer that slept replaces the new file by an old one, and the registry says otherwise."""
    real = DayFiles.write
    slept = []

    def slow(self: DayFiles, day: date, data: bytes) -> bool:
        if not slept:
            slept.append(1)
            more = write_csv(tmp_path / "more.csv", SWEBENCH, swebench_rows(1, models=("zz",)))
            filled("swebench", more)
            write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
        return real(self, day, data)

    monkeypatch.setattr(DayFiles, "write", slow)
    written = write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    assert written.n_receipts == 21
    assert hashlib.sha256(files.path(DAY).read_bytes()).hexdigest() == written.file_sha256
    assert stale_days(filled.registry, files) == []


def test_a_day_that_never_rests_is_an_outage_in_words(
    filled: Importer, files: DayFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions.store, "mark_written", lambda *_, **__: False)
    with pytest.raises(Unavailable, match="kept changing"):
        write_receipt_day(filled.registry, files, DAY, clock=filled.clock)


def test_an_older_note_never_replaces_a_newer_one(filled: Importer) -> None:
    facts: dict[str, Any] = {
        "n_receipts": 1,
        "rows_sha256": "r",
        "file_sha256": "f",
        "path": "p",
        "at": filled.clock.now(),
    }
    with filled.registry.writing() as session:
        session.execute(update(ReceiptDay).values(changed_seq=5))
        assert mark_written(session, DAY, 4, **facts)
        assert not mark_written(session, DAY, 3, **facts)
        assert mark_written(session, DAY, 4, **facts)


def test_a_day_without_receipts_is_an_empty_file(importer: Importer, files: DayFiles) -> None:
    """A backfill over quiet days must not fail, and whoever reads the day finds a table."""
    written = [write_receipt_day(importer.registry, files, DAY, clock=importer.clock) for _ in range(2)]
    assert [day.n_receipts for day in written] == [0, 0]
    assert [day.has_changed for day in written] == [True, False]
    assert files.read(DAY).schema.remove_metadata() == SCHEMA
    assert stale_days(importer.registry, files) == []


def test_an_override_reaches_the_file_once_its_day_is_marked(filled: Importer, files: DayFiles) -> None:
    write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    with filled.registry.writing() as session:
        session.execute(
            update(ProjectRun).values(
                validation_pass_override=True, override_reason="r", overridden_by="p",
                overridden_at=datetime(2026, 1, 1, tzinfo=UTC), override_teaches=False,
            )
        )  # fmt: skip
        mark_changed(session, [DAY])
    assert stale_days(filled.registry, files) == [DAY]
    write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    assert files.read(DAY)["override_teaches"].to_pylist() == [False] * 20


def test_files_may_lie_on_any_fsspec_store(filled: Importer) -> None:
    """The same code on object storage: an in-memory file system stands for it."""
    files = DayFiles("memory://bucket/plms")
    written = write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    assert files.read(DAY).num_rows == 20
    assert written.path.startswith("memory://")
    assert stale_days(filled.registry, files) == []


def test_the_digest_is_of_values_and_not_of_their_layout(filled: Importer, files: DayFiles) -> None:
    """Chunks, dictionaries and slices are how Arrow holds values; they must not make two equal days differ."""
    written = write_receipt_day(filled.registry, files, DAY, clock=filled.clock)
    table = files.read(DAY)
    chunked = pa.concat_tables([table[:7], table[7:]])
    assert rows_sha256(chunked) == rows_sha256(table.take(list(range(20)))) == written.rows_sha256
    changed = table.set_column(10, "cost_usd", pa.array([None] * 20, SCHEMA.field("cost_usd").type))
    swapped = table.take([1, 0, *range(2, 20)])
    assert len({rows_sha256(t) for t in (table, changed, swapped, table[:19])}) == 4


@pytest.mark.live
def test_the_samples_rebuild_to_the_same_bytes(sqlite_importer: Importer, samples: Callable[[str], Path]) -> None:
    files = DayFiles(sqlite_importer.settings.data_dir)
    for name in ("metr", "swebench"):
        sqlite_importer(name, samples(name))
    first = list(write_receipt_days(sqlite_importer.registry, files, stale_days(sqlite_importer.registry, files), clock=sqlite_importer.clock))  # fmt: skip  # noqa: E501
    assert sum(day.n_receipts for day in first) == 10_184
    for day in first:
        files.path(day.day).unlink()
    second = list(write_receipt_days(sqlite_importer.registry, files, stale_days(sqlite_importer.registry, files), clock=sqlite_importer.clock))  # fmt: skip  # noqa: E501
    assert [(day.day, day.file_sha256) for day in second] == [(day.day, day.file_sha256) for day in first]
