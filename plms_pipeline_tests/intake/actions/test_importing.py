"""Files come into the books: all of what is valid, once, and a list of the rest."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from plms_pipeline.errors import BadInput
from plms_pipeline.intake.store.importing import counts
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, Project, ProjectRun, ReceiptDay, RunTask, TaskReceipt
from plms_pipeline_tests.intake.conftest import GOOD, NOW, SWEBENCH, Importer, receipt_rows, swebench_rows, write_csv


def books(registry: Registry) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that an import wrote, without ids and times of writing."""
    ignored = {"id", "project_id", "created_at", "recorded_at", "written_at"}
    found = {}
    with registry.reading() as session:
        for table in (Project, ProjectRun, RunTask, TaskReceipt):
            columns = [column for column in table.__table__.c if column.name not in ignored]
            found[table.__tablename__] = sorted(map(tuple, session.execute(select(*columns))), key=repr)
    return found


def listed_in(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def total(registry: Registry, table: str = "task_receipts") -> int:
    with registry.reading() as session:
        return counts(session)[table]


def test_a_row_lands_in_every_table_of_the_books(importer: Importer, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", SWEBENCH, swebench_rows(3))
    result = importer("swebench", path)
    assert (result.rows, result.inserted, result.unchanged, result.n_quarantined) == (6, 6, 0, 0)
    with importer.registry.reading() as session:
        assert counts(session) == {
            "projects": 2, "project_runs": 6, "run_tasks": 6, "task_receipts": 6, "receipt_days": 1,
        }  # fmt: skip
        receipt = session.scalars(select(TaskReceipt).order_by(TaskReceipt.completed_at)).first()
        run = session.scalars(select(ProjectRun).where(ProjectRun.run_id == receipt.run_id)).one()
        project = session.get(Project, run.project_id)
        day = session.scalars(select(ReceiptDay)).one()
        entry = session.scalars(select(AuditEntry)).one()
    assert (receipt.provider, receipt.lane_id, receipt.source) == ("A", 4200, "swebench")
    assert receipt.source_file_sha256 == result.file_sha256
    assert (run.status, run.run_kind, run.verdict_by, run.write_sandbox) == ("SUCCESS", "baseline", "source", False)
    assert (project.status, project.source, project.external_key) == ("completed", "swebench", "A")
    assert (day.changed_seq, day.written_seq) == (1, 0)
    assert (entry.actor, entry.action, entry.outcome) == ("tester", "import_receipts", "done")
    assert entry.details_json["inserted"] == 6


def test_importing_again_changes_nothing(importer: Importer, tmp_path: Path) -> None:
    """Acceptance: if this fails, every repeated import doubles what was spent."""
    path = write_csv(tmp_path / "s.csv.gz", SWEBENCH, swebench_rows(40))
    importer("swebench", path)
    before = books(importer.registry)
    again = importer("swebench", path)
    assert (again.inserted, again.unchanged, again.days) == (0, 80, set())
    assert books(importer.registry) == before
    with importer.registry.reading() as session:
        assert session.scalars(select(ReceiptDay.changed_seq)).all() == [1]


def test_other_values_for_a_known_key_are_a_conflict_and_the_books_stay(importer: Importer, tmp_path: Path) -> None:
    rows = swebench_rows(5)
    importer("swebench", write_csv(tmp_path / "a.csv", SWEBENCH, rows))
    before = books(importer.registry)
    rows[2][4] = "9.99"
    rows[7][6] = not rows[7][6]
    result = importer("swebench", write_csv(tmp_path / "b.csv", SWEBENCH, rows))
    assert (result.unchanged, result.conflicts, result.inserted) == (8, 2, 0)
    assert books(importer.registry) == before
    assert result.quarantine is not None
    listed = listed_in(result.quarantine)
    assert [(row["line"], row["reason"]) for row in listed] == [("4", "conflict"), ("9", "conflict")]
    assert (listed[0]["column"], listed[0]["value"]) == ("cost_usd", "9.990000")
    assert "the registry says" in listed[0]["rule"]


def test_a_superset_of_a_known_day_adds_only_what_is_new(importer: Importer, tmp_path: Path) -> None:
    """SWE-bench rows get their second from their rank: one model more must not turn the others into conflicts."""
    importer("swebench", write_csv(tmp_path / "a.csv", SWEBENCH, swebench_rows(4, models=("B",))))
    result = importer("swebench", write_csv(tmp_path / "b.csv", SWEBENCH, swebench_rows(4, models=("A", "B"))))
    assert (result.inserted, result.unchanged, result.conflicts) == (4, 4, 0)


def test_one_percent_of_broken_rows_costs_one_percent(importer: Importer, tmp_path: Path) -> None:
    """Acceptance: the good rows land, counted; each broken one is listed with its line, column and reason."""
    rows = swebench_rows(200)
    bad = {
        0: (4, "-1", "negative"),
        100: (4, "nan", "not_a_number"),
        200: (1, "", "empty"),
        399: (0, "2031-01-01", "in_the_future"),
    }
    for index, (cell, value, _) in bad.items():
        rows[index][cell] = value
    result = importer("swebench", write_csv(tmp_path / "s.csv.gz", SWEBENCH, rows))
    assert (result.rows, result.inserted, result.n_quarantined) == (400, 396, 4)
    assert result.quarantine is not None
    listed = listed_in(result.quarantine)
    assert [(int(row["line"]), row["column"], row["reason"]) for row in listed] == [
        (index + 2, SWEBENCH[cell], reason) for index, (cell, _, reason) in bad.items()
    ]
    content = result.quarantine.read_bytes()
    again = importer("swebench", tmp_path / "s.csv.gz")
    assert (again.unchanged, again.n_quarantined) == (396, 4)
    assert again.quarantine is not None
    assert again.quarantine.read_bytes() == content


def foreign(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 99)
    (tmp_path / "header.csv").write_text(",".join(SWEBENCH) + "\n")
    write_csv(tmp_path / "foreign.csv", ["Date", "Open"], [["1999-01-04", "1229.2"]])
    rows = swebench_rows(30)
    for row in rows:
        row[4] = "-1"
    write_csv(tmp_path / "all_bad.csv", SWEBENCH, rows)
    return {name: tmp_path / f"{name}.csv" for name in ("empty", "image", "header", "foreign", "all_bad")}


@pytest.mark.parametrize("name", ["empty", "image", "header", "foreign", "all_bad"])
def test_a_file_without_a_valid_row_leaves_no_trace(importer: Importer, tmp_path: Path, name: str) -> None:
    """Acceptance: one error with the thing and the expected columns, exit 2, and nothing was written anywhere."""
    path = foreign(tmp_path)[name]
    with pytest.raises(BadInput) as caught:
        importer("swebench", path)
    assert caught.value.exit_code == 2
    assert all(word in caught.value.message for word in (str(path), "run_date", "instance_id", "resolved"))
    with importer.registry.reading() as session:
        assert set(counts(session).values()) == {0}
        assert session.scalars(select(AuditEntry)).all() == []
    assert not (importer.settings.data_dir / "quarantine").exists()


def test_the_sp500_sample_is_no_agent_run_file(sqlite_importer: Importer) -> None:
    path = Path(__file__).resolve().parents[3] / "data" / "samples" / "sp500_daily.csv.gz"
    with pytest.raises(BadInput, match=r"columns .* are missing"):
        sqlite_importer("metr", path)


def test_a_file_of_conflicts_alone_says_so(importer: Importer, tmp_path: Path) -> None:
    rows = swebench_rows(2)
    importer("swebench", write_csv(tmp_path / "a.csv", SWEBENCH, rows))
    for row in rows:
        row[4] = "7"
    with pytest.raises(BadInput, match="4 × conflict"):
        importer("swebench", write_csv(tmp_path / "b.csv", SWEBENCH, rows))


def test_valid_rows_may_come_after_batches_without_any(importer: Importer, tmp_path: Path) -> None:
    rows = swebench_rows(30)
    for row in rows[:25]:
        row[4] = "x"
    result = importer("swebench", write_csv(tmp_path / "s.csv", SWEBENCH, rows), batch_rows=10)
    assert (result.inserted, result.quarantined["wrong_type"]) == (35, 25)


@pytest.mark.parametrize("batch_rows", [1, 7, 10_000])
def test_the_size_of_batches_does_not_matter(sqlite_importer: Importer, tmp_path: Path, batch_rows: int) -> None:
    columns, rows = receipt_rows(20)
    rows.append(list(rows[3]))
    rows.append([*rows[4][:-3], "5.5", *rows[4][-2:]])
    result = sqlite_importer("receipts", write_csv(tmp_path / "r.csv", columns, rows), batch_rows=batch_rows)
    assert (result.inserted, result.unchanged, result.conflicts) == (20, 1, 1)


def test_csv_gzip_and_parquet_of_the_same_rows_are_the_same_receipts(sqlite_importer: Importer, tmp_path: Path) -> None:
    """If this fails a team that changes its export format finds all of its history in the quarantine."""
    columns, rows = receipt_rows(30)
    sqlite_importer("receipts", write_csv(tmp_path / "r.csv", columns, rows))
    assert sqlite_importer("receipts", write_csv(tmp_path / "r.csv.gz", columns, rows)).unchanged == 30
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(columns)})
    table = table.set_column(6, "cost_usd", pa.array([float(row[6]) for row in rows]))
    pq.write_table(table, tmp_path / "r.parquet")
    assert sqlite_importer("receipts", tmp_path / "r.parquet").unchanged == 30


