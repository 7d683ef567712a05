"""Is every setting typed, validated once, masked where it is secret, and never guessed?"""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.monitoring.doctor.settings_page import setting_rows, settings_markdown
from plms_pipeline.settings import (
    Settings,
    files,
    grouped_fields,
    is_secret,
    load_settings,
    masked,
    project_root,
    variable_of,
)

ROOT = Path(__file__).resolve().parent.parent
SECRET = "hunter2-and-more"


def test_nothing_set_means_the_checkouts_own_places() -> None:
    """`make run` on a fresh clone sets nothing."""
    settings = load_settings({})
    assert settings.data_dir == ROOT / "data"
    assert settings.reports_dir == ROOT / "reports"
    assert settings.database_url == f"sqlite:///{ROOT / 'data' / 'registry.db'}"
    assert (settings.alpha, settings.max_cost_usd, settings.first_day) == (0.3, Decimal(10_000), date(2023, 1, 1))


def test_values_are_read_and_typed() -> None:
    """A limit that stays text compares as text."""
    settings = load_settings(
        {
            "PLMS_DATA_DIR": "/srv/plms",
            "PLMS_MAX_COST_USD": "12.50",
            "PLMS_MAX_DURATION_MS": "60000",
            "PLMS_FIRST_DAY": "2024-02-29",
            "PLMS_ALPHA": "0.5",
            "PLMS_ECHO_GATE": "enforce",
            "HOME": "/nowhere",
        }
    )
    assert settings.data_dir == Path("/srv/plms")
    assert settings.database_url == "sqlite:////srv/plms/registry.db"
    assert settings.max_cost_usd == Decimal("12.50")
    assert (settings.max_duration_ms, settings.first_day, settings.alpha) == (60_000, date(2024, 2, 29), 0.5)
    assert settings.echo_gate == "enforce"


@pytest.mark.parametrize("field", Settings.model_fields)
def test_an_empty_variable_counts_as_unset(field: str) -> None:
    """`PLMS_X= plms …` and compose files with `${X:-}` hand over empty texts."""
    variable = variable_of(field)
    assert load_settings({variable: "", f"{variable}_FILE" if is_secret(field) else "X": " "}) == load_settings({})


def test_the_guides_variables_are_read_under_their_own_names(tmp_path: Path) -> None:
    """The sources documented IDEMPOTENCY_TTL_SECONDS and read it nowhere; scripts that set it expect it to count."""
    file = tmp_path / "redis"
    file.write_text(f"redis://:{SECRET}@cache:6379/0\n")
    settings = load_settings({"IDEMPOTENCY_TTL_SECONDS": "3600", "REDIS_URL_FILE": str(file), "REDIS_PORT": "1"})
    assert settings.idempotency_ttl_seconds == 3600
    assert settings.redis_url == f"redis://:{SECRET}@cache:6379/0"
    assert settings.redis_is_used
    assert SECRET not in repr(settings)
    with pytest.raises(BadInput, match="IDEMPOTENCY_TTL_SECONDS='soon' is not valid"):
        load_settings({"IDEMPOTENCY_TTL_SECONDS": "soon"})
    with pytest.raises(BadInput, match="PLMS_REDIS_URL is set but no such setting"):
        load_settings({"PLMS_REDIS_URL": "redis://h"})


@pytest.mark.parametrize(("flag", "is_used"), [("", True), ("true", True), ("false", False), ("0", False)])
def test_redis_is_used_when_it_is_named_unless_it_is_switched_off(flag: str, is_used: bool) -> None:
    """PLMS_USE_REDIS=true without an address means nothing to connect to, and must not invent localhost."""
    assert load_settings({"REDIS_URL": "redis://h", "PLMS_USE_REDIS": flag}).redis_is_used is is_used
    assert not load_settings({"PLMS_USE_REDIS": flag}).redis_is_used


