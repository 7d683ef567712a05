"""Whatever dies, whoever else writes: the books end the same and hold nothing twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from plms_pipeline.errors import Unavailable
from plms_pipeline.intake.actions import landing
from plms_pipeline.intake.store.importing import Bulk, counts
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.intake.actions.test_importing import books
from plms_pipeline_tests.intake.conftest import SWEBENCH, Importer, receipt_rows, swebench_rows, write_csv


class Crash(BaseException):
    """The process is gone: nothing after this runs, no handler may swallow it."""


class MortalRegistry(Registry):
    """A registry whose process dies at the n-th write, before or after the commit."""

    def __init__(self, registry: Registry, dies_at: int, *, after_commit: bool) -> None:
        super().__init__(registry.engine)
        self.writes = 0
        self.dies_at = dies_at
        self.after_commit = after_commit

    @contextmanager
    def writing(self) -> Iterator[Session]:
        self.writes += 1
        dies = self.writes == self.dies_at
        with super().writing() as session:
            yield session
            if dies and not self.after_commit:
                raise Crash
        if dies:
            raise Crash


def messy_file(path: Path) -> Path:
    rows = swebench_rows(30, models=("C", "A", "B"))
    rows[4][4], rows[50][1], rows[70][0] = "-1", "", "not a day"
    rows += [list(rows[8]), [*rows[9][:4], "9.5", 1, True]]
    return write_csv(path, SWEBENCH, rows)


@hypothesis_settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deaths=st.lists(st.tuples(st.integers(1, 8), st.booleans()), max_size=5))
def test_an_import_that_dies_at_any_write_and_is_repeated_ends_as_one_that_does_not(
    sqlite_importer: Importer, tmp_path_factory: pytest.TempPathFactory, deaths: list[tuple[int, bool]]
) -> None:
    """If this fails a night with a power cut leaves other books than one without."""
    folder = tmp_path_factory.mktemp("kill")
    path = messy_file(folder / "s.csv")
    expected = _import_into(sqlite_importer, folder / "whole", path, [])
    found = _import_into(sqlite_importer, folder / "dying", path, deaths)
    assert found == expected


def _import_into(importer: Importer, folder: Path, path: Path, deaths: list[tuple[int, bool]]) -> Any:
    """Books and quarantine after an import that dies `deaths` times, in a registry and data folder of its own."""
    folder.mkdir()
    shutil.copyfile(str(importer.registry.engine.url.database), folder / "registry.db")
    registry = Registry.open(f"sqlite:///{folder / 'registry.db'}")
    mine = replace(importer, registry=registry, settings=importer.settings.model_copy(update={"data_dir": folder}))
    try:
        for dies_at, after_commit in deaths:
            mortal = MortalRegistry(registry, dies_at, after_commit=after_commit)
            try:
                mine("swebench", path, registry=mortal, batch_rows=20)
            except Crash:
                continue
        result = mine("swebench", path, batch_rows=20)
        assert result.inserted + result.unchanged + result.n_quarantined == result.rows
        assert result.quarantine is not None
        left = sorted(entry.name for entry in (folder / "quarantine").iterdir())
        return books(registry), result.quarantine.read_bytes(), left
    finally:
        registry.close()


def test_a_writer_that_is_overtaken_asks_again(
    importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails a row that another process inserted meanwhile is counted as inserted by us."""
    columns, rows = receipt_rows(3)
    path = write_csv(tmp_path / "r.csv", columns, rows)
    real, calls = Bulk.insert_receipts, []

    def once_short(self: Bulk, *arguments: Any) -> int:
        calls.append(1)
        return real(self, *arguments) - (len(calls) == 1)

    monkeypatch.setattr(Bulk, "insert_receipts", once_short)
    result = importer("receipts", path)
    assert (result.inserted, len(calls)) == (3, 2)


def test_a_writer_that_is_always_overtaken_gives_up_in_words(
    sqlite_importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, rows = receipt_rows(3)
    monkeypatch.setattr(Bulk, "insert_receipts", lambda *_: -1)
    with pytest.raises(Unavailable, match="import the file again"):
        sqlite_importer("receipts", write_csv(tmp_path / "r.csv", columns, rows))
    with sqlite_importer.registry.reading() as session:
        assert set(counts(session).values()) == {0}
    assert landing.ATTEMPTS >= 3


def start(settings: Settings, url: str, path: Path) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PLMS_")}
    environ |= {
        "PLMS_DATA_DIR": str(settings.data_dir), "PLMS_REPORTS_DIR": str(settings.reports_dir), "PLMS_DATABASE_URL": url,
    }  # fmt: skip
    command = [sys.executable, "-m", "plms_pipeline.cli", "import", "receipts", str(path), "--json"]
    return subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def big_file(path: Path, n: int) -> Path:
    columns, rows = receipt_rows(n)
    return write_csv(path, columns, rows)


@pytest.mark.live
def test_two_importers_of_the_same_file_at_once_count_each_row_once(
    importer: Importer, registry_url: str, tmp_path: Path
) -> None:
    """If this fails a cron job that overlaps itself doubles the books, or one of the two dies of the other."""
    path = big_file(tmp_path / "r.csv", 11_000)
    processes = [start(importer.settings, registry_url, path) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    results = [json.loads(out) for out, _ in answers]
    assert sum(result["inserted"] for result in results) == 11_000
    assert all(result["inserted"] + result["unchanged"] == 11_000 for result in results)
    with importer.registry.reading() as session:
        assert counts(session)["task_receipts"] == 11_000


@pytest.mark.live
def test_a_process_killed_at_random_moments_loses_nothing(sqlite_importer: Importer, tmp_path: Path) -> None:
    """The real thing: SIGKILL, then the same command again, which may be the next victim."""
    path = big_file(tmp_path / "r.csv", 8_000)
    url = sqlite_importer.settings.database_url
    rng = random.Random(7)
    for _ in range(3):
        process = start(sqlite_importer.settings, url, path)
        time.sleep(rng.uniform(0.6, 1.4))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    process = start(sqlite_importer.settings, url, path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    with sqlite_importer.registry.reading() as session:
        found = counts(session)
    assert (found["task_receipts"], found["project_runs"], found["run_tasks"]) == (8_000, 8_000, 8_000)
    assert not (sqlite_importer.settings.data_dir / "quarantine").exists()
