"""The measured database: what is really there, read-only, on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from plms_pipeline.errors import BadInput, NoData, Unavailable
from plms_pipeline.kpis.schema import TableName, diff, parse_table
from plms_pipeline.kpis.store import warehouse

TABLE = """CREATE TABLE runs (id INTEGER PRIMARY KEY, name VARCHAR(50) NOT NULL, cost NUMERIC(12, 2), ratio DOUBLE PRECISION,
big BIGINT, done BOOLEAN, note TEXT, "Mixed Case" INTEGER)"""
EXPECTED = {
    "id": "INTEGER", "name": "VARCHAR(50)", "cost": "NUMERIC(12,2)", "ratio": "float8", "big": "int8", "done": "bool",
    "note": "text", "Mixed Case": "int",
}  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        found = f"sqlite:///{tmp_path / 'with space #1.db'}"
    else:
        found = str(request.getfixturevalue("empty_postgres_url"))
    engine = create_engine(found)
    with engine.begin() as connection:
        connection.execute(text(TABLE))
        connection.execute(text("CREATE VIEW names AS SELECT name FROM runs"))
        for number in range(7):
            connection.execute(text(f"INSERT INTO runs (id, name) VALUES ({number}, 'n')"))
        if request.param == "postgresql":
            connection.execute(text("CREATE SCHEMA other"))
            connection.execute(text("CREATE TABLE other.runs (id INTEGER)"))
    engine.dispose()
    return found


def test_columns_are_those_of_the_database(url: str) -> None:
    """The original compared with a constant: id, name, created_at."""
    with warehouse.reading(url) as connection:
        actual = warehouse.columns(connection, parse_table("runs"))
    assert diff(EXPECTED, actual).lines() == []
    assert diff({**EXPECTED, "created_at": "TIMESTAMPTZ"}, actual).lines() == ["column created_at is missing"]


def test_rows_are_counted(url: str) -> None:
    """The original always found 1000 rows. A view counts as well."""
    with warehouse.reading(url) as connection:
        assert warehouse.row_count(connection, parse_table("runs")) == 7
        assert warehouse.row_count(connection, parse_table("names")) == 7


def test_a_schema_is_honoured(url: str) -> None:
    """Two tables of one name are two tables."""
    with warehouse.reading(url) as connection:
        if url.startswith("postgresql"):
            assert warehouse.row_count(connection, parse_table("other.runs")) == 0
            assert warehouse.row_count(connection, parse_table("public.runs")) == 7
        else:
            assert warehouse.row_count(connection, parse_table("main.runs")) == 7
        with pytest.raises(NoData, match="no schema"):
            warehouse.row_count(connection, parse_table("nowhere.runs"))


def test_a_missing_table_is_said_and_not_counted_as_empty(url: str) -> None:
    """0 rows of 0 would be perfect."""
    with warehouse.reading(url) as connection:
        for measure in (warehouse.columns, warehouse.row_count):
            with pytest.raises(NoData, match="no table"):
                measure(connection, TableName(None, "nothing"))


@pytest.mark.parametrize("statement", ["DELETE FROM runs", "CREATE TABLE evil (x INTEGER)", "DROP TABLE runs"])
def test_nothing_can_be_written(url: str, statement: str) -> None:
    """Measuring must not change what is measured, whatever comes in."""
    with pytest.raises((Unavailable, DBAPIError)), warehouse.reading(url) as connection:
        connection.execute(text(statement))
    with warehouse.reading(url) as connection:
        assert warehouse.row_count(connection, parse_table("runs")) == 7


@pytest.mark.parametrize(
    "url",
    ["sqlite:////no/such/folder/x.db", "postgresql+psycopg://nobody@127.0.0.1:9/none"],
)
def test_a_database_that_is_away_is_unavailable_and_its_secrets_stay(url: str) -> None:
    """The artifact is not at fault, and a SQLite file must not be created by looking at it."""
    with pytest.raises(Unavailable) as caught, warehouse.reading(url):
        pass
    assert "PLMS_KPI_DATABASE_URL" in caught.value.message
    assert caught.value.exit_code == 4


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    """A PNG, for example."""
    path = tmp_path / "x.db"
    path.write_bytes(b"\x89PNG\r\n" * 1000)
    with pytest.raises(Unavailable), warehouse.reading(f"sqlite:///{path}") as connection:
        warehouse.row_count(connection, parse_table("runs"))


@pytest.mark.parametrize("url", ["nonsense", "mysql+nodriver://x/y", ""])
def test_a_url_that_is_none_is_bad_input(url: str) -> None:
    """Named by its setting."""
    with pytest.raises(BadInput, match="PLMS_KPI_DATABASE_URL"), warehouse.reading(url):
        pass


def test_an_endless_query_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view can be as expensive as one likes; SQLite has no time limit of its own."""
    monkeypatch.setattr(warehouse, "_SQLITE_STEPS", 1000)
    monkeypatch.setattr(warehouse, "_SQLITE_CALLS", 50)
    path = tmp_path / "x.db"
    endless = "CREATE VIEW slow AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
    warehouse.build(endless, str(path), "d")
    with pytest.raises(Unavailable, match="interrupted"), warehouse.reading(f"sqlite:///{path}") as connection:
        warehouse.row_count(connection, parse_table("slow"))


def test_a_built_file_remembers_its_script(tmp_path: Path) -> None:
    """So that loading again is free, and a foreign file is never overwritten."""
    path = tmp_path / "x.db"
    warehouse.build("CREATE TABLE t (x INTEGER);", str(path), "digest")
    assert warehouse.loaded_from(str(path)) == "digest"
    assert warehouse.loaded_from(str(tmp_path / "missing.db")) is None
    with pytest.raises(BadInput):
        warehouse.build("CREATE NONSENSE", str(tmp_path / "y.db"), "d")
