"""Rules and people on call that are changed while somebody evaluates: taken up when they make sense, and kept when not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from plms_pipeline.alerts.actions.opening import LastGood, Rulebook, problem_of
from plms_pipeline.alerts.actions.showing import overview, unread
from plms_pipeline.alerts.files import SHIPPED
from plms_pipeline.alerts.service import FILES, Alerts
from plms_pipeline.cli import main
from plms_pipeline.errors import BadInput
from plms_pipeline.monitoring.doctor import checks
from plms_pipeline.monitoring.doctor.store import failing_sources
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.service.works import NEW_CHANNELS, works_of_alerts
from plms_pipeline_tests.alerts.worlds import AT, Watch, bench, burning, spend

LOUD = (Path(__file__).resolve().parents[2] / "deploy" / "oncall.yaml").read_text(encoding="utf-8")
# No key is set for PagerDuty here.
NOBODY = LOUD.replace("{kind: slack,", "{kind: pagerduty,")
SLACK = {"SLACK_WEBHOOK_URL": "https://hooks.example.org/x"}
BROKEN = "rules:\n  runway_t15: {input: nothing}\n"


@dataclass
class Loop:
    """An alert loop over files that a test changes."""

    alerts: Alerts
    folder: Path
    clock: Watch

    def rules(self, text: str) -> None:
        (self.folder / "rules.yaml").write_text(text)

    def oncall(self, text: str) -> None:
        (self.folder / "oncall.yaml").write_text(text)

    def go(self) -> tuple[tuple[str, str], ...]:
        self.clock.go(61)
        return self.alerts.evaluate().fired

    def unread(self) -> list[str]:
        return [line for line in unread(overview(self.alerts.engine.registry, clock=self.clock)) if FILES in line]


@pytest.fixture
def loop(sqlite_registry: Registry, tmp_path: Path) -> Iterator[Loop]:
    spend(sqlite_registry, burning(sqlite_registry), 2, AT)
    table = bench(sqlite_registry, tmp_path, rules=SHIPPED.read_text(), oncall=NOBODY, environ=SLACK)
    with Alerts(table.settings, sqlite_registry, table.clock) as alerts:
        alerts.desk = replace(alerts.desk, send=table.desk.send)
        yield Loop(alerts, tmp_path, table.clock)


def patient(text: str, minutes: int) -> str:
    """Rules with another threshold of the first of them, runway_t15."""
    before = "threshold: 15\n    clear: 20"
    assert before in text
    return text.replace(before, f"threshold: {minutes}\n    clear: {minutes + 5}", 1)


def test_a_changed_rule_counts_at_the_next_evaluation(loop: Loop) -> None:
    """Whoever lowered a threshold in the night believed it, and was told by nobody until the next restart."""
    loop.go()
    before = loop.alerts.engine.rules["runway_t15"].threshold
    loop.rules(patient(SHIPPED.read_text(), 1000))
    assert ("runway_t15", "project:42") in loop.go()
    assert (before, loop.alerts.engine.rules["runway_t15"].threshold) == (15, 1000)


def test_what_makes_no_sense_keeps_what_counted_and_is_told_once(
    loop: Loop, caplog: pytest.LogCaptureFixture, sqlite_registry: Registry
) -> None:
    """A typing error at three in the morning silenced everything, or was found at the restart next week."""
    caplog.set_level(logging.WARNING)
    loop.rules(patient(SHIPPED.read_text(), 1000))
    loop.go()
    loop.rules(BROKEN)
    for _ in range(3):
        loop.go()
    assert loop.alerts.engine.rules["runway_t15"].threshold == 1000
    assert caplog.text.count("event=alert_files_refused") == 1
    (told,) = loop.unread()
    assert "rules.yaml, line 2" in told
    assert "goes on to count" in told
    with sqlite_registry.reading() as session:
        found = failing_sources(session)
    assert [source for source, _ in found] == [FILES]
    line = checks.alerts(checks.Books(revision="1", head="1", unread_sources=found))
    assert (line.level, "line 2" in line.detail) == (checks.Level.WARN, True)
    loop.rules(SHIPPED.read_text())
    loop.go()
    assert (loop.unread(), loop.alerts.engine.rules["runway_t15"].threshold) == ([], 15)
    assert "event=alert_files_taken_up" in caplog.text


def test_people_on_call_are_taken_up_with_channels_that_are_new(loop: Loop) -> None:
    """The new duty phone was in the file, and the old one rang."""
    works = {work.name: work for work in works_of_alerts(loop.alerts, loop.alerts.engine.settings)}
    assert works.keys() == {"alerts", "send-log", NEW_CHANNELS}
    loop.oncall(LOUD)
    loop.rules(patient(SHIPPED.read_text(), 1000))
    assert ("runway_t15", "project:42") in loop.go()
    assert "chat" in loop.alerts.due()
    assert works[NEW_CHANNELS].step()
    assert "chat" not in loop.alerts.due()


def test_people_on_call_that_are_gone_stay_on_call(loop: Loop) -> None:
    """An editor that writes by renaming, or a checkout, left nobody but the log for a moment."""
    loop.oncall(LOUD)
    loop.go()
    (loop.folder / "oncall.yaml").unlink()
    loop.go()
    assert "chat" in loop.alerts.channels
    assert "is gone" in loop.unread()[0]


def test_a_tick_that_makes_everything_anew_keeps_the_rules_of_its_process(loop: Loop) -> None:
    """Dagster's sensors stood still while a file was broken, and the daemon was taken for dead."""
    kept, settings = LastGood(), loop.alerts.engine.settings
    first = kept.of(settings)
    loop.rules(BROKEN)
    assert kept.of(settings) is first
    assert "rules.yaml" in str(first.refused)
    assert problem_of(settings) == first.refused
    with pytest.raises(BadInput):
        LastGood().of(settings)
    with pytest.raises(BadInput):
        Rulebook(settings)


def test_a_worker_that_is_started_anew_beside_a_broken_file_is_not_silent(loop: Loop) -> None:
    """A crash while somebody edits the rules left nobody who would tell, until the next restart."""
    loop.rules(BROKEN)
    book = Rulebook(loop.alerts.engine.settings, or_shipped=True)
    assert "rules.yaml" in str(book.refused)
    assert "runway_t15" in book.rules
    loop.rules(patient(SHIPPED.read_text(), 1000))
    assert book.refresh()
    assert book.refused is None
    assert book.rules["runway_t15"].threshold == 1000


def test_the_terminal_lists_alerts_while_the_rules_make_no_sense(
    loop: Loop, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was woken by an alert could not see it, because somebody else was editing a file."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("PLMS_ALERT_RULES", str(loop.folder / "rules.yaml"))
    loop.rules(BROKEN)
    loop.go()
    assert main(["alerts", "list", "--json"]) == 0
    (told,) = [line for line in json.loads(capsys.readouterr().out)["unread_sources"] if line.startswith(FILES)]
    assert "line 2" in told
    assert main(["alerts", "list", "--rules"]) == 2
