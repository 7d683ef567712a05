"""Does the doctor see a real installation as it is, and leave nothing behind?"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from plms_pipeline.access.files import make_keys
from plms_pipeline.clock import FrozenClock, SystemClock
from plms_pipeline.instance.config import checkout_yaml
from plms_pipeline.instance.files.home import prepare_instance
from plms_pipeline.monitoring.doctor import files
from plms_pipeline.monitoring.doctor.actions import examine
from plms_pipeline.monitoring.doctor.checks import Level, Line
from plms_pipeline.monitoring.doctor.process import dagster_problem
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings


def told(lines: list[Line]) -> dict[str, Level]:
    return {line.name: line.level for line in lines}


def write_night(settings: Settings, day: str, summary: object) -> None:
    folder = settings.reports_dir / "nightly" / day
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary))


def look(settings: Settings) -> dict[str, Level]:
    return told(examine(settings, SystemClock(), lambda _: ""))


def test_an_installation_that_nothing_was_done_to_is_left_as_it_is(settings: Settings, tmp_path: Path) -> None:
    """A doctor that creates the registry it looks for reports a healthy, empty one the next time."""
    found = look(settings)
    assert found["database"] is Level.FAIL
    assert found["dagster home"] is Level.WARN
    assert found["PLMS_DATA_DIR"] is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_working_installation_is_healthy(
    settings: Settings, sqlite_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the README's two commands, and the one that makes keys for the API, every line is ok."""
    make_keys(settings.data_dir, alg="HS256", now=SystemClock().now(), rotate=False)
    environ: dict[str, str] = {}
    home = prepare_instance(settings, environ)
    now = SystemClock().now()
    write_night(settings, "2026-01-01", {"verdict": "broken", "as_of": "2026-01-01T07:00:00+00:00"})
    write_night(settings, now.date().isoformat(), {"verdict": "ok", "as_of": now.isoformat()})
    found = {line.name: line for line in examine(settings, SystemClock(), lambda _: "")}
    assert {name: line.detail for name, line in found.items() if line.level is not Level.OK and name != "lock"} == {}
    assert home.config_file.name in found["dagster home"].detail
    assert not list(settings.data_dir.glob(".plms-doctor-*"))


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"verdict": "ok", "as_of": "yesterday"}', '{"as_of": 5}'])
def test_a_broken_summary_is_a_failing_line(settings: Settings, text: str) -> None:
    """A half-written or hand-edited file must not take the other nine lines away."""
    folder = settings.reports_dir / "nightly" / "2026-03-01"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(text)
    assert look(settings)["last night"] is Level.FAIL


def test_a_clock_that_jumped_back_is_seen(settings: Settings, sqlite_registry: Registry) -> None:
    """The file system keeps the true time of the probe; a machine whose clock lies forecasts from the wrong receipts."""
    wrong = FrozenClock(SystemClock().now() - timedelta(days=1))
    assert told(examine(settings, wrong, lambda _: ""))["clock"] is Level.FAIL


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    """`touch data` happens; every other command would fail with a less helpful sentence."""
    (tmp_path / "file").write_text("x")
    settings = load_settings(
        {"PLMS_DATA_DIR": str(tmp_path / "file"), "PLMS_REPORTS_DIR": str(tmp_path / "file" / "deeper")}
    )
    lines = {line.name: line for line in examine(settings, SystemClock(), lambda _: "")}
    assert lines["PLMS_DATA_DIR"].level is lines["PLMS_REPORTS_DIR"].level is Level.FAIL
    assert "no folder" in lines["PLMS_DATA_DIR"].detail


