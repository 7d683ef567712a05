"""Do terminal, sensor and job tell and do the same about dead letters?"""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.cli import main
from plms_pipeline.clock import SystemClock
from plms_pipeline.definitions import defs
from plms_pipeline.letters.actions import showing
from plms_pipeline.letters.actions.deciding import mark_permanent, reset_retries
from plms_pipeline.letters.defs.assets import DEAD_LETTERS, escaped
from plms_pipeline.registry.engine import Registry
from plms_pipeline.resources import Plms
from plms_pipeline.runs.defs.letters import dead_letters_due, decide_dead_letters
from plms_pipeline.settings import Settings
from plms_pipeline_tests.letters.desk import ANN, Shelf
from plms_pipeline_tests.letters.test_reasons import HOSTILE
from plms_pipeline_tests.runs.letters.test_runs import Shop
from plms_pipeline_tests.runs.worlds import planned_project


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    # Nothing answers there: what the executor stated last, or our passport's own words, must do.
    monkeypatch.setenv("PLMS_PAS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("COLUMNS", "220")


@pytest.fixture
def shelf(sqlite_registry: Registry) -> Shelf:
    return Shelf(sqlite_registry)


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["dlq", *arguments, "--json"]) == code
    seen = capsys.readouterr()
    return json.loads(seen.out or seen.err)


