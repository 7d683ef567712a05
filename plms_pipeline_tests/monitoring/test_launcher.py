"""Does a night that fails say why, under the exit code of the reason?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from plms_pipeline.errors import BadInput, NoData, PlmsError, Unavailable, VerdictNo
from plms_pipeline.instance.files.home import prepare_instance
from plms_pipeline.monitoring.launcher import defs as launcher
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring import failing_definitions

AS_OF = datetime(2026, 3, 1, 7, tzinfo=UTC)


@pytest.fixture(autouse=True)
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Dagster home of the test's own, and definitions that fail as asked."""
    environ: dict[str, str] = {}
    prepare_instance(settings, environ)
    monkeypatch.setenv("DAGSTER_HOME", environ["DAGSTER_HOME"])
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    monkeypatch.setattr(launcher, "DEFINITIONS", failing_definitions.__name__)
    yield
    failing_definitions.WANTED.clear()


def run(where: str, failure: str) -> tuple[PlmsError, list[tuple[str, str]]]:
    failing_definitions.WANTED[where] = failure
    steps: list[tuple[str, str]] = []
    with pytest.raises(PlmsError) as raised:
        launcher.run_night(as_of=AS_OF, actor="test", progress=lambda step, state, _: steps.append((step, state)))
    return raised.value, steps


@pytest.mark.parametrize("where", ["step", "resource"])
@pytest.mark.parametrize(
    ("failure", "kind", "exit_code"),
    [("away", Unavailable, 4), ("bad", BadInput, 2), ("none", NoData, 3), ("busy", VerdictNo, 1)],
)
def test_our_own_errors_keep_their_class_and_their_words(
    where: str, failure: str, kind: type[PlmsError], exit_code: int
) -> None:
    """A database that went away in the middle of the night exited 1, which whoever is paged reads as "the books are wrong"."""
    error, _ = run(where, failure)
    assert type(error) is kind
    assert error.exit_code == exit_code
    assert str(failing_definitions.FAILURES[failure]) in error.message
    assert "driver's own words" not in error.message
    assert "plms_pipeline" not in error.message
    assert "\n" not in error.message
    if kind is not Unavailable:
        # An outage is retried by Dagster as it is, which knows no codes.
        assert error.code == failing_definitions.FAILURES[failure].code


def test_who_runs_the_night_is_all_that_the_loser_says() -> None:
    """The loser of two starts printed `night_failed` with an exception's name in it."""
    error, _ = run("resource", "busy")
    assert error.message == str(failing_definitions.FAILURES["busy"])
    assert error.code == "night_is_running"


def test_a_bug_is_a_failed_night_that_names_its_step_and_run() -> None:
    """What nobody foresaw must be found in the Dagster UI."""
    error, steps = run("step", "bug")
    assert (error.code, error.exit_code) == ("night_failed", 1)
    assert "at step (" in error.message
    assert "ZeroDivisionError: division by zero" in error.message or "driver's own words" in error.message
    assert steps == [("step", "start"), ("step", "failed")]


def test_a_night_that_succeeds_says_its_run() -> None:
    """The ordinary case."""
    assert launcher.run_night(as_of=AS_OF, actor="test", progress=lambda *_: None).succeeded
