"""Is every planted violation found and its row named, and does the database refuse those that it can?

A check that nobody ever saw fail is a check that nobody knows to work.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from plms_pipeline.cli import main
from plms_pipeline.invariants.actions.proving import prove
from plms_pipeline.registry.violations import VIOLATIONS
from plms_pipeline_tests.invariants import healthy
from plms_pipeline_tests.invariants.conftest import Books
from plms_pipeline_tests.invariants.corruptions import ALL, Corruption, plant

labels = [each.label for each in ALL]


# One of each kind goes through the command itself; the others through the same proof, which costs a third.
BY_COMMAND = [*{each.invariant: each for each in ALL}.values()][::4]


@pytest.mark.parametrize("corruption", BY_COMMAND, ids=[each.invariant for each in BY_COMMAND])
def test_the_command_exits_1_and_names_the_spoiled_row(
    corruption: Corruption, sqlite_books: Books, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 and the row's own name: without both, the person on call starts by looking for the row."""
    plant(sqlite_books.registry, sqlite_books.url, corruption)
    monkeypatch.setenv("PLMS_DATA_DIR", str(sqlite_books.settings.data_dir))
    assert main(["invariants", "--json", "--db", sqlite_books.url]) == 1
    document = json.loads(capsys.readouterr().out)
    check = document["checks"][corruption.invariant]
    assert not check["passed"]
    assert any(corruption.names in error for error in check["errors"]), check["errors"]
    assert "could not be checked" not in json.dumps(document)


@pytest.mark.parametrize("corruption", ALL, ids=labels)
def test_every_spoiled_row_is_found_and_named_with_and_without_indexes(
    corruption: Corruption, sqlite_books: Books
) -> None:
    """A check that nobody ever saw fail is a check that nobody knows to work; the weekly proof asks the tables themselves."""
    plant_and_check(sqlite_books, corruption)
    full = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, full=True, only={corruption.invariant})
    assert any(corruption.names in error for result in full.failed for error in result.errors)


def test_on_postgresql_every_spoiled_row_is_found_and_named(postgres_books: Books) -> None:
    """The same sentences, proven by the other database. One clone, one proof after each: they spoil different columns."""
    found = [plant_and_check(postgres_books, corruption) for corruption in ALL]
    assert all(corruption.names in error for corruption, error in zip(ALL, found, strict=True))


def plant_and_check(books: Books, corruption: Corruption) -> str:
    """Spoil the books and prove them: the error that names what was spoiled."""
    plant(books.registry, books.url, corruption)
    after = prove(books.registry, books.settings, healthy.CLOCK, only={corruption.invariant})
    assert not after.holds, corruption
    assert after.results[0].error is None, after.results[0].error
    errors = [error for result in after.failed for error in result.errors]
    named = [error for error in errors if corruption.names in error]
    assert named, (corruption, errors)
    return named[0]


@pytest.mark.parametrize(
    "corruption", [each for each in ALL if each.forbidden], ids=[e.label for e in ALL if e.forbidden]
)
def test_the_database_refuses_what_must_never_be(corruption: Corruption, sqlite_books: Books) -> None:
    """The proof comes at night; the refusal comes at once, and no code path can forget it."""
    with pytest.raises(DBAPIError), sqlite_books.registry.writing() as session:
        session.execute(text(corruption.sql))


def test_postgresql_refuses_what_must_never_be(postgres_books: Books) -> None:
    """Production runs there."""
    for corruption in ALL:
        if corruption.forbidden:
            with pytest.raises(DBAPIError), postgres_books.registry.writing() as session:
                session.execute(text(corruption.sql))
    assert prove(postgres_books.registry, postgres_books.settings, healthy.CLOCK).holds


def test_every_row_invariant_was_seen_to_fail() -> None:
    """A new sentence needs a row that breaks it."""
    assert set(VIOLATIONS) <= {each.invariant for each in ALL}


@pytest.mark.parametrize(
    ("statement", "invariant", "names"),
    [
        (
            "DROP TRIGGER trg_task_receipts_no_update",
            "append_only_triggers_stand",
            "trg_task_receipts_no_update is missing",
        ),
        (
            "DROP TRIGGER trg_project_runs_terminal",
            "append_only_triggers_stand",
            "trg_project_runs_terminal is missing",
        ),
        ("DROP INDEX vx_every_run_has_a_passport", "schema_is_at_head", "vx_every_run_has_a_passport"),
        ("DROP INDEX ux_estimate_versions_key", "schema_is_at_head", "ux_estimate_versions_key"),
        ("DROP TABLE lane_overrides", "schema_is_at_head", "lane_overrides"),
        ("ALTER TABLE holds DROP COLUMN reason", "schema_is_at_head", "reason"),
    ],
)
def test_a_guard_that_was_taken_away_is_a_violation(
    statement: str, invariant: str, names: str, sqlite_books: Books
) -> None:
    """Who drops a trigger can change the books in silence; the drop itself must be loud."""
    with sqlite_books.registry.writing() as session:
        session.execute(text(statement))
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, only={invariant})
    assert any(names in error for result in report.failed for error in result.errors), report.failed


