"""Does a start know the world that it happens in, without waiting for it?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, NotFound, Unavailable
from plms_pipeline.pas.client import PasUnavailable
from plms_pipeline.pas.protocol import Health, ProviderState
from plms_pipeline.portfolio.files import flag_reason
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import OutboxEvent
from plms_pipeline.runs.actions.passports import restore_copies, write_due
from plms_pipeline.runs.actions.start import start_run
from plms_pipeline.runs.files.passports import write_copy
from plms_pipeline.runs.process import environment
from plms_pipeline.runs.service.waiting import require_executor, wait_for_run
from plms_pipeline.runs.service.world import Worlds
from plms_pipeline.runs.starting import StartRequest
from plms_pipeline.settings import Settings
from plms_pipeline_tests.runs.worlds import AT, OWNER, WORLD, counting, planned_project

KEY = "7d9f3f0e-1111-4222-8333-444455556666"


class Executor:
    """States its providers, or is away; counts how often it is asked."""

    def __init__(self) -> None:
        self.is_away, self.asked, self.version = False, 0, "1"

    def provider_state(self) -> ProviderState:
        self.asked += 1
        if self.is_away:
            raise PasUnavailable("away")
        return ProviderState(providers={"p": self.version}, taken_at=AT)

    def health(self) -> Health:
        return Health(status="ok", capabilities=("cancel_card",))


class Watch:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watched(settings: Settings) -> tuple[Worlds, Executor, Watch]:
    executor, watch = Executor(), Watch()
    client: Any = executor
    return Worlds(settings, lambda: client, monotonic_s=watch), executor, watch


def test_the_executor_is_asked_once_and_again_when_its_answer_is_old(watched: tuple[Worlds, Executor, Watch]) -> None:
    """One HTTP call per start would make every start as slow as the executor."""
    worlds, executor, watch = watched
    assert [worlds.gathered().providers for _ in range(3)] == [{"p": "1"}] * 3
    assert executor.asked == 1
    executor.version, watch.now_s = "2", watch.now_s + 61
    assert worlds.at_hand().providers == {"p": "1"}
    assert worlds.gathered().providers == {"p": "2"}
    assert executor.asked == 2


def test_while_the_executor_is_away_its_answer_holds_for_an_hour_and_no_start_waits_again(
    watched: tuple[Worlds, Executor, Watch],
) -> None:
    """An executor that restarts must not stop starts; one that is gone for good must not vouch for ever."""
    worlds, executor, watch = watched
    worlds.gathered()
    executor.is_away, watch.now_s = True, watch.now_s + 61
    assert worlds.gathered().providers == {"p": "1"}
    asked = executor.asked
    assert worlds.gathered().providers == {"p": "1"}
    assert executor.asked == asked  # it failed a moment ago
    watch.now_s += 3600
    world = worlds.gathered()
    assert (world.providers, world.capabilities) == (None, None)


def test_the_environment_is_that_of_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook of another repository calls us with its GIT_DIR; the passport must not name its commit."""
    environment.cache_clear()
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    commit, python_version, system = environment()
    assert commit is None or (len(commit) == 40 and int(commit, 16))
    assert python_version.count(".") == 2
    assert system
    environment.cache_clear()


def test_the_commit_may_be_given_where_there_is_no_checkout(settings: Settings) -> None:
    """An image that was built without .git would never start anything."""
    client: Any = Executor()
    worlds = Worlds(settings.model_copy(update={"git_commit": "b" * 40}), lambda: client)
    assert worlds.gathered().git_commit == "b" * 40


def test_a_flag_that_cannot_be_read_counts_as_pulled(tmp_path: Path) -> None:
    """What stops everything must fail on the safe side."""
    assert flag_reason(tmp_path) is None
    assert flag_reason(tmp_path / "not yet made") is None
    flag = tmp_path / "KILLSWITCH"
    flag.write_text("  runaway spend \n")
    assert flag_reason(tmp_path) == "runaway spend"
    flag.write_bytes(b"")
    assert flag_reason(tmp_path) == "no reason was given"
    flag.write_bytes(b"\xff\xfe" + b"x" * 10_000)
    assert len(str(flag_reason(tmp_path))) <= 500
    flag.unlink()
    flag.mkdir()
    assert "cannot be read" in str(flag_reason(tmp_path))


def test_the_copy_of_a_passport_is_written_once_and_again_when_it_differs(tmp_path: Path) -> None:
    """One file per run: the prototype overwrote the last run's."""
    assert write_copy(tmp_path, "r-1", "{}")
    assert not write_copy(tmp_path, "r-1", "{}")
    copy = tmp_path / "artifacts" / "r-1" / "passport.json"
    copy.write_text("altered")
    assert write_copy(tmp_path, "r-1", "{}")
    assert copy.read_text() == "{}"
    for bad in ("../evil", "a/b", ""):
        with pytest.raises(BadInput):
            write_copy(tmp_path, bad, "{}")


def test_a_copy_that_cannot_be_written_now_is_written_later(registry: Registry, clock: Clock, tmp_path: Path) -> None:
    """A full disk delays a copy for people; it stops no run and forgets no file."""
    planned_project(registry)
    run_id = start_run(
        registry, clock=clock, ids=counting(), actor=OWNER, request=StartRequest(42, KEY), world=WORLD, stopped=None
    ).run_id

    def full(_run: str, _text: str) -> bool:
        raise OSError(28, "No space left on device")

    assert write_due(registry, clock=clock, holder="h", write=full) == 0
    with registry.reading() as session:
        (row,) = session.query(OutboxEvent).filter_by(kind="passport").all()
    assert (row.state, row.attempts, "No space left" in str(row.last_error)) == ("pending", 1, True)
    assert write_due(registry, clock=clock, holder="h", write=full) == 0  # not due yet

    def write(run: str, text: str) -> bool:
        return write_copy(tmp_path, run, text)

    assert restore_copies(registry, write=write) == [run_id]
    assert restore_copies(registry, write=write) == []


def test_waiting_ends_when_the_time_is_over_and_bears_an_executor_that_is_away(
    registry: Registry, clock: Clock
) -> None:
    """`--wait` on a machine whose executor is away must come back and say how the run stands."""
    planned_project(registry)
    run_id = start_run(
        registry, clock=clock, ids=counting(), actor=OWNER, request=StartRequest(42, KEY), world=WORLD, stopped=None
    ).run_id
    watch = Watch()
    steps = []

    def away() -> None:
        steps.append(watch.now_s)
        raise PasUnavailable("away")

    def sleep(seconds: float) -> None:
        watch.now_s += seconds

    ended = wait_for_run(registry, run_id, wait_s=2.0, steps=(away,), monotonic_s=watch, sleep=sleep)
    assert (ended.status, ended.validation, ended.has_ended) == ("QUEUED", "pending", False)
    assert len(steps) == 9
    with pytest.raises(Unavailable, match=rf"away.*{run_id} is QUEUED.*plms run dispatch"):
        require_executor(ended, away)
    require_executor(ended, lambda: None)
    require_executor(replace(ended, has_ended=True), away)
    with pytest.raises(NotFound):
        wait_for_run(registry, "nobody", wait_s=0.0, monotonic_s=watch, sleep=sleep)
