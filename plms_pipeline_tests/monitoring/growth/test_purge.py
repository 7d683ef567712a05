"""Does a purge take exactly what grew old, leave the books and every newest word alone, and tell the truth when it is dry?"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from sqlalchemy import inspect, select, table, text

from plms_pipeline.cli import main
from plms_pipeline.clock import FrozenClock, SystemClock
from plms_pipeline.definitions import defs
from plms_pipeline.instance.files.home import dagster_state_dir, prepare_instance
from plms_pipeline.monitoring.growth.actions import purge
from plms_pipeline.monitoring.growth.ages import Outcome
from plms_pipeline.monitoring.growth.defs.history import DagsterHistory
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import DeadLetter
from plms_pipeline.settings import Settings
from plms_pipeline_tests.invariants import healthy

DAY = timedelta(days=1)
PARTITIONS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset
def plain() -> None:
    """Says something, so that there is output."""
    print("made")  # noqa: T201 - what is captured


@dg.asset(partitions_def=PARTITIONS)
def parted() -> None:
    """Of two partitions."""


@pytest.fixture(autouse=True)
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    environ: dict[str, str] = {}
    prepare_instance(settings, environ)
    monkeypatch.delenv("PLMS_DATABASE_URL", raising=False)
    monkeypatch.setenv("DAGSTER_HOME", environ["DAGSTER_HOME"])
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        yield opened


def made(instance: dg.DagsterInstance, partition: str | None = None) -> str:
    """A run that materializes; its id."""
    asset = plain if partition is None else parted
    return dg.materialize([asset], instance=instance, partition_key=partition).run_id


def purged(
    registry: Registry,
    settings: Settings,
    instance: dg.DagsterInstance,
    *,
    days: float,
    is_dry: bool = False,
    most: int = 100,
) -> Outcome:
    """A purge so many days from now."""
    clock = FrozenClock(datetime.now(UTC) + days * DAY)
    return purge(registry, settings, clock=clock, history=DagsterHistory(instance), is_dry=is_dry, most=most)


def counts(outcome: Outcome) -> dict[str, int]:
    return {each.kind: each.n for each in outcome.purged if each.n}


def instigator(name: str) -> InstigatorState:
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="m"))
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "r"), name)
    return InstigatorState(
        origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData(min_interval=30)
    )


def ticked(instance: dg.DagsterInstance, name: str, *, days_ago: list[float]) -> InstigatorState:
    state = instigator(name)
    instance.add_instigator_state(state)
    for days in days_ago:
        at = (datetime.now(UTC) - days * DAY).timestamp()
        instance.create_tick(
            TickData(
                state.instigator_origin_id, name, InstigatorType.SENSOR, TickStatus.SKIPPED, at, selector_id=state.selector_id
            )
        )  # fmt: skip
    return state


def rows(registry: Registry) -> dict[str, str]:
    """Digest of every row of every table."""
    found = {}
    with registry.reading() as session:
        for name in inspect(session.connection()).get_table_names():
            lines = sorted(str(tuple(row)) for row in session.execute(select(text("*")).select_from(table(name))))
            found[name] = f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
    return found


def tree(*roots: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for root in roots
        for path in root.rglob("*")
    }


def old_file(path: Path, days: float, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    age(path, days)
    return path


def age(path: Path, days: float) -> None:
    at = (datetime.now(UTC) - days * DAY).timestamp()
    os.utime(path, (at, at))


def test_old_runs_go_with_their_files_and_the_newest_word_about_anything_stays(
    sqlite_registry: Registry, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """Deleting a run deletes its materializations: the UI would call the asset missing and page somebody."""
    old, newest = made(instance), made(instance)
    a_before, b, a = made(instance, "a"), made(instance, "b"), made(instance, "a")
    assert counts(purged(sqlite_registry, settings, instance, days=10)) == {}
    state = dagster_state_dir(settings)
    assert (state / "compute_logs" / old).is_dir()
    dry = purged(sqlite_registry, settings, instance, days=100, is_dry=True)
    done = purged(sqlite_registry, settings, instance, days=100)
    assert dry.purged == done.purged
    assert counts(done) == {"dagster_runs": 2, "shards": 2, "compute_logs": 2}
    assert {each.kind: each.size for each in done.purged}["shards"] > 50_000  # type: ignore[operator]  # not None
    assert {run.run_id for run in instance.get_runs()} == {newest, b, a}
    assert instance.get_materialized_partitions(parted.key) == {"a", "b"}
    latest = instance.get_latest_materialization_event(plain.key)
    assert latest is not None
    assert latest.run_id == newest
    for gone in (old, a_before):
        assert not list((state / "storage").rglob(f"{gone}*"))
        assert not (state / "compute_logs" / gone).exists()
    assert instance.all_logs(newest)
    assert counts(purged(sqlite_registry, settings, instance, days=100)) == {}


def test_a_run_that_has_not_ended_stays_however_old_it_is(
    sqlite_registry: Registry, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """A run that waits for a person in the queue is not history."""
    job = defs.resolve_job_def("purge")
    waiting = instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
    going = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    purged(sqlite_registry, settings, instance, days=1000)
    assert {run.run_id for run in instance.get_runs()} == {waiting.run_id, going.run_id}


def test_a_failed_run_that_a_dead_letter_would_repeat_stays(
    registry: Registry, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """A retry takes job and configuration from the run that failed; without it the letter can only be given up."""
    owed, done = made(instance), made(instance)
    made(instance)
    with registry.writing() as session:
        for run, state in ((owed, "quarantined"), (done, "done")):
            session.add(
                DeadLetter(
                    letter_id=run, kind="job", subject_id=run, run_id=run, error_class="TRANSIENT", reason="away",
                    fingerprint="f", max_attempts=3, state=state, first_failed_at=healthy.NOW, last_failed_at=healthy.NOW,
                    last_actor="test",
                )
            )  # fmt: skip
    assert counts(purged(registry, settings, instance, days=100))["dagster_runs"] == 1
    assert instance.has_run(owed)
    assert not instance.has_run(done)


def test_ticks_go_by_age_also_of_sensors_that_no_code_defines(
    sqlite_registry: Registry, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """The daemon purges ticks of the sensors that it knows; those of a renamed one stay for ever."""
    state = ticked(instance, "renamed", days_ago=[200.0, 100.0, 91.0, 89.0, 1.0])
    dry = purged(sqlite_registry, settings, instance, days=0, is_dry=True)
    assert counts(dry) == {"dagster_ticks": 3}
    assert len(instance.get_ticks(state.instigator_origin_id, state.selector_id)) == 5
    assert counts(purged(sqlite_registry, settings, instance, days=0)) == {"dagster_ticks": 3}
    assert len(instance.get_ticks(state.instigator_origin_id, state.selector_id)) == 2


def test_files_of_runs_that_nobody_knows_go_a_day_later(
    sqlite_registry: Registry, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """What `delete_run` leaves behind on SQLite: the whole event log of the run, 150 KB each, for ever."""
    run = made(instance)
    state = dagster_state_dir(settings)
    instance.delete_run(run)
    assert (state / "storage" / "history" / "runs" / f"{run}.db").is_file()
    keep = state / "storage" / "history" / "runs" / "index.db"
    assert counts(purged(sqlite_registry, settings, instance, days=0.5)) == {}
    assert counts(purged(sqlite_registry, settings, instance, days=1.5)) == {"shards": 1, "compute_logs": 1}
    assert keep.is_file()
    assert not list(state.rglob(f"{run}*"))


def test_a_purge_is_bounded_and_says_that_there_is_more(
    sqlite_registry: Registry, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """A first purge after a year must not hold Dagster's database for an hour."""
    runs = [made(instance) for _ in range(4)]
    first = purged(sqlite_registry, settings, instance, days=100, most=2)
    assert (counts(first)["dagster_runs"], first.has_more) == (2, True)
    assert {run.run_id for run in instance.get_runs()} == set(runs[2:])
    second = purged(sqlite_registry, settings, instance, days=100, most=2)
    assert (counts(second)["dagster_runs"], second.has_more) == (1, False)


