"""Does the registry's schema move without losing a row, on both databases?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from plms_pipeline.errors import BadInput, PlmsError, Unavailable
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.migrations import views
from plms_pipeline.registry.tables import (
    ActionLog,
    AuditEntry,
    DeadLetter,
    Lane,
    Project,
    ProjectForecast,
    ProjectRun,
    Rehearsal,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    return str(request.getfixturevalue("empty_postgres_url"))


def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    registry = Registry.open(url)
    with registry.engine.connect() as connection:
        names = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
        found = {n: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {n}"))), key=repr) for n in names}
    registry.close()
    return found


def fill(url: str) -> None:
    registry = Registry.open(url)
    with registry.writing() as session:
        project = Project(name="a plan", created_at=NOW)
        session.add(project)
        session.flush()
        session.add(ProjectForecast(project_id=project.id, forecast_json={"tasks": 1}, estimated_at=NOW))
        session.add(
            ProjectRun(
                run_id="r", project_id=project.id, run_kind="rehearsal", write_sandbox=True, strata_coverage=0.5,
                created_at=NOW, passport_sha256="0" * 64,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Rehearsal(
                rehearsal_id="r", project_id=project.id, run_id="r", mode="canary", requested_pct=0.05, seed=1,
                state="running", actor="a", created_at=NOW,
            )
        )  # fmt: skip
        session.add(ActionLog(task_id="t1", timestamp=NOW, action_type="directive"))
        session.add(AuditEntry(at=NOW, actor="a", action="b", subject="c", outcome="ok"))
        lane = session.get(Lane, 4200)
        assert lane
        lane.cap = 9
    registry.close()


def test_an_empty_database_comes_to_head_and_matches_the_models(empty_url: str) -> None:
    """A schema that differs from the models fails in production at the first statement that nobody tested."""
    state = migrate.upgrade(empty_url)
    assert state.is_at_head, state.differences


def test_upgrading_twice_changes_nothing(empty_url: str) -> None:
    """`make run` upgrades every time; a second upgrade that seeds again would undo people's decisions."""
    migrate.upgrade(empty_url)
    fill(empty_url)
    before = rows(empty_url)
    migrate.upgrade(empty_url)
    assert rows(empty_url) == before


@pytest.mark.live
@pytest.mark.parametrize("target", ["-1", "0005", "base"])
def test_down_and_up_keeps_every_row_and_what_refuses(empty_url: str, target: str) -> None:
    """A rollback that drops a table destroys what was learnt since the upgrade; and triggers and unique indexes must come back
    with their tables, or the books stop being append-only in silence."""
    migrate.upgrade(empty_url)
    fill(empty_url)
    before = rows(empty_url)
    migrate.downgrade(empty_url, target)
    assert set(rows(empty_url)) != set(before)
    state = migrate.upgrade(empty_url)
    assert rows(empty_url) == before
    assert state.is_at_head, state.differences
    registry = Registry.open(empty_url)
    with pytest.raises(Exception, match="append-only"), registry.writing() as session:
        session.execute(text("DELETE FROM audit_log"))
    registry.close()


def test_a_failed_migration_leaves_the_old_schema(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-applied migration is a database that neither the old nor the new program can read."""
    migrate.upgrade(empty_url, "0001")
    before = rows(empty_url)
    # The last statement of 0002: by then every table of it exists inside the transaction.
    for dialect in ("sqlite", "postgresql"):
        monkeypatch.setitem(views.CREATE_PORTFOLIO_METRICS, dialect, "SELECT * FROM there_is_no_such_table")
    with pytest.raises(PlmsError, match="schema is as it was at 0001") as raised:
        migrate.upgrade(empty_url)
    assert raised.value.code == "migration_failed"
    assert rows(empty_url) == before
    assert migrate.check(empty_url).current == "0001"


def test_the_sqlite_file_is_copied_aside_before_it_is_changed(tmp_path: Path) -> None:
    """The copy is what a person restores at three in the morning."""
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    migrate.upgrade(url, "0001")
    fill_0001 = Registry.open(url)
    with fill_0001.writing() as session:
        session.add(Project(name="kept", created_at=NOW))
    fill_0001.close()
    migrate.upgrade(url)
    copy = tmp_path / "registry.db.before-0001"
    assert migrate.check(f"sqlite:///{copy}").current == "0001"
    assert [row[1] for row in rows(f"sqlite:///{copy}")["projects"]] == ["kept"]


def test_the_names_of_the_migrations_tell_what_alembic_finds_in_them() -> None:
    """Every process asks for the newest revision when it begins: a file named wrongly would stop all of them, or none."""
    scripts = ScriptDirectory(str(migrate.MIGRATIONS))
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert migrate.head() == scripts.get_current_head()
    assert all(migrate.is_known(revision) for revision in revisions)
    assert len(revisions) == len(list((migrate.MIGRATIONS / "versions").glob("v*.py")))


def test_an_unknown_revision_is_one_clear_error(empty_url: str) -> None:
    """The person who mistyped a revision must not read a traceback."""
    migrate.upgrade(empty_url)
    with pytest.raises(BadInput, match="plms db check"):
        migrate.downgrade(empty_url, "7777")


def test_a_registry_that_is_not_at_head_is_refused_with_the_remedy(empty_url: str) -> None:
    """A program that runs on an old schema writes half of what it should."""
    migrate.upgrade(empty_url, "0001")
    registry = Registry.open(empty_url)
    with pytest.raises(Unavailable, match="plms db upgrade"):
        migrate.require_head(registry)
    registry.close()


def test_a_database_that_is_away_says_so_without_its_password(tmp_path: Path) -> None:
    """A connection error that prints the URL prints the password."""
    url = f"postgresql+psycopg://plms:hunter2@/plms?host={tmp_path}"
    with pytest.raises(Unavailable, match="PLMS_DATABASE_URL") as raised:
        migrate.upgrade(url)
    assert "hunter2" not in str(raised.value)


def test_expression_indexes_that_cannot_be_compared_are_there(registry: Registry) -> None:
    """The unique key of the priors stands on coalesce(lane_id, 0), which SQLite cannot reflect."""
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'index'"
        if registry.dialect == "sqlite"
        else "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
    )
    with registry.reading() as session:
        assert "ux_estimate_versions_key" in set(session.scalars(text(catalogue)))


def test_letters_about_messages_survive_a_version_that_knew_none(empty_url: str) -> None:
    """A downgrade that refuses, or loses what nobody was told, is no way back."""
    migrate.upgrade(empty_url)
    letter = {
        "letter_id": "1", "kind": "delivery", "subject_id": "delivery:x", "error_class": "TRANSIENT", "reason": "r",
        "fingerprint": "f", "max_attempts": 3, "first_failed_at": NOW, "last_failed_at": NOW, "last_actor": "alerts",
    }  # fmt: skip

    def kinds() -> tuple[list[str], set[str | None]]:
        registry = Registry.open(empty_url)
        with registry.engine.connect() as connection:
            found = [row[0] for row in connection.execute(text("SELECT kind FROM dead_letters"))]
            indexes = {index["name"] for index in inspect(connection).get_indexes("dead_letters")}
        registry.close()
        return found, indexes

    registry = Registry.open(empty_url)
    with registry.writing() as session:
        session.add(DeadLetter(**letter))
    registry.close()
    known, indexes = kinds()
    migrate.downgrade(empty_url, "0008")
    assert kinds() == (["effect"], indexes)
    migrate.upgrade(empty_url)
    assert kinds() == (known, indexes)
