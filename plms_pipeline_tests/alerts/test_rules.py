"""Is a file of rules or of people on call refused where it is wrong, with its line?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from plms_pipeline.alerts import files
from plms_pipeline.alerts.actions.opening import routing_of
from plms_pipeline.alerts.inputs import INPUTS, SOURCES
from plms_pipeline.alerts.oncall import OnCall
from plms_pipeline.alerts.sources.listed import sources_of_the_books
from plms_pipeline.errors import BadInput
from plms_pipeline.settings import load_settings

RULES = """rules:
  runway_t15:
    title: the budget lasts 15 minutes at most
    input: minutes_to_depletion
    compare: "<="
    threshold: 15
    severity: P1
    route: [chat]
"""
ONCALL = """channels:
  chat: {kind: slack}
  mail: {kind: smtp}
contacts:
  ann: {email: ann@example.org}
rotation: {since: 2026-01-05, order: [ann]}
routes:
  runway_t15: [chat, "mail:oncall"]
"""
NAMES = (
    "runway_t15 runway_t5 overrun_20 breach_25 daily_budget_reached spend_100_a_day redis_down redis_memory_80 "
    "idempotency_hit_rate_50 passport_incomplete kpi_gate_blocks invariants_broken calibration_drift_30 lane_busy_95 queue_20 "
    "launcher_runs_2 rate_limited failures_10 failures_50 dead_letters_10 dead_letters_growing disk_1gb killswitch_on "
    "secret_found evidence_dropped evidence_timeouts_50 evidence_backend_errors latency_p95_2x latency_p95_3x nightly_failed "
    "nightly_absent sensor_failing sensor_lagging daemon_dead candidate_waits_risk_lead candidate_waits_data_engineering "
    "candidate_waits_trading_supervision candidate_waits_portfolio_manager live_data_incident"
)


def loaded(folder: Path, rules: str = RULES, oncall: str | None = None) -> OnCall:
    environ = {"PLMS_DATA_DIR": str(folder)}
    for name, variable, text in (("r.yaml", "PLMS_ALERT_RULES", rules), ("o.yaml", "PLMS_ONCALL_FILE", oncall)):
        if text is not None:
            (folder / name).write_text(text)
            environ[variable] = str(folder / name)
    settings = load_settings(environ)
    return files.load_oncall(settings, files.load_rules(settings))


def test_what_is_shipped_is_valid_and_complete() -> None:
    """Each rule of the guides is there, is read by some source, and goes somewhere."""
    settings = load_settings({})
    rules = files.load_rules(settings)
    assert " ".join(sorted(rules)) == " ".join(sorted(NAMES.split(" ")))
    routing = routing_of(settings, rules)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for rule in rules.values():
        assert [one.kind for one in routing.recipients(routing.targets_of(rule), project_id=42, now=now)] == ["log"]
    assert {one.name for one in sources_of_the_books(settings)} | {"dagster"} == set(SOURCES)
    assert {rule.input.name for rule in rules.values()} == set(INPUTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("threshold: 15", "threshhold: 15"), "line 6: rules.runway_t15.threshhold: there is no such key"),
        (("    severity: P1\n", ""), "line 2: rules.runway_t15.severity: is missing"),
        (("threshold: 15", "threshold: .nan"), "line 6"),
        (("threshold: 15", "threshold: -1"), "cannot be reached"),
        (("threshold: 15", "threshold: 15\n    clear: 10"), "clear 10 must lie above the threshold 15"),
        (("severity: P1", "severity: P9"), "line 7"),
        (("minutes_to_depletion", "minutes_to_bankruptcy"), "is none; there are"),
        (("threshold: 15", "threshold: 15\n    for: soon"), "write a span of time"),
        (("route: [chat]", "route: []"), "line 8"),
        (("route: [chat]", "route: [chat]\n  runway_t15: {}"), "stands here twice"),
        (("rules:", "rulez:"), "must hold `rules:`"),
        (("rules:", "rules: [\n"), "is no YAML"),
        (("input: minutes_to_depletion", "input: overrun_ratio"), "write 20 % as 0.2"),
        (("threshold: 15", "threshold: true"), "line 6: rules.runway_t15.threshold: write a number"),
        (("  runway_t15:\n", "  runway_t16:\n  runway_t15:\n"), "line 2: rules.runway_t16: must be a mapping"),
        (("  runway_t15:", "  1st:"), "'1st' is no name of a rule"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_rules_is_refused_with_its_line(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    """A threshold that is misspelt and skipped looks like a rule that never had to fire."""
    with pytest.raises(BadInput) as refused:
        loaded(tmp_path, RULES.replace(*change))
    assert said in refused.value.message, refused.value.message
    assert refused.value.code == "bad_rules"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[chat, ", "[chatt, "), "line 8: routes.runway_t15.0: there is no channel 'chatt'"),
        (("mail:oncall", "mail"), "say to whom"),
        (("mail:oncall", "mail:bob"), "there is no contact 'bob'"),
        (("order: [ann]", "order: [bob]"), "line 6"),
        (("runway_t15:", "runway_t16:"), "there is no rule 'runway_t16'"),
        (("ann@example.org", "ann at home"), "is no mail address"),
        (("kind: slack", "kind: pigeon"), "line 2"),
        (("rotation: {since: 2026-01-05", "rotation: {since: someday"), "line 6"),
        (("routes:", 'quiet_hours: {from: "22:00", to: "22:00"}\nroutes:'), "from and to must differ"),
        (("  ann: {", "  oncall: {}\n  ann: {"), "contacts.oncall: 'oncall' is a role"),
        (("  chat: {kind", "  log: {kind: slack}\n  chat: {kind"), "channels.log: is the log"),
        (("routes:", "severities: {P0: {answer_within: 5m, escalate: [[page]]}}\nroutes:"), "there is no channel 'page'"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_in_the_file_of_people_is_found_when_it_is_read(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    """Not by the first P0 of the year."""
    assert loaded(tmp_path, oncall=ONCALL).rotation is not None
    with pytest.raises(BadInput) as refused:
        loaded(tmp_path, oncall=ONCALL.replace(*change))
    assert said in refused.value.message, refused.value.message


@pytest.mark.parametrize(("route", "said"), [("mail", "say to whom"), ('"mail:bob"', "there is no contact 'bob'")])
def test_where_a_rule_goes_by_itself_must_be_there_too(tmp_path: Path, route: str, said: str) -> None:
    """A contact that is misspelt in the rules and not in the routes was told nothing, and the log knew it all."""
    rules = RULES + RULES.removeprefix("rules:\n").replace("runway_t15:", "runway_t5:").replace("[chat]", f"[{route}]")
    with pytest.raises(BadInput) as refused:
        loaded(tmp_path, rules, ONCALL)
    assert said in refused.value.message, refused.value.message
    assert "runway_t5" in refused.value.message


def test_who_is_on_call_changes_at_nine_of_the_wall_clock(tmp_path: Path) -> None:
    """A week later at nine, also when the clocks changed in between."""
    text = ONCALL.replace("  ann: {", "  bob: {}\n  ann: {").replace(
        "{since: 2026-01-05, order: [ann]}", "{zone: America/New_York, since: 2026-03-02, order: [ann, bob]}"
    )
    rotation = loaded(tmp_path, oncall=text).rotation
    assert rotation is not None
    # 13:59 and 14:00 UTC are before and after nine in winter; from March 8 on it is 13:00 UTC.
    moments = {(2, 13, 59): "bob", (2, 14, 0): "ann", (9, 12, 59): "ann", (9, 13, 0): "bob", (16, 13, 0): "ann"}
    for (day, hour, minute), who in moments.items():
        assert rotation.present(datetime(2026, 3, day, hour, minute, tzinfo=UTC)) == who, (day, hour)


def test_quiet_hours_end_when_they_say_also_over_a_weekend(tmp_path: Path) -> None:
    """P3 of Friday night is Monday's."""
    text = ONCALL + 'quiet_hours: {zone: UTC, from: "22:00", to: "07:00", whole_days: [saturday, sunday]}\n'
    quiet = loaded(tmp_path, oncall=text).quiet_hours
    assert quiet is not None
    for moment, until in {
        (2, 12, 0): (2, 12, 0), (2, 23, 0): (3, 7, 0), (3, 6, 59): (3, 7, 0), (6, 23, 0): (9, 7, 0), (7, 12, 0): (9, 7, 0),
    }.items():  # fmt: skip
        assert quiet.until(datetime(2026, 3, *moment, tzinfo=UTC)) == datetime(2026, 3, *until, tzinfo=UTC), moment


def test_quiet_hours_that_end_in_the_hour_that_comes_twice_never_end_in_the_past(tmp_path: Path) -> None:
    """On the night in which clocks go back a P3 was told in the middle of the quiet hours, and escalated an hour early."""
    text = ONCALL + 'quiet_hours: {zone: America/New_York, from: "22:00", to: "01:30"}\n'
    quiet = loaded(tmp_path, oncall=text).quiet_hours
    assert quiet is not None
    # 01:30 comes at 05:30 and at 06:30 UTC; between 06:00 and 06:30 it is quiet a second time.
    for (hour, minute), (until_hour, until_minute) in {
        (5, 15): (5, 30), (5, 45): (5, 45), (6, 15): (6, 30), (6, 45): (6, 45),
    }.items():  # fmt: skip
        moment = datetime(2026, 11, 1, hour, minute, tzinfo=UTC)
        assert quiet.until(moment) == datetime(2026, 11, 1, until_hour, until_minute, tzinfo=UTC), moment
