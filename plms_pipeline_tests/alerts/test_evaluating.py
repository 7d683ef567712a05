"""Is what fires told once, to the right ones, at the right time, and its end too?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from plms_pipeline.access.actors import Actor
from plms_pipeline.alerts.actions import deciding, showing
from plms_pipeline.alerts.actions.delivering import POLICY, deliver, free_from_dead, try_anew
from plms_pipeline.alerts.actions.evaluating import evaluate
from plms_pipeline.alerts.looking import Asked, Seen, Source
from plms_pipeline.errors import BadInput, Conflict, NotFound, Unavailable
from plms_pipeline.letters import store as letters
from plms_pipeline.letters.rules import wait_s
from plms_pipeline.notify.channels import NotSent
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AlertEvent, DeadLetter, Decision, Delivery
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.alerts.worlds import AT, Bench, bench

ANN = Actor("ann@example.org", is_verified=True)
RULES = """rules:
  disk_1gb: {title: full, input: disk_free_gib, compare: "<", threshold: 1, clear: 1.5, severity: P0, route: [page, chat]}
  queue_20: {title: a long queue, input: lane_queue, compare: ">", threshold: 20, clear: 10, severity: P3, route: [chat]}
  overrun_20: {title: too dear, input: overrun_ratio, compare: ">", threshold: 0.2, severity: P2, route: ["mail:owner"]}
"""
ONCALL = """channels: {chat: {kind: slack}, page: {kind: pagerduty}, mail: {kind: smtp}}
contacts: {ann: {email: ann@example.org}, bob: {email: bob@example.org}}
rotation: {since: 2026-01-05, order: [ann]}
owners: {default: [ann], projects: {7: [bob]}}
quiet_hours: {from: "22:00", to: "07:00"}
severities:
  P0: {answer_within: 5m, escalate: [["mail:bob"], [page]]}
"""
ENVIRON = {
    "SLACK_WEBHOOK_URL": "https://hooks.example.org/x", "PD_ROUTING_KEY": "0" * 32, "PLMS_SMTP_URL": "smtps://m.example.org",
}  # fmt: skip
DISK = "disk_free_gib"


def made(registry: Registry, folder: Path, **more: object) -> Bench:
    return bench(registry, folder, rules=RULES, oncall=ONCALL, environ=ENVIRON, **more)  # type: ignore[arg-type]


def events(registry: Registry) -> list[str]:
    with registry.reading() as session:
        return list(session.scalars(select(AlertEvent.kind).order_by(AlertEvent.id)))


def test_subjects_found_together_are_one_message_and_an_event_each(registry: Registry, tmp_path: Path) -> None:
    """A hundred lanes are one line in Slack, and the incident ends with the last of them."""
    table = made(registry, tmp_path)
    table.values[DISK] = {"disk:a": 0.5, "disk:b": 0.1, "disk:c": 9.0}
    assert len(table.evaluate().fired) == 2
    table.deliver()
    assert table.told() == [("page", "fired", "disk:a,disk:b"), ("chat", "fired", "disk:a,disk:b")]
    table.sent.clear()
    table.clock.go(60)
    table.values[DISK]["disk:a"] = 5.0
    table.evaluate()
    table.deliver()
    assert table.told() == [("chat", "resolved", "disk:a")]
    assert table.sent[0][1].still == ("disk:b",)
    table.clock.go(60)
    # Gone from what is read is over, too.
    del table.values[DISK]["disk:b"]
    table.evaluate()
    table.deliver()
    assert table.told()[1:] == [("page", "resolved", "disk:b"), ("chat", "resolved", "disk:b")]
    threads = {message.thread for channel, message, _ in table.sent}
    assert len(threads) == 1
    assert events(registry) == ["fired", "fired", "resolved", "resolved"]


def test_two_replicas_and_a_restart_add_nothing(registry: Registry, tmp_path: Path) -> None:
    """Each of them sees the crossing for the first time."""
    first, second = made(registry, tmp_path / "1"), made(registry, tmp_path / "2")
    for table in (first, second, made(registry, tmp_path / "3")):
        table.values[DISK] = {"disk:a": 0.5}
        table.evaluate()
    assert events(registry) == ["fired"]
    first.deliver()
    second.deliver()
    assert len(first.sent) + len(second.sent) == 2


@pytest.mark.one_database
def test_patient_severities_wait_for_the_morning_and_what_is_over_by_then_is_never_told(
    registry: Registry, tmp_path: Path
) -> None:
    """A P3 at midnight is nobody's business; a P0 is."""
    table = made(registry, tmp_path)
    table.clock.at = AT.replace(hour=23)
    table.values |= {"lane_queue": {"lane:4200": 30.0, "lane:4201": 40.0}, DISK: {"disk:a": 0.5}}
    table.evaluate()
    table.deliver()
    assert {message.rule for _, message, _ in table.sent} == {"disk_1gb"}
    table.clock.go(3600)
    table.values["lane_queue"] = {}
    table.evaluate()
    table.clock.at = AT.replace(day=AT.day + 1, hour=8)
    table.values["lane_queue"] = {"lane:4200": 50.0}
    table.evaluate()
    table.deliver()
    assert [(m.kind, m.rule) for _, m, _ in table.sent if m.rule == "queue_20"] == [("fired", "queue_20")]
    assert showing.overview(registry, clock=table.clock).deliveries["withdrawn"] == 1


