"""Does `plms invariants` say with its exit code what it found, and leave no trace where nothing was?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from plms_pipeline.cli import main
from plms_pipeline.invariants.rules import INVARIANTS
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.invariants.conftest import Books

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data directory holds the day files of the books under test."""
    name = next((each for each in ("books", "sqlite_books") if each in request.fixturenames), None)
    data_dir = request.getfixturevalue(name).settings.data_dir if name else tmp_path / "data"
    monkeypatch.setenv("PLMS_DATA_DIR", str(data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(tmp_path / "reports"))


def test_healthy_books_exit_0_with_a_line_for_each_invariant(books: Books, capsys: Captured) -> None:
    """What the on-call engineer reads first."""
    assert main(["invariants", "--db", books.url]) == 0
    out = capsys.readouterr().out
    with books.registry.reading() as session:
        runs = session.scalar(text("SELECT COUNT(*) FROM project_runs"))
    assert f"✓ every_run_has_a_passport: {runs}/{runs}\n" in out
    assert out.count("✓") == len(INVARIANTS)


def test_json_goes_to_standard_output_alone(sqlite_books: Books, capsys: Captured) -> None:
    """A pipeline that parses the output must not meet a headline in it."""
    assert main(["invariants", "--json", "--full", "--db", sqlite_books.url]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["summary"]["status"] == "pass"
    assert document["strict_mode"] is document["full"] is True
    assert set(document["checks"]) == set(INVARIANTS)


def test_a_violation_exits_1_with_row_and_remedy(sqlite_books: Books, capsys: Captured) -> None:
    """The remedy is read at three in the morning."""
    with sqlite_books.registry.writing() as session:
        session.execute(text("UPDATE project_runs SET passport_sha256 = NULL WHERE run_id = 'own-hotfix'"))
    assert main(["invariants", "--db", sqlite_books.url]) == 1
    captured = capsys.readouterr()
    assert "✗ every_run_has_a_passport" in captured.out
    assert "run_id=own-hotfix" in captured.out
    assert INVARIANTS["every_run_has_a_passport"].remedy in captured.out
    assert captured.err.startswith("error: ")
    assert len(captured.err.splitlines()) == 1


def test_a_missing_file_is_refused_and_not_made(tmp_path: Path, capsys: Captured) -> None:
    """The original crashed there and left an empty database, which the next night proved."""
    missing = tmp_path / "deep" / "missing.db"
    assert main(["invariants", "--db", f"sqlite:///{missing}"]) == 2
    assert str(missing) in capsys.readouterr().err
    assert not missing.parent.exists()
    assert main(["invariants", "--db", str(missing)]) == 2
    assert main(["invariants"]) == 4
    assert "plms db upgrade" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + b"\0" * 200, b"a,b\n1,2\n" * 300])
def test_a_file_that_is_no_registry_is_refused_in_one_line(content: bytes, tmp_path: Path, capsys: Captured) -> None:
    """Whoever mistypes the path must read which file is wrong, not a traceback."""
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    assert main(["invariants", "--db", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "picture.png" in error
    assert len(error.splitlines()) == 1
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["picture.png"]


def test_a_database_of_somebody_else_is_refused_and_stays_as_it_is(tmp_path: Path, capsys: Captured) -> None:
    """Asking whether the books balance once turned a foreign database into WAL mode, and told its owner to upgrade it."""
    path = tmp_path / "odd name?.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    assert main(["invariants", "--db", str(path)]) == 2
    assert "holds no registry" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_proof_leaves_the_file_as_it_is(sqlite_books: Books) -> None:
    """A proof of last month's backup must not change the backup."""
    path = Path(sqlite_books.url.removeprefix("sqlite:///"))
    sqlite_books.registry.close()
    before = path.read_bytes()
    assert main(["invariants", "--db", str(path)]) == 0
    assert path.read_bytes() == before
    assert not path.with_name(path.name + "-shm").exists()


@pytest.mark.parametrize("url", ["mysql://host/x", "://", "postgresql+psycopg://plms:hunter2@/plms?host=/nowhere"])
def test_a_url_that_leads_nowhere_is_refused_without_its_password(url: str, capsys: Captured) -> None:
    """An error that prints the URL prints the password."""
    assert main(["invariants", "--db", url]) in (2, 4)
    assert "hunter2" not in capsys.readouterr().err


def test_an_empty_registry_exits_3(registry: Registry, registry_url: str, capsys: Captured) -> None:
    """Every sentence is true of nothing: a pipeline that lost its database must not look green."""
    assert main(["invariants", "--db", registry_url]) == 3
    assert "nothing is proven" in capsys.readouterr().err
    assert main(["invariants", "--json", "--db", registry_url]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["summary"]["status"] == "no_data"
    assert json.loads(captured.err)["error"]["code"] == "nothing_to_prove"


def test_an_older_registry_is_refused_with_the_remedy(tmp_path: Path, capsys: Captured) -> None:
    """Without the new tables half of the checks would fail for the wrong reason."""
    migrate.upgrade(f"sqlite:///{tmp_path / 'old.db'}", "0002")
    assert main(["invariants", "--db", str(tmp_path / "old.db")]) == 4
    assert "plms db upgrade" in capsys.readouterr().err


def test_a_person_who_asks_moves_no_marks(books: Books) -> None:
    """Only the night may decide what the next night may skip."""
    assert main(["invariants", "--db", books.url]) == 0
    with books.registry.reading() as session:
        assert session.scalar(text("SELECT COUNT(*) FROM proof_marks")) == 0


def test_help_shows_an_example_and_the_exit_codes(capsys: Captured) -> None:
    """The codes are what a cron job decides by."""
    assert main(["invariants", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example: plms invariants" in out
    assert "nothing is" in out