@pytest.mark.parametrize("in_checkout", [True, False])
def test_a_file_in_the_place_of_dagsters_storage_is_named(
    in_checkout: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor said "nothing to do", and every command that needs Dagster failed."""
    settings.data_dir.mkdir()
    (settings.data_dir / "dagster").touch()
    if in_checkout:
        root = settings.data_dir.parent
        (root / "dagster.yaml").write_text(checkout_yaml())
        for module in ("plms_pipeline.monitoring.doctor.actions", "plms_pipeline.instance.files.home"):
            monkeypatch.setattr(f"{module}.project_root", lambda: root)
    lines = {line.name: line for line in examine(settings, SystemClock(), lambda _: "")}
    assert lines["dagster home"].level is Level.FAIL
    assert str(settings.data_dir / "dagster") in lines["dagster home"].detail
    assert lines["PLMS_DATA_DIR"].level is Level.OK


def test_a_database_that_is_away_is_one_line_of_many(tmp_path: Path) -> None:
    """The other findings are needed most when the database is gone; its password is needed by nobody."""
    settings = load_settings(
        {
            "PLMS_DATA_DIR": str(tmp_path),
            "PLMS_REPORTS_DIR": str(tmp_path),
            "PLMS_DATABASE_URL": f"postgresql://plms:hunter2@/plms?host={tmp_path}",
        }
    )
    lines = examine(settings, SystemClock(), lambda _: "")
    assert told(lines)["database"] is Level.FAIL
    assert len(lines) == 12
    assert "hunter2" not in str(lines)


def test_a_postgresql_registry_is_examined_too(tmp_path: Path, postgres_registry_url: str) -> None:
    """Production runs on it."""
    environ = {
        "PLMS_DATA_DIR": str(tmp_path),
        "PLMS_REPORTS_DIR": str(tmp_path),
        "PLMS_DATABASE_URL": postgres_registry_url,
    }
    assert look(load_settings(environ))["database"] is Level.OK


@pytest.mark.live
def test_dagster_is_asked_for_real(settings: Settings) -> None:
    """A dagster.yaml with a typing error loads in nobody's head and fails in the daemon."""
    home = prepare_instance(settings, {})
    assert dagster_problem(home.home) == ""
    home.config_file.write_text("storage: {nonsense: true}\n")
    problem = dagster_problem(home.home)
    assert problem
    assert "\n" not in problem


def test_a_folder_that_is_not_there_is_judged_by_where_it_will_be_made(tmp_path: Path) -> None:
    """The first command makes data/ itself; what matters is whether it may."""
    place = files.look_at(tmp_path / "a" / "b")
    assert (place.problem, files.nearest_existing(tmp_path / "a" / "b")) == ("", tmp_path)
    assert place.free_mb is not None
    assert list(tmp_path.iterdir()) == []


def test_without_a_lock_there_is_nothing_to_compare(tmp_path: Path) -> None:
    """Installed as a package, the checkout's lock is not there."""
    assert files.lock_differences(None) == (None, 0)
    assert files.lock_differences(tmp_path / "requirements.lock") == (None, 0)


def keys_line(settings: Settings) -> Line:
    return next(line for line in examine(settings, SystemClock(), lambda _: "") if line.name == "token keys")


def test_keys_that_are_missing_damaged_or_open_to_others_are_told(settings: Settings) -> None:
    """The API would answer 401 to everybody, or somebody else could sign tokens, and every other line would be ok."""
    assert keys_line(settings).level is Level.WARN
    assert "plms token keys" in keys_line(settings).remedy
    make_keys(settings.data_dir, alg="HS256", now=SystemClock().now(), rotate=False)
    folder = settings.data_dir / "secrets"
    file = folder / "token_keys.json"
    assert keys_line(settings) == Line("token keys", Level.OK, f"1 key at {file}")
    file.chmod(0o640)
    assert keys_line(settings).level is Level.FAIL
    assert f"chmod 600 {file}" in keys_line(settings).remedy
    file.chmod(0o600)
    folder.chmod(0o755)
    assert f"chmod 700 {folder}" in keys_line(settings).remedy
    folder.chmod(0o700)
    file.write_text("{")
    assert keys_line(settings).level is Level.FAIL
    assert "no JWK set" in keys_line(settings).detail
    assert keys_line(settings.model_copy(update={"auth": "disabled"})).level is Level.OK


def test_keys_of_another_issuer_are_looked_at_where_they_lie(settings: Settings, tmp_path: Path) -> None:
    """Who can write into that file decides whom the API believes."""
    issuer = tmp_path / "issuer"
    made = make_keys(issuer, alg="RS256", now=SystemClock().now(), rotate=False)
    theirs = settings.model_copy(update={"jwt_public_keys": made.public_file})
    assert keys_line(theirs).level is Level.OK
    made.public_file.chmod(0o666)
    assert f"chmod go-w {made.public_file}" in keys_line(theirs).remedy
    made.public_file.chmod(0o644)
    made.public_file.write_text(made.public_file.with_name("token_keys.json").read_text().replace('"RSA"', '"oct"'))
    assert keys_line(theirs).level is Level.FAIL
    made.public_file.unlink()
    assert keys_line(theirs).level is Level.FAIL
    assert "PLMS_JWT_PUBLIC_KEYS" in keys_line(theirs).remedy