@pytest.mark.one_database
def test_a_silence_about_what_was_never_alarmed_says_so_with_what_is_near(registry: Registry, tmp_path: Path) -> None:
    """What may come tomorrow may be silenced today; whoever mistyped a name must see it before he goes to sleep."""
    table = made(registry, tmp_path)
    table.values[DISK] = {"disk:data": 0.5}
    table.evaluate()

    def note(subject: str) -> str:
        return deciding.silence(
            table.engine, rule="disk_1gb", subject=subject, lasts=timedelta(hours=1), ids=lambda: str(uuid4()), actor=ANN,
            reason="planned",
        ).note  # fmt: skip

    assert (note("disk:data"), note(" disk:data "), note("*")) == ("", "", "")
    assert "did you mean disk:data?" in note("disk:dta")
    assert "Nothing was ever alarmed about project:42" in note("project:42")


@pytest.mark.one_database
def test_all_that_is_open_is_counted_however_many_are_listed(registry: Registry, tmp_path: Path) -> None:
    """The page said 200 where 230 fired, and went on saying so while they became fewer."""
    table = made(registry, tmp_path)
    table.values[DISK] = {f"disk:{number}": 0.5 for number in range(230)}
    table.evaluate()
    found = showing.overview(registry, clock=table.clock)
    assert len(found.alerts) == 200
    assert found.counts == {"pending": 0, "firing": 230, "acked": 0}
    assert found.as_json()["counts"] == found.counts


def test_what_nobody_acknowledges_goes_to_the_next_and_an_acknowledgement_ends_that(
    registry: Registry, tmp_path: Path
) -> None:
    """Escalation is a promise that somebody answers."""
    table = made(registry, tmp_path)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()
    table.deliver()
    table.sent.clear()
    for _ in range(3):
        table.clock.go(301)
        table.evaluate()
        table.deliver()
    assert [(channel.name, m.kind, m.level, to) for channel, m, to in table.sent] == [
        ("mail", "escalated", 1, "bob@example.org"), ("page", "escalated", 2, "page"),
    ]  # fmt: skip
    (state,) = deciding.acknowledge(table.engine, "disk_1gb", ids=lambda: str(uuid4()), actor=ANN, reason="making room")
    table.sent.clear()
    table.deliver()
    assert {(channel.name, m.kind) for channel, m, _ in table.sent} == {
        ("chat", "acked"), ("page", "acked"), ("mail", "acked"),
    }  # fmt: skip
    with pytest.raises(Conflict):
        deciding.acknowledge(table.engine, str(state.episode_id), ids=lambda: str(uuid4()), actor=ANN, reason="again")
    with registry.reading() as session:
        assert session.scalar(select(Decision.kind)) == "alert_ack"
    table.clock.go(86_400)
    assert not table.evaluate().escalated
    assert events(registry) == ["fired", "escalated", "escalated", "acked"]


@pytest.mark.one_database
def test_acknowledged_in_time_nobody_further_is_told(registry: Registry, tmp_path: Path) -> None:
    """Who has it in hand does not want to wake a second one."""
    table = made(registry, tmp_path)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()
    deciding.acknowledge(table.engine, "disk:a", ids=lambda: str(uuid4()), actor=ANN, reason="mine")
    table.clock.go(900)
    assert not table.evaluate().did_something


