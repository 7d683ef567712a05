"""Where does a world live, and how does the next one move in?

One after the other in the same database of this process: a new engine would compile every statement anew, a tenth of what a
world costs. It lies in memory where the machine allows that, and is never synced: what a killed process leaves behind is
the same, and nobody pulls the plug of this disk.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event

from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.simulation.journal import install


class Home:
    """A registry in a folder of its own; `stated` is told of every statement of a write transaction."""

    def __init__(self, template: Path) -> None:
        self.folder = template.parent / f"home-{os.getpid()}"
        self.folder.mkdir()
        self._template = template
        self.stated: Callable[[], None] = lambda: None
        self.settings: Settings = load_settings(
            {
                "PLMS_DATA_DIR": str(self.folder), "PLMS_REPORTS_DIR": str(self.folder / "reports"),
                "P28_LATE_OBS_MAX_INFLIGHT": "4",
            }
        )  # fmt: skip
        shutil.copyfile(template, self.folder / "registry.db")
        self.registry = Registry.open(self.settings.database_url)
        engine = self.registry.engine
        event.listen(engine, "connect", lambda found, _record: found.execute("PRAGMA synchronous = OFF"))
        event.listen(engine, "before_cursor_execute", self._says)

    def _says(self, connection: Any, _cursor: Any, _text: Any, _given: Any, _context: Any, _many: Any) -> None:
        if connection.get_execution_options().get("plms_write", False):
            self.stated()

    def empty(self) -> None:
        """Make everything as it was at first: a migrated registry with a journal, and nothing else."""
        source, own = sqlite3.connect(self._template), sqlite3.connect(self.folder / "registry.db")
        try:
            source.backup(own)
        finally:
            source.close()
            own.close()

    def close(self) -> None:
        """Let everything go."""
        self.registry.close()
        shutil.rmtree(self.folder, ignore_errors=True)


# Template → its home in this process.
_homes: dict[Path, Home] = {}


def home_of(template: Path) -> Home:
    """The home of this process, empty."""
    found = _homes.get(template)
    if found is None:
        found = _homes[template] = Home(template)
    found.empty()
    return found


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder, in memory where the machine has one, with the template of every world: a migrated registry with a journal."""
    place = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="plms-sim-", dir=place) as folder:
        template = Path(folder) / "template.db"
        migrate.upgrade(f"sqlite:///{template}")
        install(template)
        try:
            yield template
        finally:
            home = _homes.pop(template, None)
            if home is not None:
                home.close()
