"""Can the registry be read where nothing may be written, and is a torn reading told?"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from plms_pipeline.errors import Unavailable
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry

NOBODY = 65534


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """The folder and its files may be read and not be written; root is nobody meanwhile, whom rights do not bind."""
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def lying(migrated_sqlite: Path) -> Iterator[Path]:
    """A registry in a folder of its own, which everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="plms-read-only-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copyfile(migrated_sqlite, folder / "registry.db")
        yield folder / "registry.db"


def lanes(registry: Registry) -> int:
    with registry.reading() as session:
        return int(session.execute(text("SELECT COUNT(*) FROM lanes")).scalar_one())


def test_a_registry_in_a_folder_that_may_not_be_written_can_be_read(
    lying: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mounted backup, another user's instance: SQLite alone says "unable to open database file"."""
    monkeypatch.setattr(os, "access", lambda path, mode: os.stat(path).st_mode & 0o222 != 0)
    url = f"sqlite:///{lying}"
    with without_rights(lying.parent):
        reader = Registry.open(url, read_only=True)
        assert lanes(reader) > 0
        migrate.require_head(reader)
        reader.close()
        assert migrate.check(url).is_at_head
    assert [each.name for each in lying.parent.iterdir()] == ["registry.db"]


def test_a_log_that_cannot_be_read_in_is_one_clear_error(lying: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that was taken while somebody wrote: without its log the numbers would be old, and nobody would know."""
    monkeypatch.setattr(os, "access", lambda path, mode: os.stat(path).st_mode & 0o222 != 0)
    with closing(sqlite3.connect(lying)) as writer:
        writer.execute("UPDATE lanes SET cap = 77")
        writer.commit()
        left = lying.with_name("registry.db-wal").read_bytes()
    lying.with_name("registry.db-wal").write_bytes(left)
    with without_rights(lying.parent):
        reader = Registry.open(f"sqlite:///{lying}", read_only=True)
        with pytest.raises(Unavailable, match="may be read and written"):
            lanes(reader)
        reader.close()


def test_a_file_that_changes_while_it_is_read_as_it_lies_is_told(lying: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner may write: half of the numbers would come from before and half from after."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    reader = Registry.open(f"sqlite:///{lying}", read_only=True)
    with pytest.raises(Unavailable, match="written while it was read"), reader.reading() as session:
        session.execute(text("SELECT COUNT(*) FROM lanes"))
        with closing(sqlite3.connect(lying)) as writer:
            writer.execute("UPDATE lanes SET cap = 77")
            writer.commit()
    reader.close()