def test_what_is_silenced_is_told_when_the_silence_ends_if_it_still_fires(registry: Registry, tmp_path: Path) -> None:
    """A silence that swallows an alert for good is how outages are found by customers."""
    table = made(registry, tmp_path)

    def ids() -> str:
        return str(uuid4())

    kept = deciding.silence(
        table.engine, rule="disk_1gb", subject="*", lasts=timedelta(hours=1), ids=ids, actor=ANN, reason="planned"
    )
    table.values[DISK] = {"disk:a": 0.5, "disk:b": 0.5}
    assert len(table.evaluate().fired) == 2
    table.values[DISK]["disk:b"] = 9.0
    table.clock.go(60)
    table.evaluate()
    table.deliver()
    assert table.sent == []
    deciding.unsilence(registry, kept.silence_id[:8], clock=table.clock, ids=ids, actor=ANN, reason="done")
    # Nothing is due to be looked at: time alone makes it be told.
    assert evaluate(replace(table.engine, sources=())).owed == 2
    table.deliver()
    assert table.told() == [("page", "fired", "disk:a"), ("chat", "fired", "disk:a")]
    # What no alert is about is silenced by nobody: a pattern, nothing, what would write into a terminal.
    no_subjects = [{"subject": text} for text in ("project:*", "", " ", "x\x1b[2J", "x" * 256, "projct:42")]
    for bad in ({"rule": "*", "subject": "*"}, {"lasts": timedelta(days=31)}, *no_subjects):
        with pytest.raises(BadInput):
            deciding.silence(
                table.engine, **{"rule": "disk_1gb", "subject": "*", "lasts": timedelta(hours=1), **bad}, ids=ids, actor=ANN,
                reason="x",
            )  # fmt: skip
    with pytest.raises(NotFound):
        deciding.silence(
            table.engine, rule="nope", subject="*", lasts=timedelta(hours=1), ids=ids, actor=ANN, reason="x"
        )


@pytest.mark.one_database
def test_mail_to_owners_tells_each_of_his_own_projects(registry: Registry, tmp_path: Path) -> None:
    """Somebody else's budget is nobody's mail."""
    from plms_pipeline.alerts.machine import Reading

    def look(asked: Asked) -> Seen:
        return Seen(tuple(Reading("overrun_ratio", f"project:{n}", 0.5, asked.now, project_id=n) for n in (7, 8, 9)))

    table = made(registry, tmp_path, sources=[Source("budget", look)])
    table.evaluate()
    table.deliver()
    assert [(to, [line.subject for line in m.lines]) for _, m, to in table.sent] == [
        ("bob@example.org", ["project:7"]), ("ann@example.org", ["project:8", "project:9"]),
    ]  # fmt: skip


@pytest.mark.one_database
def test_a_source_that_fails_moves_nothing_and_is_seen(registry: Registry, tmp_path: Path) -> None:
    """An outage of what is looked at is neither an alert nor its end."""
    table = made(registry, tmp_path)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()

    def broken(_asked: Asked) -> Seen:
        raise Unavailable("nobody answers")

    table.clock.go(60)
    failing = replace(table.engine, sources=(Source("disk", broken), Source("lanes", broken)))
    done = evaluate(failing, is_forced=True)
    assert [name for name, _ in done.failed] == ["disk", "lanes"]
    assert not done.resolved
    found = showing.overview(registry, clock=table.clock)
    assert [one.rule for one in found.alerts] == ["disk_1gb"]
    assert [line.partition(":")[0] for line in showing.unread(found) if "nobody answers" in line] == ["disk", "lanes"]


@pytest.mark.one_database
def test_a_rule_that_was_taken_out_ends_what_it_had_opened(registry: Registry, tmp_path: Path) -> None:
    """Otherwise the incident stays open for ever, and nobody can close it."""
    table = made(registry, tmp_path)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()
    table.deliver()
    rules = {name: rule for name, rule in table.engine.rules.items() if name != "disk_1gb"}
    assert evaluate(replace(table.engine, rules=rules), is_forced=True).resolved == (("disk_1gb", "disk:a"),)
    table.deliver()
    assert [(channel, kind) for channel, kind, _ in table.told()][2:] == [("page", "resolved"), ("chat", "resolved")]


def failing(table: Bench, error: Exception) -> Bench:
    def send(*_: object, **__: object) -> str:
        raise error

    return replace(table, desk=replace(table.desk, send=send))


def test_what_is_not_taken_waits_longer_each_time_and_ends_as_a_dead_letter_that_can_be_tried_anew(
    registry: Registry, tmp_path: Path
) -> None:
    """A page that was lost must be visible, and one command away from being sent."""
    table = made(registry, tmp_path, attempts=3)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()
    down = failing(table, NotSent("Channel chat (slack) answered 503", retry_after_s=9))
    waits = []
    for _ in range(3):
        (one,) = down.deliver(channels=["chat"])
        assert not down.deliver(channels=["chat"])
        waits.append(one.outcome)
        table.clock.go(31)
    assert waits == ["later", "later", "dead"]
    with registry.reading() as session:
        letter = session.scalars(select(DeadLetter)).one()
        assert (letter.kind, letter.state, letter.payload_json["channel"]) == ("delivery", "permanent", "chat")
    assert showing.overview(registry, clock=table.clock).deliveries["dead"] == 1
    with registry.writing() as session:
        letters.reset(session, letter.letter_id, now=table.clock.now(), actor="ann")
    assert try_anew(table.desk).count("begun") == 1
    assert [one.outcome for one in table.deliver(channels=["chat"])] == ["sent"]
    with registry.reading() as session:
        assert session.scalar(select(DeadLetter.state)) == "done"