def test_a_run_of_several_tasks_and_attempts_is_one_run(importer: Importer, tmp_path: Path) -> None:
    columns = ["run_id", "task_id", "attempt", "lane", "provider", "status", "completed_at", "validation"]
    rows = [
        ["r", "a", 1, "Code-API", "m", "FAIL", "2025-07-20T10:00:00Z", "passed"],
        ["r", "a", 2, "4200", "m", "SUCCESS", "2025-07-20T11:00:00Z", "passed"],
        ["r", "b", 1, "4201", "m", "SUCCESS", "2025-07-21T10:00:00Z", "passed"],
        ["s", "a", 1, "4201", "m", "FAIL", "2025-07-21T10:00:00Z", "failed"],
    ]
    result = importer("receipts", write_csv(tmp_path / "r.csv", columns, rows))
    assert result.inserted == 4
    with importer.registry.reading() as session:
        runs = {run.run_id: run for run in session.scalars(select(ProjectRun))}
        tasks = {(task.run_id, task.task_id): task.status for task in session.scalars(select(RunTask))}
    assert {run_id: run.status for run_id, run in runs.items()} == {"r": "SUCCESS", "s": "FAIL"}
    assert runs["r"].completed_at.day == 21
    assert tasks == {("r", "a"): "SUCCESS", ("r", "b"): "SUCCESS", ("s", "a"): "FAIL"}
    with_more = [*rows, ["r", "c", 1, "4201", "m", "SUCCESS", "2025-07-22T10:00:00Z", "passed"]]
    assert importer("receipts", write_csv(tmp_path / "more.csv", columns, with_more)).inserted == 1
    with importer.registry.reading() as session:
        run = session.scalars(select(ProjectRun).where(ProjectRun.run_id == "r")).one()
    assert run.completed_at.day == 22


