"""Does the observer as it runs lose nothing, hold nobody up, and end when it is told to?"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput, NoData, Unavailable
from plms_pipeline.evidence.actions.asking import standing
from plms_pipeline.evidence.actions.leading import lead
from plms_pipeline.evidence.commands import app, verify_app
from plms_pipeline.evidence.obligations import evidence_config, foreign_need
from plms_pipeline.evidence.process import is_dead
from plms_pipeline.evidence.service import observer as module
from plms_pipeline.evidence.service.golden import run_golden
from plms_pipeline.evidence.service.observer import Observer, spool_files
from plms_pipeline.evidence.service.thread import beside
from plms_pipeline.evidence.store import obligations as store
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.evidence.worlds import books

CLOCK = SystemClock()
SHORT = {"late_obs_max_wait_ms": 300, "late_obs_poll_ms": 20, "late_obs_max_inflight": 50}


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return settings.model_copy(update=SHORT)


@contextmanager
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry does not answer."""

    def refuse(_self: Registry) -> None:
        raise Unavailable("The registry is away.")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "writing", refuse)
        patched.setattr(Registry, "reading", refuse)
        yield


def until(condition: object, most_s: float = 20.0) -> bool:
    end = time.monotonic() + most_s
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_needs_that_are_handed_in_together_are_committed_together(registry: Registry, quick: Settings) -> None:
    """A thousand commits a second would be a thousand waits for the disk."""
    observer = Observer(quick, registry, CLOCK)
    with beside(observer):
        answers = [observer.submit(foreign_need(observer.config, f"run-{n}")) for n in range(120)]
        dropped = sum(answer.result(20).is_dropped for answer in answers)
        assert until(lambda: books(registry)[2] == 0)
    assert dropped == 70
    assert books(registry) == (120, 120, 0)
    counted = observer.metrics.counted()
    assert (counted["dropped"], counted["timeout"]) == (70, 50)
    commits = {s.name: s.value for m in observer.metrics.registry.collect() for s in m.samples}
    assert commits["p28_late_obs_commit_seconds_count"] < 60