@pytest.mark.parametrize(
    ("variable", "hint"),
    [("PLMS_MAX_COSTS_USD", "did you mean PLMS_MAX_COST_USD"), ("PLMS_DATADIR", "did you mean PLMS_DATA_DIR"),
     ("PLMS_QQQ", "`plms settings`"), ("PLMS_ALPHA_FILE", "did you mean PLMS_ALPHA?"),
     ("PLMS_DB_URL", "did you mean PLMS_DATABASE_URL?"), ("PLMS_PORT", "did you mean PLMS_UI_PORT?"),
     ("PLMS_KPI_DB", "did you mean PLMS_KPI_DATABASE_URL?"), ("PLMS_COST_MAX_USD", "did you mean PLMS_MAX_COST_USD?"),
     ("PLMS_DATABSE_URL_FILE", "did you mean PLMS_DATABASE_URL_FILE?"), ("PLMS_MIN_DISK", "PLMS_MIN_FREE_DISK_MB?"),
     ("PLMS_COLOR", "`plms settings`"), ("PLMS_HOME", "`plms settings`"), ("PLMS_API_PROT", "did you mean PLMS_API_PORT?"),
     ("PLMS_", "`plms settings`")],
)  # fmt: skip
def test_an_unknown_variable_is_refused_with_a_suggestion(variable: str, hint: str) -> None:
    """A misspelt limit that is silently ignored is discovered by the bill."""
    with pytest.raises(BadInput, match="no such setting") as raised:
        load_settings({variable: "1"})
    assert hint in raised.value.message
    assert raised.value.code == "unknown_setting"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PLMS_ALPHA", "0"), ("PLMS_ALPHA", "1"), ("PLMS_ALPHA", "nan"), ("PLMS_ALPHA", "a lot"), ("PLMS_ALPHA", "0,3"),
        ("PLMS_MAX_COST_USD", "-1"), ("PLMS_MAX_COST_USD", "NaN"), ("PLMS_MAX_COST_USD", "Infinity"),
        ("PLMS_MAX_COST_USD", "1e9"), ("PLMS_MAX_DURATION_MS", "0"), ("PLMS_MAX_DURATION_MS", "1.5"),
        ("PLMS_MAX_TOKENS", "1" * 30), ("PLMS_MAX_TOKENS", "many"), ("PLMS_FIRST_DAY", "2023-02-30"),
        ("PLMS_FIRST_DAY", "0"), ("PLMS_FIRST_DAY", "1st of May"), ("PLMS_UI_PORT", "0"), ("PLMS_UI_PORT", "65536"),
        ("PLMS_ECHO_GATE", "on"), ("PLMS_LOG_LEVEL", "LOUD"), ("PLMS_MIN_FREE_DISK_MB", "-1"),
        ("PLMS_KPI_TIMEOUT_S", "0"), ("PLMS_DATA_DIR", "~nobody-of-that-name/data"),
        ("PLMS_REPORTS_DIR", "~nobody-of-that-name/reports"), ("PLMS_DATABASE_URL", "mysql://h/db"),
        ("PLMS_DATABASE_URL", "sqlite://"), ("PLMS_DATABASE_URL", "sqlite:///"),
        ("PLMS_DATABASE_URL", "sqlite:///:memory:"), ("PLMS_DATABASE_URL", "registry.db"),
        ("PLMS_KPI_DATABASE_URL", "ftp://h"), ("PLMS_NEO4J_URL", "bolt://graph:7687"), ("PLMS_NEO4J_URL", "graph:7474"),
        ("PLMS_NEO4J_URL", "http://"), ("PLMS_NEO4J_URL", "http://graph:many"), ("PLMS_NEO4J_URL", "file:///etc/passwd"),
        ("PLMS_NEO4J_URL", "neo4j+s://graph"), ("PLMS_NEO4J_URL", "http://[::1"),
        ("PLMS_MIN_FREE_DISK_MB", "1073741825"), ("PLMS_MIN_FREE_DISK_MB", "1" * 30),
    ],
)  # fmt: skip
def test_a_bad_value_is_one_clear_error(variable: str, value: str) -> None:
    """It names the variable, what is wrong and what the setting means; no list of pydantic errors."""
    with pytest.raises(BadInput) as raised:
        load_settings({variable: value})
    message = raised.value.message
    assert message.startswith(f"{variable}=")
    assert "is not valid: " in message
    assert Settings.model_fields[variable.removeprefix("PLMS_").lower()].description in message
    assert "\n" not in message
    assert "Value error" not in message
    assert raised.value.code == "bad_setting"


@pytest.mark.parametrize("url", ["http://localhost:7474", "https://graph.example/db", "http://[::1]:7474"])
def test_neo4j_is_reached_by_http(url: str) -> None:
    """A Bolt URL was taken, and failed an hour later inside a KPI."""
    assert load_settings({"PLMS_NEO4J_URL": url}).neo4j_url == url


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    """Orchestrators mount secrets as files; the environment of a process is readable by others."""
    file = tmp_path / "url"
    file.write_text(f"postgresql://plms:{SECRET}@db/plms\n")
    environ = {"PLMS_DATABASE_URL_FILE": str(file)}
    settings = load_settings(environ)
    assert settings.database_url == f"postgresql+psycopg://plms:{SECRET}@db/plms"
    row = next(row for row in setting_rows(settings, environ) if row.variable == "PLMS_DATABASE_URL")
    assert row.source == "file (PLMS_DATABASE_URL_FILE)"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe\x00"])