def test_a_run_of_our_own_executor_cannot_be_added_to(importer: Importer, tmp_path: Path) -> None:
    """If this fails a file forges receipts onto a run that was started and paid for here."""
    with importer.registry.writing() as session:
        ours = Project(name="ours", created_at=NOW)
        session.add(ours)
        session.flush()
        session.add(ProjectRun(run_id="r0", project_id=ours.id, created_at=NOW))
    columns, rows = receipt_rows(2)
    result = importer("receipts", write_csv(tmp_path / "r.csv", columns, rows))
    assert (result.inserted, result.conflicts) == (1, 1)


def test_a_dry_run_says_what_an_import_does_and_writes_nothing(importer: Importer, tmp_path: Path) -> None:
    rows = swebench_rows(20)
    rows[3][4] = "-1"
    rows.append(list(rows[7]))
    path = write_csv(tmp_path / "s.csv", SWEBENCH, rows)
    dry = importer("swebench", path, dry_run=True, batch_rows=6)
    with importer.registry.reading() as session:
        assert set(counts(session).values()) == {0}
        assert session.scalars(select(AuditEntry)).all() == []
    assert not (importer.settings.data_dir / "quarantine").exists()
    real = importer("swebench", path)
    for name in ("rows", "inserted", "unchanged", "quarantined", "days"):
        assert getattr(dry, name) == getattr(real, name)


