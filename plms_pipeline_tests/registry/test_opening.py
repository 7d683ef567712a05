"""What every command and server begins with: a registry at the newest revision, closed whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from plms_pipeline.errors import Unavailable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import Settings, load_settings


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Registry]:
    found: list[Registry] = []
    close = Registry.close

    def told(registry: Registry) -> None:
        found.append(registry)
        close(registry)

    monkeypatch.setattr(Registry, "close", told)
    return found


def test_it_is_closed_when_the_block_ends_however_it_ends(
    settings: Settings, sqlite_registry_url: str, closed: list[Registry]
) -> None:
    """A server that is started again and again by its supervisor would otherwise leave connections behind."""
    assert settings.database_url == sqlite_registry_url
    with opened(settings) as first:
        assert closed == []
    with pytest.raises(ZeroDivisionError), opened(settings, read_only=True) as second:
        raise ZeroDivisionError
    assert closed == [first, second]


def test_one_that_is_not_at_head_is_refused_and_closed(tmp_path: Path, closed: list[Registry]) -> None:
    """Nothing is made by who only asks, and nobody works on tables of another program."""
    settings = load_settings({"PLMS_DATA_DIR": str(tmp_path / "data")})
    with pytest.raises(Unavailable, match="plms db upgrade") as refused, opened(settings, read_only=True):
        pass
    assert refused.value.code == "registry_not_at_head"
    assert len(closed) == 1
    assert not (tmp_path / "data" / "registry.db").exists()


def test_who_only_asks_cannot_write(settings: Settings, sqlite_registry_url: str) -> None:
    """`--dry-run` leans on it."""
    assert settings.database_url == sqlite_registry_url
    with opened(settings, read_only=True) as registry, pytest.raises(OperationalError, match="readonly"):
        registry.engine.connect().execute(text("DELETE FROM lanes"))