def litter(settings: Settings) -> set[Path]:
    """Files and folders that may go, and (not returned) their likes that may not."""
    data, reports = settings.data_dir, settings.reports_dir
    gone = {
        old_file(data / "quarantine" / "metr-0123456789ab.csv", 200),
        old_file(data / "receipts" / ".2026-01-01.parquet.77.ab.tmp", 2),
        old_file(data / "documents" / ".priors.json.77.part", 2),
        old_file(reports / "nightly" / "2026-03-01" / ".index.html.77.part", 2),
        old_file(data / "artifacts" / "r1" / ".passport.json.7.x.tmp", 2),
        old_file(data / "dagster" / "compute_logs" / "repo" / "sensor" / "1.err", 100),
    }
    scratch = data / ".backup-x.part"
    old_file(scratch / "registry", 2)
    age(scratch, 2)
    orphan = data / "runs" / "nobody"
    old_file(orphan / "staging" / "t" / "f", 3)
    for folder in (orphan / "staging" / "t", orphan / "staging", orphan):
        age(folder, 3)
    old_file(data / "quarantine" / "metr-ba9876543210.csv", 100)
    old_file(data / "quarantine" / "notes.txt", 900)
    old_file(data / "receipts" / ".2026-01-02.parquet.77.ab.tmp", 0.5)
    old_file(data / "receipts" / "2026-01-01.parquet", 900)
    old_file(data / "artifacts" / "inbox" / "theirs" / ".mine.part", 900)
    old_file(data / "dagster" / "compute_logs" / "repo" / "sensor" / "2.err", 10)
    old_file(data / "secrets" / "pas_webhook", 900)
    return {*gone, scratch, orphan}