def test_a_registry_that_is_away_holds_nobody_up_and_loses_nothing(
    sqlite_registry: Registry, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail-open to the pipeline, never to the books: what is said meanwhile is on the disk, and replayed."""
    observer = Observer(quick, sqlite_registry, CLOCK)
    with beside(observer):
        assert until(lambda: observer.is_leading)
        with away(monkeypatch):
            answer = observer.submit(foreign_need(observer.config, "run-1")).result(10)
            assert answer.is_new
            assert spool_files(quick.data_dir)
        assert until(lambda: books(sqlite_registry) == (1, 1, 0))
        assert until(lambda: not spool_files(quick.data_dir))
    assert observer.metrics.counted()["timeout"] == 1


def test_what_one_process_spooled_another_replays(sqlite_registry: Registry, quick: Settings) -> None:
    """The process that wrote the spool may never come back."""
    dead = Observer(quick, sqlite_registry, CLOCK)
    rows = [foreign_need(dead.config, f"run-{n}").row(dead.config, now=CLOCK.now()) for n in range(3)]
    dead._spool.append([module.line_of("obligation", row) for row in rows])
    dead._pool.shutdown()
    with beside(Observer(quick, sqlite_registry, CLOCK)):
        assert until(lambda: books(sqlite_registry) == (3, 3, 0))
    assert spool_files(quick.data_dir) == []


def test_more_than_the_queue_holds_goes_to_the_disk(
    sqlite_registry: Registry, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue without a bound takes the memory of the machine, as the guide's thread pool did."""
    monkeypatch.setattr(module, "MOST_QUEUED", 5)
    observer = Observer(quick.model_copy(update={"late_obs_max_inflight": 500}), sqlite_registry, CLOCK)
    with beside(observer):
        answers = [observer.submit(foreign_need(observer.config, f"run-{n}")) for n in range(40)]
        assert all(answer.result(20).is_new for answer in answers)
        assert until(lambda: books(sqlite_registry) == (40, 40, 0))


def test_one_of_two_observers_looks_and_the_other_takes_over(registry: Registry, quick: Settings) -> None:
    """Two that both look cost twice; none that looks after a crash would cost everything."""
    first, second = Observer(quick, registry, CLOCK), Observer(quick, registry, CLOCK)
    with beside(second):
        with beside(first):
            assert until(lambda: first.is_leading or second.is_leading)
            time.sleep(0.3)
            assert first.is_leading != second.is_leading
        assert until(lambda: second.is_leading)
    with registry.reading():
        pass
    assert standing(registry, clock=CLOCK, since=None, is_dead=is_dead).leader is None


def test_the_lease_of_a_dead_process_is_taken_at_once(registry: Registry, quick: Settings) -> None:
    """A process that was killed cannot give its lease back; evidence does not wait fifteen seconds."""
    config = evidence_config(quick)
    given = {"config": config, "clock": CLOCK, "is_dead": lambda name: name == "dead"}
    assert lead(registry, None, observer_id="dead", **given) is not None
    taken = lead(registry, None, observer_id="alive", **given)
    assert taken is not None
    assert lead(registry, None, observer_id="late", **given) is None
    assert lead(registry, taken, observer_id="alive", **given) == taken


def test_stopping_leaves_what_waits_in_the_registry(registry: Registry, settings: Settings) -> None:
    """The interpreter's exit used to wait for the whole queue, five seconds for forty tasks."""
    observer = Observer(settings, registry, CLOCK)
    with beside(observer):
        observer.submit(foreign_need(observer.config, "run-1")).result(10)
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    assert books(registry) == (1, 0, 1)
    assert not any(thread.name.startswith("plms-observe") for thread in threading.enumerate())


def test_redis_without_a_prefix_is_refused(settings: Settings) -> None:
    """A default that differs from the writer's looks for ever under a name that nobody writes."""
    with pytest.raises(BadInput, match="P28_HEAT_LOOKUP_PREFIX"):
        evidence_config(settings.model_copy(update={"evidence_backend": "redis", "redis_url": "redis://127.0.0.1:1/0"}))


def test_the_golden_run_shows_every_reason(registry: Registry, quick: Settings) -> None:
    """On an empty system the guide's golden check found its empty name everywhere, and passed."""
    found = run_golden(quick.model_copy(update={"late_obs_max_wait_ms": 600}), registry, CLOCK)
    assert [each.name for each in found.findings if not each.holds] == []
    assert len(found.findings) == 6


def test_the_golden_run_sees_an_observer_that_looks_elsewhere(registry: Registry, quick: Settings) -> None:
    """The half of the pair that was configured anew, and the half that was not, looked healthy each by itself."""
    other = quick.model_copy(update={"heat_obs_stream": "another:stream"})
    observer = Observer(other, registry, CLOCK)
    with beside(observer):
        assert until(lambda: observer.is_leading)
        found = run_golden(quick.model_copy(update={"late_obs_max_wait_ms": 600}), registry, CLOCK)
    assert found.observed_by is not None
    broken = {each.name for each in found.findings if not each.holds}
    assert "producer_and_observer_mean_the_same_place" in broken


def test_the_golden_run_refuses_to_prove_nothing(registry: Registry, quick: Settings) -> None:
    """Switched off is not healthy."""
    with pytest.raises(NoData):
        run_golden(quick.model_copy(update={"late_obs_enabled": False}), registry, CLOCK)


def plms(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    from plms_pipeline.cli import main

    code = main(arguments)
    return code, capsys.readouterr().out


def test_the_commands_tell_no_data_from_success(
    sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check that passes on an empty system passes on a broken one, too."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("P28_LATE_OBS_MAX_WAIT_MS", "400")
    assert plms(["verify", "books"], capsys)[0] == 3
    assert plms(["observe", "coverage"], capsys)[0] == 3
    code, text = plms(["observe", "owe", "plan-7", "--json"], capsys)
    assert (code, json.loads(text)["is_new"]) == (0, True)
    assert plms(["observe", "record", "plan-7", "--field", "heat_level=warm"], capsys)[0] == 0
    code, text = plms(["observe", "--for", "1.5", "--json"], capsys)
    assert code == 0
    assert json.loads(text.splitlines()[-1])["observed"]["ok"] == 1
    assert plms(["verify", "books"], capsys)[0] == 0
    code, text = plms(["observe", "coverage", "--json"], capsys)
    assert (code, json.loads(text)[0]["coverage"]) == (0, 1.0)
    code, text = plms(["observe", "status", "--json"], capsys)
    assert (code, json.loads(text)["pending"]) == (0, 0)
    assert plms(["observe", "cancel"], capsys)[0] == 2
    assert plms(["observe", "record", "plan-7", "--kind", "rumour"], capsys)[0] == 2


def test_an_address_that_is_none_is_bad_use_and_no_outage(capsys: pytest.CaptureFixture[str]) -> None:
    """The name was masked like a password, and exit 4 let a script wait for a server that nobody had named."""
    from plms_pipeline.cli import main

    assert main(["verify", "books", "--metrics", "notaurl"]) == 2
    assert capsys.readouterr().err == (
        "error: --metrics 'notaurl' is no address; give the page of a running observer, such as "
        "http://127.0.0.1:6100/metrics.\n"
    )


@pytest.mark.parametrize("command", ["observe", "observe status", "observe owe", "verify", "verify books"])
def test_the_help_says_what_each_exit_code_means(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Who writes the cron job looks there."""
    told = " ".join(plms([*command.split(), "--help"], capsys)[1].split())
    assert re.search(r"Exit 0: .* 2: .* 4: ", told), told


def test_the_books_say_no_when_they_do_not_add_up(
    sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The guide's proof printed a cross and ended with 0."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    config = evidence_config(load_settings({"PLMS_DATA_DIR": str(settings.data_dir)}))

    with sqlite_registry.writing() as session:
        row = foreign_need(config, "run-1").row(config, now=CLOCK.now())
        store.accept(session, [{**row, "state": "terminal"}])
    code, said = plms(["verify", "books", "--json"], capsys)
    broken = {each["name"] for each in json.loads(said)["findings"] if not each["holds"]}
    assert code == 1
    assert broken == {"accepted_is_ended_plus_pending", "every_end_has_its_observation"}
    with sqlite_registry.writing() as session:
        session.execute(text("DELETE FROM obligations"))
    (settings.data_dir / "evidence" / "spool").mkdir(parents=True)
    Path(settings.data_dir / "evidence" / "spool" / "dead.jsonl").write_text("x")
    assert plms(["verify", "books"], capsys)[0] == 1


def test_every_command_says_what_it_is_for() -> None:
    """A command without help is found by nobody."""
    assert {command.callback.__name__ for command in app.registered_commands if command.callback} == {
        "status", "coverage", "record", "owe", "cancel",
    }  # fmt: skip
    assert len(verify_app.registered_commands) == 2