def test_a_trigger_that_no_longer_refuses_is_a_violation(sqlite_books: Books) -> None:
    """A trigger of the same name that does nothing looks right in every list."""
    with sqlite_books.registry.writing() as session:
        session.execute(text("DROP TRIGGER trg_audit_log_no_delete"))
        session.execute(text("CREATE TRIGGER trg_audit_log_no_delete BEFORE DELETE ON audit_log BEGIN SELECT 1; END"))
        session.execute(text("DROP TRIGGER trg_audit_log_no_update"))
        session.execute(
            text(
                "CREATE TRIGGER trg_audit_log_no_update BEFORE UPDATE ON audit_log WHEN 0 "
                "BEGIN SELECT RAISE(ABORT, 'audit_log is append-only: UPDATE is refused'); END"
            )
        )
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, only={"append_only_triggers_stand"})
    assert report.violations == 2


@pytest.mark.parametrize(
    ("statement", "invariant", "names"),
    [
        (
            "ALTER TABLE task_receipts DISABLE TRIGGER trg_task_receipts_no_update", "append_only_triggers_stand",
            "trg_task_receipts_no_update does not refuse",
        ),
        (
            "DROP TRIGGER trg_decisions_no_delete ON decisions", "append_only_triggers_stand",
            "trg_decisions_no_delete is missing",
        ),
        (
            "CREATE OR REPLACE FUNCTION plms_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            "append_only_triggers_stand", "does not refuse",
        ),
        ("ALTER TABLE project_runs DROP CONSTRAINT ck_project_runs_run_kind_is_known", "schema_is_at_head", "run_kind"),
        ("ALTER TABLE task_receipts DROP CONSTRAINT fk_task_receipts_run_id", "schema_is_at_head", "fk_task_receipts_run_id"),
        ("DROP INDEX vx_every_run_has_a_passport", "schema_is_at_head", "vx_every_run_has_a_passport"),
    ],
)  # fmt: skip
def test_on_postgresql_a_guard_that_was_taken_away_is_a_violation(
    statement: str, invariant: str, names: str, postgres_books: Books
) -> None:
    """There a trigger can be switched off without being dropped."""
    with postgres_books.registry.writing() as session:
        session.execute(text(statement))
    report = prove(postgres_books.registry, postgres_books.settings, healthy.CLOCK, only={invariant})
    assert any(names in error for result in report.failed for error in result.errors), report.failed


def test_a_constraint_that_was_edited_out_of_the_schema_is_a_violation(sqlite_books: Books) -> None:
    """SQLite lets whoever may write the file rewrite the schema's own text."""
    gone = "CONSTRAINT ck_lanes_cap_is_not_negative CHECK (cap >= 0)"
    with sqlite3.connect(sqlite_books.url.removeprefix("sqlite:///")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        edited = "UPDATE sqlite_master SET sql = replace(sql, ?, 'CHECK (1)') WHERE name = 'lanes' AND sql LIKE '%' || ? || '%'"
        assert connection.execute(edited, (gone, gone)).rowcount == 1
    connection.close()
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, only={"schema_is_at_head"})
    assert report.failed[0].errors == ("lanes: constraint ck_lanes_cap_is_not_negative is missing",)


@pytest.mark.parametrize("how", ["deleted", "altered", "replaced"])
def test_a_day_file_that_is_not_the_one_written_is_found(how: str, sqlite_books: Books, tmp_path: Path) -> None:
    """Whoever trains on the files trains on what the book does not hold."""
    folder = tmp_path / "files"
    shutil.copytree(sqlite_books.settings.data_dir / "receipts", folder)
    with sqlite_books.registry.writing() as session:
        session.execute(
            text("UPDATE receipt_days SET path = :folder || '/' || day || '.parquet'"), {"folder": str(folder)}
        )
    victim, other = sorted(folder.glob("*.parquet"))[:2]
    if how == "deleted":
        victim.unlink()
    elif how == "altered":
        victim.write_bytes(victim.read_bytes()[:-8] + b"\0" * 8)
    else:
        shutil.copyfile(other, victim)
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, only={"day_files_match_the_book"})
    assert report.violations == 1
    assert f"day={victim.stem}" in report.failed[0].errors[0]


def test_a_receipt_that_was_slipped_in_unseen_is_found(sqlite_books: Books) -> None:
    """A row that no writer announced is in no file and no prior: the books disagree from then on."""
    columns = (
        "task_id, attempt, project_id, lane_id, provider, status, started_at, completed_at, completed_on, natural_key, "
        "source, row_sha256, recorded_at"
    )
    with sqlite_books.registry.writing() as session:
        session.execute(
            text(
                f"INSERT INTO task_receipts (run_id, {columns}) SELECT run_id, {columns.replace('attempt', '99')} "
                "FROM task_receipts LIMIT 1"
            )
        )
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, only={"day_files_match_the_book"})
    assert report.violations == 1


def test_two_violations_of_one_row_and_two_rows_of_one_violation_are_counted_apart(sqlite_books: Books) -> None:
    """The total is rows that offend, per sentence."""
    for run in ("own-baseline", "own-hotfix"):
        plant(
            sqlite_books.registry, sqlite_books.url,
            Corruption(f"UPDATE project_runs SET passport_sha256 = '', run_kind = 'x' WHERE run_id = '{run}'", "", ""),
        )  # fmt: skip
    names = {"every_run_has_a_passport", "every_run_kind_is_known"}
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, only=names)
    assert [result.violations for result in report.results] == [2, 2]
