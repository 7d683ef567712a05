"""Does a purge take what nobody needs of trainings and bars, and leave whatever a row refers to?"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import Conflict
from plms_pipeline.models.dataset import files as dataset
from plms_pipeline.models.dataset.revising import merged
from plms_pipeline.models.estimating import files as estimates
from plms_pipeline.models.estimating.book import Book
from plms_pipeline.models.growth.actions import Stale, remover, stale
from plms_pipeline.models.market.files.keeping import snapshot, write_bars
from plms_pipeline.monitoring.backup.files import trees
from plms_pipeline.monitoring.growth.actions import purge
from plms_pipeline.monitoring.growth.files import remove
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.models.candidates import House, house, run_on_disk
from plms_pipeline_tests.models.estimating.shipped import world
from plms_pipeline_tests.models.worlds import market, small_bars

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=40)
BEFORE = NOW - timedelta(days=30)


def aged(root: Path, moment: datetime = OLD) -> None:
    for path in (root, *root.rglob("*")):
        os.utime(path, (moment.timestamp(), moment.timestamp()))


@pytest.fixture
def made(registry: Registry, tmp_path: Path) -> House:
    return house(registry, tmp_path)


def other_bars(root: Path, seed: int) -> Path:
    bars = market(3, 400, 0.2, seed).bars()
    path, _ = snapshot(root / dataset.SNAPSHOTS, bars)
    return path


def test_whatever_a_row_refers_to_stays_however_old(made: House) -> None:
    """A rollback needs the bytes of a champion of last year; a rejected candidate is what its decision is about."""
    made.champion("c1")
    made.candidate("c2", seed=8)
    made.decide("c2", "reject")
    aged(made.root)
    assert stale(made.registry, made.root, before=BEFORE) == Stale({}, {}, {})


def test_a_training_that_nobody_waits_for_goes_with_its_bars(made: House) -> None:
    """Each trial of an experiment leaves a model and twenty years of bars."""
    run = run_on_disk(made.root, "trial", clock=FrozenClock(NOW)).path
    name = f"automation_runs/{run.name}"
    assert stale(made.registry, made.root, before=BEFORE) == Stale({}, {}, {})
    aged(made.root)
    (kept,) = (made.root / dataset.SNAPSHOTS).iterdir()
    found = stale(made.registry, made.root, before=BEFORE)
    assert (set(found.runs), set(found.snapshots)) == ({name}, {f"market_snapshots/{kept.name}"})
    # Somebody looked at the run yesterday: its bars stay with it.
    os.utime(run / "manifest.json", (NOW.timestamp(), NOW.timestamp()))
    assert stale(made.registry, made.root, before=BEFORE) == Stale({}, {}, {})


def test_the_current_dataset_stays_and_what_it_was_goes(made: House) -> None:
    """The next training would find nothing to read."""
    was = other_bars(made.root, 9)
    dataset.publish(made.root, small_bars(), {}, merged(None, small_bars()).revised, name="x")
    aged(made.root)
    found = stale(made.registry, made.root, before=BEFORE)
    assert set(found.snapshots) == {f"market_snapshots/{was.name}"}
    (made.root / "market_dataset" / "current.json").write_text("{")
    assert stale(made.registry, made.root, before=BEFORE).snapshots == {}


def test_bars_that_a_training_takes_are_young_again(made: House) -> None:
    """A training that runs for an hour found its bars gone when it was to be promoted."""
    path = other_bars(made.root, 9)
    aged(made.root)
    assert stale(made.registry, made.root, before=BEFORE).snapshots
    snapshot(made.root / dataset.SNAPSHOTS, market(3, 400, 0.2, 9).bars())
    assert path.stat().st_mtime > OLD.timestamp()
    assert stale(made.registry, made.root, before=FrozenClock(OLD).at).snapshots == {}


def receipts_of(root: Path, n: int) -> Path:
    """The receipts of a training of estimates, as it keeps them."""
    history = world(n)
    plain = {"tokens": np.full(n, np.nan), "duration_ms": np.full(n, np.nan), "cost_usd": history.value}
    names = ("lane_id", "started_ms", "completed_ms", "provider", "task", "kind", "complexity")
    columns = {name: getattr(history, name) for name in names} | plain | dict(history.taught)
    return estimates.snapshot(root / estimates.SNAPSHOTS, Book({str(name): one for name, one in columns.items()}))


def test_receipts_of_a_training_go_as_bars_do_whatever_the_dataset_is(made: House) -> None:
    """They were on no list: kept for ever, and not in a backup, so a restored candidate could never be promoted."""
    path = receipts_of(made.root, 30)
    was = path.read_bytes()
    aged(made.root)
    (made.root / "market_dataset").mkdir()
    (made.root / "market_dataset" / "current.json").write_text("{")
    found = stale(made.registry, made.root, before=BEFORE)
    assert found.receipts == {f"estimate_snapshots/{path.name}": path.stat().st_size}
    # Whoever takes them to train on needs them, and what was damaged is written again.
    path.write_bytes(was[:-9])
    assert receipts_of(made.root, 30).read_bytes() == was
    assert stale(made.registry, made.root, before=BEFORE).receipts == {}
    aged(made.root)
    receipts_of(made.root, 30)
    assert stale(made.registry, made.root, before=BEFORE).receipts == {}
    aged(made.root)
    remover(made.registry, made.root, remove)(f"estimate_snapshots/{path.name}")
    assert not path.exists()
    names: list[str] = []
    receipts_of(made.root, 31)
    trees.keep_tree(made.root, "data", trees.BESIDE_THE_BOOKS, lambda name, _chunks: names.append(name))
    assert [name for name in names if "estimate_snapshots" in name] == [
        f"data/estimate_snapshots/{one.name}" for one in (made.root / "estimate_snapshots").iterdir()
    ]


def test_what_came_to_be_needed_meanwhile_stays(made: House) -> None:
    """Between the look and the removal somebody registered it."""
    made.candidate("c1")
    folder = f"automation_runs/{next((made.root / 'automation_runs').iterdir()).name}"
    with pytest.raises(Conflict):
        remover(made.registry, made.root, remove)(folder)
    assert (made.root / folder / "manifest.json").is_file()


def test_a_purge_takes_them_and_says_so(sqlite_registry: Registry, settings: Settings) -> None:
    """A dry purge tells the numbers of the real one."""
    root = settings.data_dir
    run_on_disk(root, "trial", clock=FrozenClock(NOW))
    aged(root / "automation_runs")
    aged(root / "market_snapshots")
    told = []
    for is_dry in (True, False, False):
        done = purge(sqlite_registry, settings, clock=FrozenClock(NOW), history=None, is_dry=is_dry)
        told.append({one.kind: one.n for one in done.purged if one.kind in {"model_runs", "market_snapshots"}})
    assert told == [{"model_runs": 1, "market_snapshots": 1}] * 2 + [{"model_runs": 0, "market_snapshots": 0}]
    assert not list((root / "automation_runs").iterdir())


def test_a_backup_holds_models_bars_and_the_pointer_before_the_bars(tmp_path: Path) -> None:
    """A restored registry with champions whose bytes are nowhere serves nothing."""
    bars = small_bars()
    dataset.publish(tmp_path, bars, {}, merged(None, bars).revised, name="x")
    write_bars(tmp_path / "automation_runs" / "r" / "bars.parquet", bars)
    names: list[str] = []

    def keep(name: str, chunks: object) -> None:
        names.append(name)

    trees.keep_tree(tmp_path, "data", trees.BESIDE_THE_BOOKS, keep)
    digest = dataset.current_digest(tmp_path)
    wanted = [
        "data/automation_runs/r/bars.parquet", "data/market_dataset/current.json", f"data/market_snapshots/{digest}.parquet",
    ]  # fmt: skip
    assert [name for name in names if name in wanted] == wanted
    assert trees.unknown_entries(tmp_path, None) == ()
