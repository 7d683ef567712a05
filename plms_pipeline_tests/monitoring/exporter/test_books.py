"""Does the page say what stands in the books?"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    AuditEntry,
    DeadLetter,
    Decision,
    Hold,
    IdempotencyKey,
    InboxEvent,
    KillSwitch,
    LaneReview,
    LedgerAccount,
    LedgerEntry,
    Obligation,
    OutboxEvent,
    QueuedCard,
    RateBucket,
    Slot,
    StateTransition,
)
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring.exporter.worlds import (
    NOW,
    add,
    ago,
    card,
    cards,
    nonzero,
    projects,
    reader,
    receipt,
    receipts,
    runs,
    value,
)

LANES = ("4200", "4201", "4202", "5100", "5101", "5102", "6100", "6101")


def test_an_empty_registry_says_zero_to_everything_that_can_be_zero(registry: Registry, settings: Settings) -> None:
    """Otherwise the first failure makes a series and no `rate()` sees it."""
    samples = reader(settings).read(registry)
    for series in CATALOGUE.values():
        if series.part == "registry" and not series.absent:
            assert samples.cells[series.name], series.name
    assert {labels[0] for labels in samples.cells["plms_tasks_ended_total"]} == set(LANES)
    assert nonzero(samples, "plms_dead_letters") == {}
    assert value(samples, "plms_concurrency_limit", "launcher") == 3
    assert value(samples, "plms_concurrency_limit", "executor") == 100
    assert value(samples, "plms_lane_cap", "5100") == 2
    assert value(samples, "plms_lane_info", "5100", "Data-Schema") == 1
    assert value(samples, "plms_registry_size_bytes") > 100_000


def test_what_nobody_can_know_has_no_series(registry: Registry, settings: Settings) -> None:
    """Otherwise a project that burns nothing has a runway of zero minutes, and somebody is woken."""
    samples = reader(settings).read(registry)
    for name in ("plms_budget_runway_minutes", "plms_calibration_mae_ratio"):
        assert name not in samples.cells
    assert ("portfolio",) not in samples.cells["plms_daily_budget_limit_usd"]


def test_lanes_tell_slots_and_who_waits(registry: Registry, settings: Settings) -> None:
    """Otherwise a lane that has been full for two hours, or a queue that nobody works, is seen by nobody."""
    projects(registry, {1: "executing"})
    runs(registry, [("r1", 1, "RUNNING")])
    cards(registry, [
        *(card(f"out{n}", "r1", lane=5100, state="SUBMITTED") for n in range(2)), *(card(f"in{n}", "r1") for n in range(4)),
    ])  # fmt: skip
    slot = {"holder": "me", "cap_then": 2, "taken_at": ago(minutes=5), "renewed_at": NOW, "expires_at": NOW}
    add(registry, Slot, [
        {"slot_id": "a", "resource": "lane:5100", "subject": "out0", "state": "HELD", **slot},
        {"slot_id": "b", "resource": "lane:5100", "subject": "out1", "state": "SUSPECT", **slot},
        {"slot_id": "c", "resource": "launcher", "subject": "launch:1", "state": "HELD", **slot},
    ])  # fmt: skip
    queued = {"lane_id": 4200, "project_id": 1, "run_id": "r1", "run_kind": "baseline", "not_before": NOW, "rank": 0.1}
    add(registry, QueuedCard, [
        {"card_key": f"in{n}", "ready_at": ago(seconds=100 - n), "is_paused": n == 3, **queued} for n in range(4)
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert value(samples, "plms_lane_slots_in_use", "5100") == 2
    assert value(samples, "plms_lane_slots_suspect", "5100") == 1
    assert value(samples, "plms_lane_utilization_ratio", "5100") == 1.0
    assert value(samples, "plms_lane_utilization_ratio", "4200") == 0.0
    assert value(samples, "plms_queue_depth", "4200") == 3
    assert value(samples, "plms_queue_put_aside", "4200") == 1
    assert value(samples, "plms_queue_oldest_age_seconds", "4200") == pytest.approx(100)
    assert nonzero(samples, "plms_job_cards_open") == {("WAITING",): 4, ("SUBMITTED",): 2}
    assert nonzero(samples, "plms_concurrency_in_use") == {("launcher",): 1, ("executor",): 1}


def test_a_lane_without_places_is_not_busy(sqlite_registry: Registry, settings: Settings) -> None:
    """Otherwise a lane that a person closed divides by zero, and the whole page is gone."""
    with sqlite_registry.writing() as session:
        session.execute(text("UPDATE lanes SET cap = 0 WHERE lane_id = 5100"))
    assert value(reader(settings).read(sqlite_registry), "plms_lane_utilization_ratio", "5100") == 0.0


def test_guards_tell_budget_rate_and_switches(registry: Registry, settings: Settings) -> None:
    """Otherwise the day's limit is reached, or everything stands still, and the board looks as it always does."""
    settings = settings.model_copy(update={"portfolio_daily_usd": Decimal(200)})
    account = {"limit_usd": None, "updated_at": NOW}
    add(registry, LedgerAccount, [
        {"account": "launcher:2026-03-01", "settled_usd": Decimal("12.5"), "reserved_usd": Decimal(3), **account},
        {"account": "launcher:2026-02-28", "settled_usd": Decimal(40), "reserved_usd": Decimal(0), **account},
        {"account": "portfolio:2026-03-01", "settled_usd": Decimal(7), "reserved_usd": Decimal(1), **account},
    ])  # fmt: skip
    entry = {"account": "launcher:2026-03-01", "actor": "a", "at": NOW}
    add(registry, LedgerEntry, [
        {"entry_key": "1", "kind": "settle", "amount_usd": Decimal(4), "subject": "launch:1", **entry},
        {"entry_key": "2", "kind": "reserve", "amount_usd": Decimal(9), "subject": "launch:1", **entry},
        {"entry_key": "3", "kind": "settle", "amount_usd": Decimal(8), "subject": "run:r1", **entry},
    ])  # fmt: skip
    projects(registry, {1: "executing"})
    runs(registry, [("r1", 1, "RUNNING")])
    receipts(registry, [
        receipt("r1", 1, "a", ago(hours=1), cost_usd=Decimal(8)),
        receipt("r1", 1, "b", ago(hours=13), cost_usd=Decimal(64)),
    ])  # fmt: skip
    add(registry, RateBucket, [{"name": "launcher", "tokens": 0.0, "refilled_at": ago(seconds=0.25)}])
    switch = {"reason": "r", "actor": "a", "turned_on_at": ago(hours=1)}
    add(registry, KillSwitch, [
        {"scope": "lane", "subject": "4200", "turned_off_at": None, **switch},
        {"scope": "lane", "subject": "4201", "turned_off_at": None, **switch},
        {"scope": "project", "subject": "1", "turned_off_at": NOW, **switch},
    ])  # fmt: skip
    samples = reader(settings, flag="stop").read(registry)
    assert value(samples, "plms_daily_budget_spent_usd", "launcher") == 12.5
    assert value(samples, "plms_daily_budget_reserved_usd", "launcher") == 3
    assert value(samples, "plms_daily_budget_limit_usd", "launcher") == 50
    assert value(samples, "plms_daily_budget_spent_usd", "portfolio") == 7
    assert value(samples, "plms_daily_budget_limit_usd", "portfolio") == 200
    # A run's cost stands in its receipt and is not counted again in its account; what left no receipt counts by its account.
    assert value(samples, "plms_daily_spend_usd") == pytest.approx(8 + 4)
    assert value(samples, "plms_rate_limit_per_second", "launcher") == 2.0
    assert value(samples, "plms_rate_tokens", "launcher") == pytest.approx(0.5)
    assert nonzero(samples, "plms_killswitch_on") == {("file",): 1, ("lane",): 2}