def test_the_status_counts_what_stands_and_not_what_was(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    """The sources counted the lines of a file that only grows, and a folder as a run."""
    assert told(capsys, "status")["backlog"] == 0
    letter = shelf.put("s", "timeout")
    shelf.put("p", "contains pii")
    found = told(capsys, "status")
    assert (found["backlog"], found["due"], found["by_state"]["permanent"]) == (1, 1, 1)
    assert found["letters"][0]["label"] == "timeout"
    told(capsys, "mark-permanent", letter.letter_id[:8], "--reason", "enough")
    assert told(capsys, "status")["backlog"] == 0
    assert main(["dlq", "status"]) == 0
    assert "backlog 0" in capsys.readouterr().out


def test_what_was_put_aside_is_found_again(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    """The list held only what is owed: whoever put a letter aside yesterday had no way to its id."""
    owed, aside = shelf.put("s", "timeout"), shelf.put("p", "contains pii")

    def listed(state: showing.Shown) -> set[str]:
        states = showing.states_of(state)
        return {one.letter_id for one in showing.status(shelf.registry, clock=shelf, states=states).letters}

    [shown] = told(capsys, "status", "--state", "permanent")["letters"]
    assert shown["letter_id"] == aside.letter_id
    assert (listed("permanent"), listed("ready"), listed("open")) == ({aside.letter_id}, *[{owed.letter_id}] * 2)
    assert listed("all") == {owed.letter_id, aside.letter_id}
    assert "--state all" in str(told(capsys, "inspect", "nothing", code=2)["error"])
    assert main(["dlq", "status", "--state", "odd"]) == 2


def test_the_ids_are_printed_whole_on_a_narrow_terminal(
    shelf: Shelf, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On eighty columns a table cut the id, the run and the fingerprint, and these are what the other commands want."""
    monkeypatch.setenv("COLUMNS", "80")
    run_id = "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"
    letter = shelf.put(run_id, "timeout: the provider did not answer within 600 s", kind="run", run_id=run_id)
    assert main(["dlq", "status"]) == 0
    printed = capsys.readouterr().out
    assert all(whole in printed for whole in (letter.letter_id, run_id, letter.fingerprint, letter.reason))


def test_a_hostile_reason_is_printed_and_not_obeyed(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    """Markup, escapes and line breaks of an error message must not paint, move or forge lines in somebody's terminal."""
    for number, reason in enumerate(HOSTILE):
        letter = shelf.put(f"s{number}", f"timeout {reason}")
        assert main(["dlq", "inspect", letter.letter_id]) == 0
        shown = capsys.readouterr().out
        assert not set(shown) & set("\x00\x1b\x07\r\u202e")
        assert "[/bold red]" in shown or "bold" not in reason
        assert told(capsys, "inspect", letter.letter_id[:8])["reason"] == letter.reason
    assert main(["dlq", "status"]) == 0
    assert not set(capsys.readouterr().out) & set("\x00\x1b\x07\r\u202e")


def test_who_looks_at_a_letter_sees_why_it_was_decided_so(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason that everybody must give stood in a log that nobody could read from the terminal."""
    letter = shelf.put("s", "timeout")
    mark_permanent(shelf.registry, "s", clock=shelf, actor=ANN, reason="the plan is wrong")
    reset_retries(shelf.registry, "s", clock=shelf, actor=ANN, reason="it was not")
    assert told(capsys, "inspect", letter.letter_id)["decisions"] == [
        {"at": shelf.at.isoformat(), "by": "ann", "what": "letter.stop", "why": "the plan is wrong"},
        {"at": shelf.at.isoformat(), "by": "ann", "what": "letter.reset", "why": "it was not"},
    ]
    assert main(["dlq", "inspect", letter.letter_id]) == 0
    assert "ann letter.stop: the plan is wrong" in capsys.readouterr().out


def test_each_refusal_has_its_exit_code(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    """The sources documented exit 2 and never returned it."""
    policy = shelf.put("p", "contains pii")
    assert told(capsys, "retry", policy.letter_id, code=1)["error"]["code"] == "never_retried"
    assert told(capsys, "retry", "nothing", code=2)["error"]["code"] == "letter_not_found"
    assert told(capsys, "inspect", "nothing", code=2)["error"]["code"] == "letter_not_found"
    assert told(capsys, "reset-retries", policy.letter_id, "--reason", "x", "--transient", code=1)["error"]["code"] == (
        "never_retried"
    )
    assert told(capsys, "quarantine", "--reason", "x", code=2)["error"]["code"] == "bad_usage"
    assert told(capsys, "mark-permanent", policy.letter_id, "--reason", "x", code=1)["error"]["code"] == "letter_ended"


def test_retry_all_visits_every_due_letter_and_says_what_became_of_each(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sources' summary was always zero, and the loop over before the second letter."""
    for number in range(5):
        shelf.put(f"s{number}", "HTTP 503")
    found = told(capsys, "retry-all")
    assert (found["begun"], len(found["letters"])) == (5, 5)
    # None of these effects exists: the next look gives them up, instead of waiting for ever.
    assert told(capsys, "retry-all")["begun"] == 0
    assert told(capsys, "status")["by_state"]["permanent"] == 5


def test_clean_and_quarantine_speak_from_the_terminal(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    """What only the code can do nobody does at three in the morning."""
    letter = shelf.put("s", "timeout 1")
    shelf.put("t", "timeout 2")
    assert len(told(capsys, "quarantine", "--fingerprint", letter.fingerprint, "--reason", "look")["quarantined"]) == 2
    assert told(capsys, "reset-retries", letter.letter_id[:8], "--reason", "looked")["state"] == "ready"
    assert told(capsys, "clean", "--dry-run")["removed"] == 0
    assert told(capsys, "clean", "--days", "0") | {"ended_before": ""} == {
        "removed": 0, "dry_run": False, "ended_before": "",
    }  # fmt: skip


def tick(instance: dg.DagsterInstance, cursor: str | None) -> Any:
    with dg.build_sensor_context(instance=instance, resources={"plms": Plms()}, cursor=cursor) as context:
        return dead_letters_due(context)


def test_the_sensor_tells_the_asset_only_when_the_counts_have_changed(shelf: Shelf) -> None:
    """Three thousand equal materializations a day bury the one that matters."""
    shelf.put("s", "| evil | <b>cell</b>")
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(instance, None)
        again = tick(instance, first.cursor)
        shelf.put("t", "odd")
        third = tick(instance, again.cursor)
    (event,) = first.asset_events
    assert event.asset_key == DEAD_LETTERS
    assert (event.metadata["letters_permanent"].value, event.metadata["backlog"].value) == (1, 0)
    assert "<b>" not in event.metadata["causes"].value
    assert again.asset_events == []
    assert len(third.asset_events) == 1
    assert not first.run_requests


@pytest.mark.parametrize("reason", HOSTILE)
def test_a_reason_cannot_leave_its_cell(reason: str) -> None:
    """A table cell that becomes a link or an image runs in the browser of whoever looks at the asset."""
    shown = escaped(reason)
    assert not set(shown) & set("<>|`*[]()!\n")


def test_a_person_decides_in_the_dagster_ui(shelf: Shelf) -> None:
    """The same decisions as in the terminal, with the same refusals."""
    letter = shelf.put("s", "timeout")

    def decided(**config: Any) -> Any:
        ops = {"decide_letters": {"config": config}}
        return defs.resolve_job_def("decide_dead_letters").execute_in_process(
            run_config={"ops": ops}, raise_on_error=False
        )

    assert decided(action="mark_permanent", letter=letter.letter_id[:8], reason="enough").success
    assert shelf.letter(letter).state == "permanent"
    assert not decided(action="retry", letter=letter.letter_id).success
    assert not decided(action="reset_retries", letter=letter.letter_id).success
    assert decided(action="reset_retries", letter=letter.letter_id, reason="again").success
    assert decided(action="quarantine", letter=letter.letter_id, reason="look").success
    assert shelf.letter(letter).state == "quarantined"
    assert decide_dead_letters.tags["plms/effect"] == "spend"


def test_the_sensor_retries_a_run(sqlite_registry: Registry) -> None:
    """Where no `plms serve` runs the daemon is the only one who does."""
    planned_project(sqlite_registry)
    shop = Shop(sqlite_registry)
    first = shop.failed()
    with sqlite_registry.writing() as session:
        from plms_pipeline.registry.tables import ProviderSnapshot

        session.add(
            ProviderSnapshot(
                run_id=first, moment="submission", sha256="0" * 64, matches=True, taken_at=SystemClock().now(),
                state_json='{"providers": {"openai/gpt-4": "gpt-4-0613", "local/llama-8b": "x"}, "capabilities": []}',
            )
        )  # fmt: skip
    with dg.DagsterInstance.ephemeral() as instance:
        found = tick(instance, None)
    assert "begun 1" in (found.skip_reason.skip_message or "")
    assert [status for _, status in shop.runs()] == ["FAIL", "QUEUED"]