def test_a_secret_file_that_cannot_be_used_is_one_clear_error(tmp_path: Path, content: bytes | None) -> None:
    """An empty secret file would otherwise mean "no password" or fall back to the default database."""
    file = tmp_path / "url"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput, match="PLMS_DATABASE_URL_FILE names"):
        load_settings({"PLMS_DATABASE_URL_FILE": str(file)})


def test_the_variable_wins_over_the_file(tmp_path: Path) -> None:
    """For one command a person overrides what the service file says; a stale file must not then be an error."""
    url = "postgresql+psycopg://h/db"
    assert load_settings({"PLMS_DATABASE_URL": url, "PLMS_DATABASE_URL_FILE": "/gone"}).database_url == url


@pytest.mark.parametrize(
    ("given_path", "meant"),
    [("other/data", ROOT / "other/data"), ("./other/../data", ROOT / "data"), ("/srv//plms/", Path("/srv/plms"))],
)
def test_relative_paths_start_at_the_checkout(
    given_path: str, meant: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same settings from cron, from an editor and from another directory must mean the same registry."""
    monkeypatch.chdir(tmp_path)
    environ = {"PLMS_DATA_DIR": given_path, "PLMS_KPI_DATABASE_URL": f"sqlite:///{given_path}/w.db"}
    settings = load_settings(environ)
    assert settings.data_dir == meant
    assert settings.database_url == f"sqlite:///{meant}/registry.db"
    assert settings.kpi_database_url == f"sqlite:///{meant}/w.db"


def test_without_a_checkout_places_must_be_given_and_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed elsewhere, a default beside site-packages would be lost with the next upgrade."""
    monkeypatch.setattr(files, "project_root", lambda: None)
    with pytest.raises(BadInput, match="PLMS_DATA_DIR is not set"):
        load_settings({})
    with pytest.raises(BadInput, match="PLMS_DATA_DIR='data' is not valid: must be an absolute path"):
        load_settings({"PLMS_DATA_DIR": "data", "PLMS_REPORTS_DIR": "/r"})
    assert load_settings({"PLMS_DATA_DIR": "/d", "PLMS_REPORTS_DIR": "/r"}).data_dir == Path("/d")


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Quoted in a service file, the shell does not expand it; a directory named "~" is a bad surprise."""
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings({"PLMS_DATA_DIR": "~/plms", "PLMS_DATABASE_URL": "sqlite:///~/r.db"})
    assert settings.data_dir == tmp_path.resolve() / "plms"
    assert settings.database_url == f"sqlite:///{tmp_path.resolve() / 'r.db'}"


@pytest.mark.parametrize("name", ["with space", "quest?ion", "per%20cent", "hash#tag", "ümläut"])
def test_any_folder_name_can_hold_the_registry(name: str, tmp_path: Path) -> None:
    """A database URL is percent-encoded, a path is not: mixing them opens another, empty registry."""
    from sqlalchemy.engine import make_url

    settings = load_settings({"PLMS_DATA_DIR": str(tmp_path / name)})
    assert make_url(settings.database_url).database == str(tmp_path / name / "registry.db")
    again = load_settings({"PLMS_DATABASE_URL": settings.database_url})
    assert again.database_url == settings.database_url


def test_two_instances_live_side_by_side(tmp_path: Path) -> None:
    """A rehearsal beside production must share nothing."""
    one, two = (
        load_settings({"PLMS_DATA_DIR": str(tmp_path / n), "PLMS_REPORTS_DIR": str(tmp_path / n / "r")}) for n in "ab"
    )
    for field in ("data_dir", "reports_dir", "database_url", "artifacts_inbox"):
        assert getattr(one, field) != getattr(two, field)


def test_settings_cannot_change_after_start() -> None:
    """Two parts of one run that saw two limits cannot both be right."""
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).alpha = 0.9  # type: ignore[misc]


secret_urls = [
    f"postgresql://plms:{SECRET}@db:5432/plms",
    f"postgresql+psycopg://plms@db/plms?password={SECRET}",
    f"postgresql+psycopg://plms:{SECRET}?x@db/plms",
    f"postgresql+psycopg://db/plms?password=a@{SECRET}",
    f"postgresql+psycopg://plms:x@{SECRET}@db/plms",
]


@pytest.mark.parametrize("url", secret_urls)
def test_no_secret_is_ever_shown(url: str) -> None:
    """Settings end up in logs, tracebacks, tickets and screenshots."""
    environ = {
        "PLMS_DATABASE_URL": url,
        "PLMS_KPI_DATABASE_URL": url,
        "PLMS_NEO4J_PASSWORD": SECRET,
        "PLMS_NEO4J_URL": f"http://neo4j:{SECRET}@graph:7474",
    }
    settings = load_settings(environ)
    shown = " ".join([repr(settings), str(settings), *map(str, setting_rows(settings, environ))])
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PLMS_DATABASE_URL", f"mysql://u:{SECRET}@h/db"), ("PLMS_DATABASE_URL", SECRET),
     ("PLMS_KPI_DATABASE_URL", f"oracle://u:{SECRET}@h"), ("PLMS_DATA_DIR", f"~x://u:{SECRET}@h")],
)  # fmt: skip
def test_an_error_about_a_secret_does_not_print_it(variable: str, value: str) -> None:
    """The first thing people do with an error is to paste it into a chat."""
    with pytest.raises(BadInput) as raised:
        load_settings({variable: value})
    assert SECRET not in raised.value.message
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@given(
    user=st.text(alphabet="abc", min_size=1, max_size=3),
    password=st.text(alphabet="XYZ@?/:#%", min_size=1, max_size=8).filter(lambda p: any(c in "XYZ" for c in p)),
    query=st.sampled_from(["", "?sslmode=require", "?options=-c%20x"]),
)
def test_masking_shows_no_letter_of_a_password(user: str, password: str, query: str) -> None:
    """People do not percent-encode their passwords; whatever it holds, none of it may appear."""
    shown = masked(f"postgresql+psycopg://{user}:{password}@host/name{query}")
    assert not set("XYZ") & set(shown)
    assert shown.startswith("postgresql+psycopg://")


def test_masking_keeps_what_helps() -> None:
    """A masked URL that names neither host nor database does not tell which instance is meant."""
    assert (
        masked("postgresql+psycopg://u:p@db:5432/plms?sslmode=require") == "postgresql+psycopg://***@db:5432/plms?***"
    )
    assert masked("sqlite:////srv/plms/registry.db") == "sqlite:////srv/plms/registry.db"
    assert masked("plain password") == "********"


def test_every_setting_says_unit_source_default_and_meaning() -> None:
    """`plms settings` is where people look before they read code."""
    environ = {"PLMS_ALPHA": "0.4"}
    rows = setting_rows(load_settings(environ), environ)
    assert [row.variable for row in rows] == [variable_of(field) for field in Settings.model_fields]
    assert all(row.unit and row.description.endswith(".") for row in rows)
    by_name = {row.variable: row for row in rows}
    assert (by_name["PLMS_ALPHA"].value, by_name["PLMS_ALPHA"].source) == ("0.4", "environment (PLMS_ALPHA)")
    assert (by_name["PLMS_ALPHA"].default, by_name["PLMS_MAX_TOKENS"].source) == ("0.3", "default")


def test_settings_stand_in_the_order_of_their_groups() -> None:
    """People look a variable up under its heading; a group that is not among the bases would be validated by nobody."""
    groups = grouped_fields()
    assert [field for _, fields in groups for field in fields] == list(Settings.model_fields)
    assert [heading for heading, _ in groups if f"## {heading}\n" not in settings_markdown()] == []
    modules = {path.stem for path in (ROOT / "plms_pipeline" / "settings" / "groups").glob("[a-z]*.py")}
    assert len(groups) == len(modules)


def test_the_data_directory_is_complained_about_first() -> None:
    """Other places are derived from it: a complaint about a derived one sends people to a variable that they never set."""
    with pytest.raises(BadInput, match=r"^PLMS_DATA_DIR="):
        load_settings({"PLMS_ALPHA": "0", "PLMS_LOG_LEVEL": "LOUD", "PLMS_DATA_DIR": "~nobody-of-that-name/data"})


def test_the_generated_page_is_not_stale() -> None:
    """docs/settings.md is what people find by searching; `plms settings --markdown > docs/settings.md` renews it."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_markdown()


def test_the_page_does_not_depend_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generated page with somebody's paths is stale for everybody else."""
    monkeypatch.setitem(os.environ, "PLMS_ALPHA", "0.9")
    assert "0.9" not in settings_markdown()
    assert str(ROOT) not in settings_markdown()


def test_the_checkout_is_found_from_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Cron starts in the home directory."""
    monkeypatch.chdir(tmp_path)
    assert project_root() == ROOT