def test_a_row_from_the_future_lands_once_its_time_has_come(importer: Importer, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", list(GOOD), [list((GOOD | {"completed_at": "2026-03-01T13:00:00Z", "started_at": ""}).values()), list((GOOD | {"run_id": "r2"}).values())])  # fmt: skip  # noqa: E501
    assert importer("receipts", path).quarantined == {"in_the_future": 1}
    later = replace(importer, clock=type(importer.clock)(NOW + timedelta(hours=2)))  # type: ignore[call-arg]
    result = later("receipts", path)
    assert (result.inserted, result.unchanged, result.quarantine) == (1, 1, None)
    assert not any((importer.settings.data_dir / "quarantine").iterdir())


def test_a_file_that_changes_while_it_is_read_is_reported(sqlite_importer: Importer, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", SWEBENCH, swebench_rows(20))

    def meddle(_rows: int) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write("more\n")

    with pytest.raises(BadInput, match="changed while it was read"):
        sqlite_importer("swebench", path, progress=meddle)


def test_the_lite_llm_mapping_imports_a_spend_log(importer: Importer, tmp_path: Path) -> None:
    columns = ["request_id", "call_type", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "startTime", "endTime", "model", "status"]  # fmt: skip  # noqa: E501
    rows = [[f"q{i}", "acompletion", 0.001 * i, 30, 20, 10, "2025-07-20 12:00:00", "2025-07-20 12:00:02", "m", "success"] for i in range(5)]  # fmt: skip  # noqa: E501
    result = importer("litellm", write_csv(tmp_path / "l.csv", columns, rows), constants={"lane": "4200"})
    assert (result.inserted, result.n_quarantined) == (5, 0)


CELL = st.sampled_from(["0.5", "-1", "nan", "", "x", "1e400", '"', "\x00", "2025-07-20", "9" * 400, "é", "=1"])


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(CELL, min_size=1, max_size=9), min_size=1, max_size=12), seed=st.integers(0, 10**9))
def test_every_row_of_any_file_is_accounted_for(
    sqlite_importer: Importer, tmp_path: Path, rows: list[list[str]], seed: int
) -> None:
    """Rows = inserted + unchanged + quarantined, and the quarantine lists exactly the refused ones."""
    good = swebench_rows(2, models=(f"m{seed}",))
    path = write_csv(tmp_path / "any.csv", SWEBENCH, [*good, *rows])
    result = sqlite_importer("swebench", path, batch_rows=5)
    assert result.rows == len(rows) + 2
    assert result.inserted + result.unchanged + result.n_quarantined == result.rows
    assert result.inserted + result.unchanged >= 2
    listed = listed_in(result.quarantine) if result.quarantine else []
    assert len(listed) == result.n_quarantined


@pytest.mark.live
def test_memory_does_not_grow_with_the_file(sqlite_importer: Importer, tmp_path: Path) -> None:
    """A small version of the million-row bound: ten times the rows may not take twice the memory."""
    peaks = []
    for n in (500, 5_000):
        columns, rows = receipt_rows(n)
        path = write_csv(tmp_path / f"{n}.csv", columns, [[f"{n}-{row[0]}", *row[1:]] for row in rows])
        del rows
        tracemalloc.start()
        sqlite_importer("receipts", path, batch_rows=250)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


def test_progress_counts_every_row(sqlite_importer: Importer, tmp_path: Path) -> None:
    seen: list[int] = []
    sqlite_importer(
        "swebench", write_csv(tmp_path / "s.csv", SWEBENCH, swebench_rows(8)), progress=seen.append, batch_rows=5
    )
    assert seen == [5, 5, 5, 1]


@pytest.mark.live
def test_the_samples_import_in_one_go(importer: Importer, samples: Callable[[str], Path]) -> None:
    results = [importer(name, samples(name)) for name in ("swebench", "metr")]
    assert [result.inserted for result in results] == [6500, 3684]
    assert total(importer.registry) == 10_184
    assert total(importer.registry, "projects") == 18