def test_refusals_are_counted_by_guard_and_by_code(registry: Registry, settings: Settings) -> None:
    """Otherwise nobody sees that starts are being throttled, or that somebody tries one token after another."""
    entry = {"actor": "a", "subject": "s", "at": ago(minutes=1)}
    add(registry, AuditEntry, [
        {"action": "guard.enforce", "outcome": "rate_limited", **entry},
        {"action": "guard.enforce", "outcome": "passed", **entry},
        {"action": "http.refused", "outcome": "token_forged", **entry},
        {"action": "http.refused", "outcome": "something_new", **entry},
        {"action": "run.cancel", "outcome": "done", **entry},
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_guard_refusals_total") == {("rate_limited",): 1}
    assert nonzero(samples, "plms_http_refusals_total") == {("token_forged",): 1, ("other",): 1}


def test_projects_runs_and_pauses_are_counted_by_state(registry: Registry, settings: Settings) -> None:
    """Otherwise the board cannot say what goes on; imported history is nobody's work here."""
    projects(registry, {1: "executing", 2: "executing", 3: "needs_review"})
    runs(registry, [("r1", 1, "RUNNING"), ("r2", 2, "FAIL"), ("r3", 3, "SUCCESS")])
    runs(registry, [("old", 1, "SUCCESS")], source="swebench", source_file_sha256="0" * 64)
    hold = {"reason": "r", "placed_by": "a", "placed_at": ago(seconds=90)}
    add(registry, Hold, [
        {"subject_type": "run", "subject_id": "r1", "lifted_at": None, **hold},
        {"subject_type": "moon", "subject_id": "1", "lifted_at": None, **hold},
        {"subject_type": "project", "subject_id": "2", "lifted_at": NOW, **hold},
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_projects") == {("executing",): 2, ("needs_review",): 1}
    assert nonzero(samples, "plms_runs") == {("RUNNING",): 1, ("FAIL",): 1, ("SUCCESS",): 1}
    assert nonzero(samples, "plms_holds") == {("run",): 1, ("other",): 1}


def test_what_waits_for_a_person_is_told_with_its_age(registry: Registry, settings: Settings) -> None:
    """Otherwise a project waits for a signature over a weekend, and only its owner knows."""
    projects(registry, {1: "pending_approval", 2: "pending_approval", 3: "needs_review"})
    move = {"subject_type": "project", "from_state": "planning", "actor": "a"}
    add(registry, StateTransition, [
        {"subject_id": "1", "sequence": 1, "to_state": "pending_approval", "at": ago(seconds=600), **move},
        {"subject_id": "2", "sequence": 1, "to_state": "pending_approval", "at": ago(seconds=900), **move},
        {"subject_id": "2", "sequence": 2, "to_state": "planning", "at": ago(seconds=800), **move},
        {"subject_id": "2", "sequence": 3, "to_state": "pending_approval", "at": ago(seconds=300), **move},
    ])  # fmt: skip
    review = {"lane_id": 4200, "week_of": "2026-02-23", "current_json": 4, "recommended_json": 5, "rule": "r",
              "evidence_json": {}, "created_at": ago(seconds=50)}  # fmt: skip
    add(registry, LaneReview, [
        {"review_id": "a", "field": "cap", "state": "proposed", **review},
        {"review_id": "b", "field": "gate", "state": "applied", **review},
    ])  # fmt: skip
    asked = {"kind": "kpi_override", "subject_type": "run", "reason": "r", "actor": "a", "actor_verified": True}
    add(registry, Decision, [
        {"decision_id": "1", "subject_id": "r1", "decision": "request", "decided_at": ago(seconds=40), **asked},
        {"decision_id": "2", "subject_id": "r1", "decision": "reject", "decided_at": ago(seconds=30), **asked},
        {"decision_id": "3", "subject_id": "r1", "decision": "request", "decided_at": ago(seconds=20), **asked},
        {"decision_id": "4", "subject_id": "r2", "decision": "request", "decided_at": ago(seconds=10), **asked},
    ])  # fmt: skip
    add(registry, Hold, [
        {"subject_type": "run", "subject_id": "r1", "reason": "r", "placed_by": "a", "placed_at": ago(seconds=70)}
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_pending_decisions") == {
        ("project_approval",): 2, ("project_review",): 1, ("lane_review",): 1, ("verdict_override",): 2, ("hold",): 1,
    }  # fmt: skip
    ages = {kind: age for (kind,), age in nonzero(samples, "plms_pending_decisions_oldest_age_seconds").items()}
    assert ages == pytest.approx({
        "project_approval": 600, "project_review": 86_400, "lane_review": 50, "verdict_override": 20, "hold": 70,
    })  # fmt: skip


def test_letters_are_counted_by_kind_class_and_state(registry: Registry, settings: Settings) -> None:
    """Otherwise failed work piles up where nobody looks."""
    letter = {"reason": "r", "fingerprint": "f", "max_attempts": 3, "first_failed_at": ago(hours=2), "last_actor": "a"}
    add(registry, DeadLetter, [
        {"letter_id": str(place), "kind": kind, "subject_id": str(place), "error_class": error_class, "state": state,
         "attempts": attempts, "next_due_at": due, "last_failed_at": ago(seconds=120), **letter}
        for place, (kind, error_class, state, attempts, due) in enumerate([
            ("run", "TRANSIENT", "ready", 0, ago(seconds=1)), ("run", "TRANSIENT", "ready", 1, NOW + timedelta(hours=1)),
            ("run", "TRANSIENT", "done", 2, None), ("event", "POLICY", "permanent", 0, None),
            ("run", "PERMANENT", "permanent", 1, None),
        ])
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_dead_letters") == {
        ("run", "TRANSIENT", "ready"): 2, ("run", "TRANSIENT", "done"): 1, ("event", "POLICY", "permanent"): 1,
        ("run", "PERMANENT", "permanent"): 1,
    }  # fmt: skip
    assert value(samples, "plms_dead_letters_due") == 1
    assert nonzero(samples, "plms_dead_letters_retried") == {("open",): 1, ("done",): 1, ("permanent",): 1}
    assert value(samples, "plms_pending_decisions", "dead_letter") == 2
    assert value(samples, "plms_pending_decisions_oldest_age_seconds", "dead_letter") == pytest.approx(120)


def test_boxes_tell_what_waits_and_for_how_long(registry: Registry, settings: Settings) -> None:
    """Otherwise events that nobody settles, and effects that nobody carries out, look like silence."""
    event = {"endpoint": "e", "body_sha256": "0" * 64, "body_json": {}, "actor": "a"}
    waits = [("pending", ago(seconds=10)), ("pending", ago(minutes=4)), ("pending", ago(minutes=30)),
             ("pending", ago(hours=3)), ("settled", ago(hours=9)), ("refused", ago(hours=9))]  # fmt: skip
    add(registry, InboxEvent, [
        {"event_id": str(place), "state": state, "received_at": at, **event} for place, (state, at) in enumerate(waits)
    ])  # fmt: skip
    effect = {"kind": "start", "subject_id": "r", "created_at": ago(hours=1)}
    add(registry, OutboxEvent, [
        {"event_key": "1", "state": "pending", "due_at": ago(seconds=45), **effect},
        {"event_key": "2", "state": "pending", "due_at": NOW + timedelta(hours=1), **effect},
        {"event_key": "3", "state": "failed", "due_at": ago(days=1), **effect},
        {"event_key": "4", "state": "done", "due_at": ago(days=1), **effect},
    ])  # fmt: skip
    key = {"user_name": "u", "method": "POST", "path": "/", "body_sha256": "0" * 64, "created_at": ago(days=1)}
    add(registry, IdempotencyKey, [
        {"key": "1", "state": "in_progress", "answer_json": None, "expires_at": NOW + timedelta(hours=1), **key},
        {"key": "2", "state": "done", "answer_json": "{}", "expires_at": NOW + timedelta(hours=1), **key},
        {"key": "3", "state": "done", "answer_json": "{}", "expires_at": ago(hours=1), **key},
    ])  # fmt: skip
    owed = {"subject_type": "run", "evidence_kind": "heat", "obs_point": "after_completion", "lookup_ref": "l",
            "config_digest": "d", "accepted_at": ago(minutes=1)}  # fmt: skip
    add(registry, Obligation, [
        {"obligation_id": "1", "subject_id": "1", "deadline_at": ago(seconds=1), "state": "pending", **owed},
        {"obligation_id": "2", "subject_id": "2", "deadline_at": NOW + timedelta(seconds=1), "state": "pending", **owed},
        {"obligation_id": "3", "subject_id": "3", "deadline_at": ago(seconds=1), "state": "terminal", **owed},
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_inbox_pending") == {("1m",): 1, ("5m",): 1, ("1h",): 1, ("older",): 1}
    assert value(samples, "plms_inbox_oldest_age_seconds") == pytest.approx(3 * 3600)
    assert value(samples, "plms_inbox_refused") == 1
    assert value(samples, "plms_outbox_pending") == 2
    assert value(samples, "plms_outbox_oldest_age_seconds") == pytest.approx(45)
    assert value(samples, "plms_outbox_failed") == 1
    assert nonzero(samples, "plms_idempotency_keys") == {("in_progress",): 1, ("done",): 1}
    assert value(samples, "plms_evidence_pending") == 2
    assert value(samples, "plms_evidence_overdue") == 1


ALERT_TABLES = (
    "CREATE TABLE alert_states (rule VARCHAR(64), subject VARCHAR(255), severity VARCHAR(2), state VARCHAR(16))",
    "CREATE TABLE deliveries (id INTEGER, channel VARCHAR(64), state VARCHAR(16), created_at TIMESTAMP{zone}, "
    "due_at TIMESTAMP{zone})",
    "CREATE TABLE alert_checks (source VARCHAR(64), checked_at TIMESTAMP{zone}, error TEXT)",
)


def test_alerts_and_their_messages_are_counted(registry: Registry, settings: Settings) -> None:
    """Otherwise nobody sees that alerts are not delivered: they cannot say so themselves."""
    zone = " WITH TIME ZONE" if registry.dialect == "postgresql" else ""
    with registry.writing() as session:
        # Only the columns that are read, whatever else the tables have.
        for statement in ALERT_TABLES:
            name = statement.split()[2]
            session.execute(text(f"DROP TABLE IF EXISTS {name}{' CASCADE' if zone else ''}"))
            session.execute(text(statement.format(zone=zone)))
        for rule, subject, severity, state in (
            ("runway_t5", "1", "P0", "firing"), ("runway_t5", "2", "P0", "acked"), ("disk_1gb", "data", "P2", "ok"),
        ):  # fmt: skip
            session.execute(
                text("INSERT INTO alert_states (rule, subject, severity, state) VALUES (:a, :b, :c, :d)"),
                {"a": rule, "b": subject, "c": severity, "d": state},
            )
        for number, state, at in ((1, "pending", "2026-03-01 11:59:00"), (2, "done", "2026-03-01 10:00:00")):
            session.execute(text(f"INSERT INTO deliveries VALUES ({number}, 'slack', '{state}', '{at}', '{at}')"))
        session.execute(text("INSERT INTO alert_checks VALUES ('budget', '2026-03-01 11:58:00', 'away')"))
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_alerts") == {("P0", "firing"): 1, ("P0", "acked"): 1, ("P2", "ok"): 1}
    assert nonzero(samples, "plms_alerts_open") == {("runway_t5",): 2}
    assert value(samples, "plms_alerts_open", "disk_1gb") == 0
    assert nonzero(samples, "plms_alert_deliveries") == {("slack", "pending"): 1, ("slack", "done"): 1}
    assert value(samples, "plms_alert_deliveries_oldest_age_seconds") == pytest.approx(60)
    assert value(samples, "plms_alert_checks_oldest_age_seconds") == pytest.approx(120)
    assert value(samples, "plms_alert_checks_failed") == 1


def test_no_label_holds_what_somebody_typed() -> None:
    """Otherwise a text makes a series for each of its values, and the page grows until nobody can read it."""
    samples = Samples(CATALOGUE)
    with pytest.raises(ValueError, match="no value of"):
        samples.put("plms_runs", 1, "BROKEN; drop")
    with pytest.raises(ValueError, match="not declared"):
        samples.put("plms_runs", 1)
    for series in CATALOGUE.values():
        assert not {label.name for label in series.labels} & {"project", "run", "task", "actor", "user"}, series.name