def test_litter_goes_by_its_age_and_nothing_else_does(
    sqlite_registry: Registry, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """What a killed writer leaves behind is a copy of the registry per backup."""
    gone = litter(settings)
    before = tree(settings.data_dir, settings.reports_dir)
    done = purged(sqlite_registry, settings, instance, days=0)
    assert counts(done) == {"quarantine": 1, "temporary": 5, "staging": 1, "tick_logs": 1}
    left = tree(settings.data_dir, settings.reports_dir)
    lost = {Path(name) for name in before.keys() - left.keys()}
    assert {path for path in lost if not any(parent in lost for parent in path.parents)} == gone
    assert done.size == sum(each.size or 0 for each in done.purged) == 8


def test_a_dry_purge_says_the_same_and_changes_nothing(
    sqlite_registry: Registry, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asks first what would go must be able to believe it."""
    litter(settings)
    with dg.DagsterInstance.get() as instance:
        for _ in range(2):
            made(instance)
        ticked(instance, "s", days_ago=[100.0, 1.0])
    before = tree(settings.data_dir, settings.reports_dir)
    capsys.readouterr()
    assert main(["purge", "--dry-run", "--json"]) == 0
    dry = json.loads(capsys.readouterr().out)
    with dg.DagsterInstance.get() as instance:
        far = purged(sqlite_registry, settings, instance, days=500, is_dry=True)
    assert counts(far)["dagster_runs"] == 1
    sqlite_registry.close()
    assert tree(settings.data_dir, settings.reports_dir) == before
    assert main(["purge", "--json"]) == 0
    wet = json.loads(capsys.readouterr().out)
    assert dry["kinds"] == wet["kinds"]
    assert (dry["bytes"], dry["dry_run"], wet["dry_run"]) == (wet["bytes"], True, False)
    assert wet["kinds"]["dagster_ticks"] == {"n": 1, "bytes": None}
    assert tree(settings.data_dir, settings.reports_dir) != before
    assert main(["purge"]) == 0
    assert "0 bytes went" in capsys.readouterr().out


def test_no_row_of_the_books_is_touched(registry: Registry, settings: Settings, instance: dg.DagsterInstance) -> None:
    """Receipts, decisions, ledger and audit are kept for ever: here every row of every table is compared."""
    healthy.fill(registry, settings)
    litter(settings)
    made(instance)
    before = rows(registry)
    assert len(before) > 40
    assert {"task_receipts", "decisions", "ledger_entries", "audit_log", "estimate_versions"} <= before.keys()
    done = purged(registry, settings, instance, days=5000)
    assert done.size > 0
    after = rows(registry)
    # The history of budgets is told and never decided by: it alone is thinned.
    assert after.pop("runway_snapshots") != before.pop("runway_snapshots")
    assert after == before


@pytest.mark.live
def test_a_purge_beside_a_daemon_disturbs_nobody(
    sqlite_registry: Registry, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """Runs are made, finished and shown while the purge goes on."""
    ends: list[str] = []
    problems: list[BaseException] = []

    def work() -> None:
        try:
            with dg.DagsterInstance.get() as mine:
                ends.extend(made(mine) for _ in range(8))
        except BaseException as problem:
            problems.append(problem)

    worker = threading.Thread(target=work)
    worker.start()
    outcomes = []
    while worker.is_alive():
        outcomes.append(purged(sqlite_registry, settings, instance, days=100))
        # The interpreter is the worker's as well: without a rest it was kept from him for minutes on a busy machine.
        worker.join(0.1)
    outcomes.append(purged(sqlite_registry, settings, instance, days=100))
    assert problems == []
    assert sum(each.failed for each in outcomes) == 0
    assert [run.run_id for run in instance.get_runs()] == [ends[-1]]
    assert sum(counts(each).get("dagster_runs", 0) for each in outcomes) == 7
    shards = dagster_state_dir(settings) / "storage" / "history" / "runs"
    assert {path.name[:36] for path in shards.glob("*-*-*-*-*.db")} == {ends[-1]}


def test_what_will_not_go_is_told_and_keeps_nothing_else(
    sqlite_registry: Registry, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One locked database must not end the purge, and must not be told as success."""
    runs = [made(instance) for _ in range(3)]
    real = dg.DagsterInstance.delete_run

    def locked(self: dg.DagsterInstance, run_id: str) -> None:
        if run_id == runs[0]:
            raise OSError("database is locked")
        real(self, run_id)

    monkeypatch.setattr(dg.DagsterInstance, "delete_run", locked)
    done = purged(sqlite_registry, settings, instance, days=100)
    assert (counts(done)["dagster_runs"], done.failed) == (1, 1)
    assert counts(done)["shards"] == 1
    assert instance.all_logs(runs[0])


def test_the_weekly_job_purges_and_shows_its_numbers(
    sqlite_registry: Registry, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """People read the Dagster UI; and the job's own run, which still runs, must survive itself."""
    litter(settings)
    job = defs.resolve_job_def("purge")
    result = job.execute_in_process(instance=instance)
    assert result.success
    shown: dict[str, Any] = {
        name: value.value
        for event in result.all_events
        if event.event_type_value == "STEP_OUTPUT"
        for name, value in event.step_output_data.metadata.items()
    }
    assert (shown["temporary_n"], shown["quarantine_n"], shown["dagster_runs_n"]) == (5, 1, 0)
    assert shown["temporary_bytes"] == 5
    assert "dagster_runs_bytes" not in shown
    schedule = defs.resolve_schedule_def("weekly_purge")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("40 4 * * 0", "America/New_York")


def test_a_fresh_installation_has_nothing_to_purge(
    sqlite_registry: Registry, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first Sunday."""
    assert purge(sqlite_registry, settings, clock=SystemClock(), history=None, is_dry=False).size == 0
    assert main(["purge"]) == 0
    assert "0 bytes went" in capsys.readouterr().out
