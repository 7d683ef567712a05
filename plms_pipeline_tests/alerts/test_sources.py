"""Do the sources say what the tables, the disk and the neighbours say, and nothing about what nobody knows?"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.metrics import latency_buckets
from plms_pipeline.alerts.sources import (
    budget,
    candidates,
    daemon,
    dagster,
    latency,
    machine,
    nights,
    redis,
    spending,
    work,
)
from plms_pipeline.alerts.store import states
from plms_pipeline.models.actions.escalating import recommended
from plms_pipeline.models.store.candidates import find
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    AuditEntry,
    Candidate,
    DeadLetter,
    KillSwitch,
    LaneMinute,
    LedgerAccount,
    LedgerEntry,
    LiveSnapshot,
    MarketTrade,
    Obligation,
    Observation,
    RunPassport,
    ServingMinute,
    Slot,
    TradeAnnotation,
)
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.alerts.worlds import AT, burning, spend
from plms_pipeline_tests.runs.worlds import planned_project

MINUTE = timedelta(minutes=1)


@pytest.fixture
def asked(registry: Registry, tmp_path: Path) -> Callable[..., Asked]:
    def made(memo: Any = None, **environ: str) -> Asked:
        given = {"PLMS_DATA_DIR": str(tmp_path / "data"), "PLMS_REPORTS_DIR": str(tmp_path / "reports"), **environ}
        return Asked(registry, load_settings(given), AT, memo)

    return made


def values(seen: Seen, name: str) -> dict[str, float | None]:
    return {one.subject: one.value for one in seen.readings if one.input == name}


def put(registry: Registry, table: Any, *rows: dict[str, Any]) -> None:
    with registry.writing() as session:
        for row in rows:
            session.execute(insert(table).values(**row))


def test_idle_projects_are_looked_at_every_ten_minutes_and_burn_nothing(
    registry: Registry, asked: Callable[..., Asked]
) -> None:
    """A thousand projects that wait for somebody must not cost a query each a minute."""
    run = burning(registry, 42)
    planned_project(registry, project_id=43)
    spend(registry, run, 5, AT - MINUTE)
    first = budget.look(asked())
    assert set(values(first, "minutes_to_depletion")) == {"project:42"}
    assert set(values(first, "overrun_ratio")) == {"project:42", "project:43"}
    second = budget.look(asked(first.memo))
    assert second.untouched == {"project:43"}
    assert set(values(second, "overrun_ratio")) == {"project:42"}
    later = {"idle_at": (AT - timedelta(minutes=11)).isoformat()}
    assert budget.look(asked(later)).untouched == frozenset()


def test_a_days_money_counts_from_midnight_of_its_zone(registry: Registry, asked: Callable[..., Asked]) -> None:
    """The portfolio's account repeats the projects': counted with them, fifty dollars would be a hundred."""
    burning(registry, 42)
    account = {"limit_usd": 50, "settled_usd": 50, "reserved_usd": 0, "updated_at": AT}
    put(registry, LedgerAccount, {**account, "account": "launcher:2026-03-02"}, {**account, "account": "project:42"},
        {**account, "account": "portfolio:2026-03-02"})  # fmt: skip
    entry = {"kind": "settle", "amount_usd": 60, "subject": "x", "actor": "a", "at": AT}
    put(registry, LedgerEntry, *(
        {**entry, "entry_key": str(n), "account": name, "at": at}
        for n, (name, at) in enumerate([
            ("project:42", AT), ("launcher:2026-03-02", AT), ("portfolio:2026-03-02", AT),
            ("project:42", AT - timedelta(days=1)),
        ])
    ))  # fmt: skip
    seen = spending.look(asked())
    assert values(seen, "spent_today_usd") == {"day:2026-03-02": 120.0}
    assert values(seen, "daily_budget_ratio") == {"launcher:2026-03-02": 1.0, "portfolio:2026-03-02": 1.0}


def test_what_work_leaves_behind_is_read_as_it_stands(registry: Registry, asked: Callable[..., Asked]) -> None:
    """Passports, gates, guards, letters and kill switches, each from its own table."""
    burning(registry, 42)
    planned_project(registry, project_id=7, status="needs_review")
    assert values(work.passports(asked()), "passport_incomplete") == {"run:run-42": 1.0}
    put(registry, RunPassport, {
        "run_id": "run-42", "passport_json": "{}", "sha256": "0" * 64, "provider_matrix_json": "{}", "env_snapshot_json": "{}",
        "is_complete": True, "created_at": AT,
    })  # fmt: skip
    assert work.passports(asked()).readings == ()
    assert values(work.gates(asked()), "project_blocked") == {"project:7": 1.0}
    slot = {"resource": "launcher", "holder": "h", "cap_then": 3, "taken_at": AT, "renewed_at": AT, "expires_at": AT}
    put(registry, Slot, {**slot, "slot_id": "1", "subject": "a"}, {**slot, "slot_id": "2", "subject": "b"})
    audit = {"actor": "a", "action": "guard.enforce", "subject": "x", "outcome": "rate_limited"}
    put(
        registry,
        AuditEntry,
        {**audit, "at": AT},
        {**audit, "at": AT - timedelta(minutes=9)},
        {**audit, "at": AT, "outcome": "ok"},
    )
    assert values(work.guards(asked()), "launcher_runs") == {"launcher": 2.0}
    assert values(work.guards(asked()), "rate_limited") == {"launcher": 1.0}
    letter = {
        "kind": "run", "error_class": "TRANSIENT", "reason": "r", "fingerprint": "f", "max_attempts": 3, "last_failed_at": AT,
        "last_actor": "a",
    }  # fmt: skip
    put(registry, DeadLetter, *(
        {**letter, "letter_id": str(n), "subject_id": str(n), "state": state, "first_failed_at": at, "ended_at": ended}
        for n, (state, at, ended) in enumerate([
            ("ready", AT, None), ("processing", AT - timedelta(hours=3), None), ("permanent", AT, AT),
            ("done", AT - timedelta(hours=5), AT),
        ])
    ))  # fmt: skip
    assert values(work.letters(asked()), "dead_letters") == {"dead_letters": 2.0}
    assert values(work.letters(asked()), "dead_letters_growth") == {"dead_letters": 1.0}
    put(registry, KillSwitch, {"scope": "lane", "subject": "4200", "reason": "why", "actor": "a", "turned_on_at": AT})
    one = work.killswitch(asked()).readings
    assert [(reading.subject, reading.since) for reading in one] == [("killswitch:lane 4200", AT)]


@pytest.mark.one_database
def test_failures_are_a_share_only_of_enough(registry: Registry, asked: Callable[..., Asked]) -> None:
    """One failed task of one is no 100 %."""
    assert work.failures(asked()).readings == ()
    run = burning(registry, 42)
    for n in range(6):
        spend(registry, run, 1, AT - timedelta(minutes=n))
        share = values(work.failures(asked()), "failure_ratio")["tasks"]
        assert share == (None if n < 4 else 0.0)


def test_lanes_are_judged_over_whole_windows(registry: Registry, asked: Callable[..., Asked]) -> None:
    """A busy minute is no busy two hours; and whoever looks for the first time after them finds them all the same."""
    full = {"cap_ms": 60_000, "busy_ms": 60_000, "queued_max": 25}
    put(registry, LaneMinute, *({**full, "lane_id": 5100, "minute": AT - n * MINUTE} for n in range(1, 121)))
    put(registry, LaneMinute, {**full, "lane_id": 4200, "minute": AT - MINUTE})
    seen = work.lanes(asked())
    busy, queued = values(seen, "lane_busy_ratio"), values(seen, "lane_queue")
    assert busy[f"lane:{4200}"] is not None
    assert busy["lane:4200"] < 0.05
    assert (queued["lane:4200"], queued["lane:5100"]) == (0.0, 25.0)


def test_evidence_counts_its_own_windows(registry: Registry, asked: Callable[..., Asked]) -> None:
    """Timeouts of a quiet night are not half of everything."""
    assert values(work.evidence(asked()), "evidence_timeout_ratio") == {"evidence": 0.0}
    owed = {
        "subject_type": "run", "evidence_kind": "heat", "obs_point": "p", "lookup_ref": "x", "config_digest": "0" * 64,
        "accepted_at": AT, "deadline_at": AT, "state": "terminal",
    }  # fmt: skip
    seen = {
        "obs_point": "p", "evidence_kind": "heat", "found": False, "wait_ms": 1, "queue_ms": 1, "polls": 1, "errors": 0,
        "observer_id": "o", "config_digest": "0" * 64,
    }  # fmt: skip
    reasons = ["timeout"] * 30 + ["dropped"] * 6 + ["redis_error"] * 2
    for n, reason in enumerate(reasons):
        put(registry, Obligation, {**owed, "obligation_id": str(n), "subject_id": str(n)})
        at = AT - timedelta(minutes=7) if n == 37 else AT - MINUTE
        put(registry, Observation, {**seen, "obligation_id": str(n), "reason": reason, "at": at})
    found = work.evidence(asked())
    assert values(found, "evidence_timeout_ratio")["evidence"] == pytest.approx(30 / 38)
    assert values(found, "evidence_dropped_per_s")["evidence"] == pytest.approx(0.01)
    assert values(found, "evidence_backend_errors") == {"evidence": 1.0}


@pytest.mark.one_database
def test_redis_that_is_away_is_down_and_its_rest_unknown(asked: Callable[..., Asked]) -> None:
    """Neither full nor empty: nobody knows."""
    on = asked(REDIS_URL="redis://h:1/0")
    assert redis.looking(lambda _url: None)(asked()).readings == ()
    gone = redis.looking(lambda _url: None)(on)
    assert values(gone, "redis_down") == {"redis": 1.0}
    assert gone.unknown == {"redis_memory_ratio", "redis_hit_ratio"}
    info = redis.RedisInfo(90, 100, 1060, 1010)
    there = redis.looking(lambda _url: info)(asked({"hits": 1000, "misses": 1000}, REDIS_URL="redis://h:1/0"))
    assert values(there, "redis_down") == {"redis": 0.0}
    assert values(there, "redis_memory_ratio") == {"redis": 0.9}
    assert values(there, "redis_hit_ratio")["redis"] == pytest.approx(60 / 70)
    # Redis began anew: its counters are smaller than they were.
    reset = redis.looking(lambda _url: info)(asked({"hits": 9000, "misses": 9000}, REDIS_URL="redis://h:1/0"))
    assert values(reset, "redis_hit_ratio") == {"redis": None}


@pytest.mark.one_database
def test_the_p95_is_that_of_the_answers_in_between(asked: Callable[..., Asked]) -> None:
    """Since the process started, a day of good answers hides the bad minute."""
    before = [(0.1, 1000.0), (0.3, 1000.0), (None, 1000.0)]
    now = [(0.1, 1010.0), (0.3, 1100.0), (None, 1100.0)]
    p95, n = latency.quantile(now, before, 0.95)
    assert n == 100
    assert p95 == pytest.approx(0.1 + 0.2 * (95 - 10) / 90)
    assert latency.quantile([(0.1, 5.0), (None, 5.0)], [], 0.95) == (None, 5.0)
    assert latency.quantile(before, now, 0.95)[0] is None
    name = "POST /api/projects/{project_id}/start"
    look = latency.looking(lambda _url: {name: now})
    first = look(asked())
    assert first.readings == ()
    memo = json.loads(json.dumps({"buckets": {name: before}}))
    assert values(look(asked(memo)), "latency_p95_times")[name] == pytest.approx(p95 / 0.150)
    assert latency.looking(lambda _url: None)(asked()).unknown == {"latency_p95_times"}
    text = 'plms_api_latency_seconds_bucket{endpoint="/x",method="GET",le="0.1"} 3\n' \
        'plms_api_latency_seconds_bucket{endpoint="/x",method="GET",le="+Inf"} 4\n'  # fmt: skip
    assert latency_buckets("# TYPE plms_api_latency_seconds histogram\n" + text) == {
        "GET /x": [(0.1, 3.0), (None, 4.0)]
    }


@pytest.mark.one_database
def test_a_night_is_absent_when_its_report_is(asked: Callable[..., Asked], tmp_path: Path) -> None:
    """Whatever the scheduler says: it is the report that people read."""
    assert values(nights.look(asked()), "nightly_absent_hours") == {}
    assert "nightly_absent_hours" in nights.look(asked()).unknown
    folder = tmp_path / "reports" / "nightly" / "2026-03-01"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"as_of": "2026-03-01T07:00:00+00:00"}))
    checks = {"a": {"passed": True}, "b": {"passed": False}}
    (folder / "invariants.json").write_text(json.dumps({"checks": checks}))
    seen = nights.look(asked())
    # 15:00 UTC, and the night of the 2nd was due at 07:00.
    assert values(seen, "nightly_absent_hours") == {"nightly": 8.0}
    assert values(seen, "invariants_broken") == {"invariants": 1.0}
    assert values(seen, "nightly_failed") == {"nightly": 0.0}
    for moment, day in {"2026-03-08T06:59+00:00": 7, "2026-03-08T07:01+00:00": 8, "2026-11-01T06:30+00:00": 31}.items():
        assert nights.due_night(datetime.fromisoformat(moment))[0].day == day, moment
    assert nights.due_night(AT)[0] == date(2026, 3, 2)


@pytest.mark.one_database
def test_a_secret_that_was_kept_is_found_until_it_is_gone(
    registry: Registry, asked: Callable[..., Asked], tmp_path: Path
) -> None:
    """Found once and then forgotten, it would be resolved while it still lies there."""
    run = burning(registry, 42)
    key = "AKIA" + "B" * 16
    put(registry, RunPassport, {
        "run_id": run, "passport_json": json.dumps({"env": key}), "sha256": "0" * 64, "provider_matrix_json": "{}",
        "env_snapshot_json": "{}", "is_complete": True, "created_at": AT,
    })  # fmt: skip
    report = tmp_path / "reports" / "a.md"
    report.parent.mkdir(parents=True)
    report.write_text(f"x\n{key}\n")
    first = machine.secrets(asked())
    assert values(first, "secrets_found") == {f"passport:{run}": 1.0, "report:a.md": 1.0}
    assert key not in repr(first)
    second = machine.secrets(asked(first.memo))
    assert set(values(second, "secrets_found")) == {f"passport:{run}", "report:a.md"}
    report.write_text("nothing\n")
    assert set(values(machine.secrets(asked(second.memo)), "secrets_found")) == {f"passport:{run}"}


@pytest.mark.one_database
def test_the_daemon_is_missed_only_where_one_was(registry: Registry, asked: Callable[..., Asked]) -> None:
    """Who never ran Dagster is not told that it is dead."""
    assert daemon.look(asked()).readings == ()
    with registry.writing() as session:
        states.keep_check(session, "dagster", at=AT - 10 * MINUTE, error=None, readings=3, memo=None)
    assert values(daemon.look(asked()), "daemon_silence_s") == {"dagster-daemon": 600.0}


@pytest.mark.one_database
def test_ticks_that_fail_in_a_row_and_ticks_that_do_not_come_are_counted(asked: Callable[..., Asked]) -> None:
    """Dagster repeats a failing tick for ever and tells nobody."""
    now = AT.timestamp()
    one = dagster.Ticking(
        "a",
        30.0,
        ((now - 400, "STARTED", ""), (now - 430, "FAILURE", "x"), (now - 460, "FAILURE", "x"), (now, "SKIPPED", "")),
    )
    seen = dagster.looking(
        lambda: [one, dagster.Ticking("b", None, ()), dagster.Ticking("c", None, ((now, "SUCCESS", ""),))]
    )(asked())
    assert values(seen, "sensor_failures") == {"tick:a": 2.0, "tick:c": 0.0}
    assert values(seen, "sensor_lag_s") == {"tick:a": 370.0}


@pytest.mark.one_database
def test_one_disk_is_one_subject(asked: Callable[..., Asked]) -> None:
    """Data and reports usually lie on the same."""
    (one,) = machine.disk(asked()).readings
    assert one.subject == "disk:data"
    assert one.value
    assert one.value > 0


def test_a_candidate_waits_for_the_risk_lead_and_for_whom_its_alerts_concern(
    registry: Registry, asked: Callable[..., Asked]
) -> None:
    """A candidate that nobody was told of expires, and a week of training with it."""
    shas = ("model_sha256", "evaluation_sha256", "data_sha256", "manifest_sha256", "experiment_sha256")
    row = {
        **dict.fromkeys(shas, "a" * 64), "family": "market", "state": "waiting", "folder": "f", "trials": 1,
        "gates_passed": True, "alerts_json": [], "action": "promote", "blockers_json": [], "requested_by": "ann",
        "requested_by_verified": True, "created_at": AT - timedelta(days=1), "expires_at": AT + timedelta(days=1),
    }  # fmt: skip
    doubted = {"alerts_json": ["turnover_rate_unknown"], "blockers_json": ["limit:turnover_rate_unknown"]}
    put(
        registry, Candidate, row | {"candidate_id": "fine"}, row | doubted | {"candidate_id": "doubted"},
        row | {"candidate_id": "late", "expires_at": AT}, row | {"candidate_id": "over", "state": "expired"},
    )  # fmt: skip
    seen = candidates.look(asked())
    assert values(seen, "candidate_for_risk_lead") == {"candidate:fine": 1.0, "candidate:doubted": 1.0}
    assert values(seen, "candidate_for_data_engineering") == {"candidate:doubted": 1.0}
    assert values(seen, "candidate_for_portfolio_manager") == {}
    assert values(seen, "candidate_for_trading_supervision") == {}


def test_trading_supervision_and_the_portfolio_manager_hear_of_what_no_evaluation_says(
    registry: Registry, asked: Callable[..., Asked]
) -> None:
    """Two lines of the escalation matrix had owners whom nothing ever told."""
    shas = ("model_sha256", "evaluation_sha256", "data_sha256", "manifest_sha256", "experiment_sha256")
    day = timedelta(days=1)
    row = {
        **dict.fromkeys(shas, "a" * 64), "family": "market", "state": "waiting", "folder": "f", "trials": 1,
        "gates_passed": True, "alerts_json": [], "action": "promote", "blockers_json": [], "requested_by": "ann",
        "requested_by_verified": True, "expires_at": AT + day,
    }  # fmt: skip
    put(
        registry, Candidate, row | {"candidate_id": "older", "created_at": AT - 9 * day},
        row | {"candidate_id": "newer", "created_at": AT - 2 * day},
    )  # fmt: skip
    trade = {"timestamp": AT - 20 * day, "symbol": "SPY", "side": "long", "size": 1.0, "price": 1.0}
    put(registry, MarketTrade, *(trade | {"trade_id": number} for number in (1, 2)))
    word = {"symbol": "SPY", "decision": "reject", "rationale": "r", "author": "desk"}
    put(
        registry, TradeAnnotation,
        # Told with the older candidate, and with nobody's: somebody looked again.
        word | {"trade_id": 1, "created_at": AT - 10 * day},
        word | {"trade_id": 2, "created_at": AT - 3 * day},
        word | {"trade_id": 2, "created_at": AT - 2 * day, "decision": "approve"},
    )  # fmt: skip
    minute = {"family": "market", "requests": 0, "errors": 0, "slow_750": 0, "guardrail_requests": 9, "slow_250": 0}
    put(registry, ServingMinute, minute | {"minute": AT - day, "trades_evaluated": 1_000, "violations": 5})
    seen = candidates.look(asked())
    assert values(seen, "candidate_for_portfolio_manager") == {"candidate:older": 1.0}
    assert values(seen, "candidate_for_trading_supervision") == {}
    put(registry, TradeAnnotation, word | {"trade_id": 1, "created_at": AT - day})
    put(registry, ServingMinute, minute | {"minute": AT - day / 2, "trades_evaluated": 10, "violations": 1})
    seen = candidates.look(asked())
    assert set(values(seen, "candidate_for_portfolio_manager")) == {"candidate:newer", "candidate:older"}
    assert set(values(seen, "candidate_for_trading_supervision")) == {"candidate:newer", "candidate:older"}
    # What the tree recommends is of the candidate, and stays.
    with registry.reading() as session:
        newer = find(session, "newer")
        assert newer is not None
        said = recommended(session, newer, AT)
    assert (said.action, said.options[0]) == ("promote", "approve")
    assert {line.owner for line in said.escalations} == {"trading_supervision", "portfolio_manager"}


def test_an_incident_of_the_data_is_that_of_the_newest_look(registry: Registry, asked: Callable[..., Asked]) -> None:
    """An incident that never ends is one that nobody reads."""
    look = {"family": "market", "at": AT, "rows": 5, "metrics_json": {}, "alerts_json": ["sharpe_unknown"]}
    put(registry, LiveSnapshot, look | {"action": "keep"}, look | {"action": "halt"})
    assert values(candidates.look(asked()), "live_data_in_doubt") == {"family:market": 1.0}
    put(registry, LiveSnapshot, look | {"action": "request_retrain"})
    assert values(candidates.look(asked()), "live_data_in_doubt") == {"family:market": 0.0}