@pytest.mark.one_database
def test_what_is_refused_for_good_is_not_tried_again(registry: Registry, tmp_path: Path) -> None:
    """A webhook that was revoked does not come back."""
    table = made(registry, tmp_path)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()
    gone = failing(table, NotSent("Channel chat (slack) answered 404: no_service", is_permanent=True))
    assert [one.outcome for one in gone.deliver(channels=["chat"])] == ["dead"]


@pytest.mark.one_database
def test_a_sending_that_breaks_off_unforeseen_counts_as_an_attempt(registry: Registry, tmp_path: Path) -> None:
    """It was tried each minute for ever, was never given up, and `plms alerts log` showed no error."""
    table = made(registry, tmp_path, attempts=2)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()
    broken = failing(table, RuntimeError("a password of tests"))
    outcomes = []
    for _ in range(2):
        outcomes += [(one.outcome, one.said) for one in broken.deliver(channels=["chat"])]
        table.clock.go(31)
    assert outcomes == [(word, "Channel chat failed: RuntimeError") for word in ("later", "dead")]


@pytest.mark.one_database
def test_what_was_put_off_or_told_before_the_clock_went_back_does_not_wait_for_its_return(
    registry: Registry, tmp_path: Path
) -> None:
    """A clock that ran a day ahead for a minute kept a page back for a day, and nobody was told next."""
    table = made(registry, tmp_path)
    table.clock.go(86_400)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()
    failing(table, NotSent("away")).deliver(channels=["page"])
    table.clock.go(-86_400)
    assert [one.outcome for one in table.deliver(channels=["page"])] == ["sent"]
    severity = table.engine.rules["disk_1gb"].severity
    found = []
    for _ in range(4):
        table.clock.go(table.engine.routing.oncall.answer_within(severity).total_seconds())
        found.append(table.evaluate().escalated)
    assert any(found), found


def test_a_resolve_never_overtakes_its_trigger(registry: Registry, tmp_path: Path) -> None:
    """PagerDuty would drop the resolve and keep the incident open for ever."""
    table = made(registry, tmp_path)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()
    failing(table, NotSent("away")).deliver(channels=["page"])
    table.clock.go(0.01)
    table.values[DISK] = {"disk:a": 9.0}
    table.evaluate()
    assert table.deliver(channels=["page"]) == []
    table.clock.go(60)
    table.deliver(channels=["page"])
    assert [kind for _, kind, _ in table.told()] == ["fired", "resolved"]


def test_a_sender_that_died_is_followed_by_another_with_the_same_key(registry: Registry, tmp_path: Path) -> None:
    """At least once, and told apart from a second alert by its key."""
    table = made(registry, tmp_path)
    table.values[DISK] = {"disk:a": 0.5}
    table.evaluate()
    keys = []

    def dies(channel: object, message: object, *_: object, **__: object) -> str:
        keys.append(message.key)  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    dying = replace(table.desk, send=dies, holder="host:2:1.00:bb")
    with pytest.raises(KeyboardInterrupt):
        deliver(dying, channels=["chat"])
    assert table.deliver(channels=["chat"]) == []
    assert free_from_dead(replace(table.desk, is_dead=lambda holder: holder == "host:2:1.00:bb")) == 1
    assert [one.claimed.key for one in table.deliver(channels=["chat"])] == keys
    with registry.reading() as session:
        assert session.scalar(select(func.count()).where(Delivery.channel == "chat")) == 1


@pytest.mark.one_database
def test_an_hour_on_the_threshold_is_two_messages_at_most(registry: Registry, tmp_path: Path) -> None:
    """No storm, whoever evaluates."""
    table = made(registry, tmp_path)
    for n in range(60):
        table.values[DISK] = {"disk:a": 0.9 if n % 2 else 1.1}
        table.evaluate()
        table.deliver(channels=["chat"])
        table.clock.go(4)
    assert [(channel, kind) for channel, kind, _ in table.told()] == [("chat", "fired")]


def test_a_service_may_be_away_for_hours_and_is_told_all_the_same() -> None:
    """Twenty attempts were over after four minutes: the page of a budget that ran dry in an outage reached nobody."""
    chance = Random(7)
    waits = [wait_s(n, chance.random(), POLICY) for n in range(1, load_settings({}).alert_attempts)]
    assert 6 * 3600 < sum(waits) < 24 * 3600
    assert max(waits) <= 120
