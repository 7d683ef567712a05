"""Does only what was approved go live, whole, and does the one before come back?"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from plms_pipeline.access.actors import SCHEDULE, Actor
from plms_pipeline.errors import BadInput, Conflict, Forbidden, NotFound, PlmsError
from plms_pipeline.models.actions.candidates import trials_of
from plms_pipeline.models.actions.checking import judged
from plms_pipeline.models.actions.deciding import lift_halt, rewrite, turn_guardrails
from plms_pipeline.models.actions.expiry import expire
from plms_pipeline.models.actions.promotion import rollback
from plms_pipeline.models.store import candidates, champions, switches
from plms_pipeline.models.training.trials import trial
from plms_pipeline.registry.tables import ServingMinute
from plms_pipeline_tests.models.candidates import LAUNCHER, NOW, REVIEWER, House, train_on_disk

DAY = timedelta(days=1)


def back(home: House, **given: object) -> str:
    done = rollback(
        home.registry, places=home.places, family="market", reason="it loses", actor=REVIEWER, clock=home.clock,
        ids=home.ids, **given,  # type: ignore[arg-type]
    )  # fmt: skip
    return done.champion.candidate_id


def state(home: House, name: str) -> str:
    with home.registry.reading() as session:
        found = candidates.find(session, name)
    assert found
    return found.state


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def test_an_approved_candidate_serves_and_the_one_before_comes_back(home: House) -> None:
    """A swap that loses the old champion leaves nothing to go back to on the day that the new one fails."""
    first = home.champion("one").champion
    later = home.later(DAY)
    second = later.champion("two").champion
    assert (first.sequence, second.sequence) == (1, 2)
    assert (state(home, "one"), state(home, "two")) == ("replaced", "promoted")
    assert back(later.later(DAY)) == "one"
    assert (state(home, "one"), state(home, "two")) == ("promoted", "replaced")
    with home.registry.reading() as session:
        live = [champions.at(session, "market", NOW + n * DAY / 2) for n in (-1, 0, 1, 2, 3, 4)]
        kinds = [one.kind for one in champions.history(session, "market")]
    assert [one and one.candidate_id for one in live] == [None, "one", "one", "two", "two", "one"]
    assert kinds == ["rollback", "promotion", "promotion"]


def test_promoting_twice_changes_nothing(home: House) -> None:
    """The sensor and the person who approved may both carry the decision out."""
    done = home.champion("one")
    assert done.is_new
    again = home.promote("one")
    assert not again.is_new
    assert again.champion == done.champion


def test_what_nobody_approved_is_not_promoted(home: House) -> None:
    """A candidate that goes live by itself is what the whole approval is against."""
    home.candidate("one")
    for decision in (None, "reject"):
        if decision:
            home.decide("one", decision)
        with pytest.raises(Conflict) as refused:
            home.promote("one")
        assert refused.value.code == "not_approved"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("training/checkpoints/candidate.npz", "model_altered"),
        ("evaluation/operations_summary.json", "summary_altered"),
        ("evaluation/predictions.parquet", "run_altered"),
        ("training/golden.json", "run_altered"),
        ("manifest.json", "run_altered"),
        (None, "data_altered"),
    ],
)
@pytest.mark.parametrize("when", ["before the approval", "after it"])
def test_one_changed_byte_is_refused_by_name(light: House, file: str | None, code: str, when: str) -> None:
    """Whoever can exchange a file after the evaluation could have any model promoted."""
    one = light.candidate("one")
    path = light.root / one.folder / file if file else light.root / "market_snapshots" / f"{one.bytes.data}.parquet"
    if when == "before the approval":
        flip(path)
        with pytest.raises(Conflict) as refused:
            light.decide("one", "approve")
    else:
        light.decide("one", "approve")
        flip(path)
        with pytest.raises(Conflict) as refused:
            light.promote("one")
    assert refused.value.code == code
    with light.registry.reading() as session:
        assert champions.current(session, "market") is None


def test_a_file_that_is_gone_is_told_as_such(light: House) -> None:
    """A cleaned run folder is no forgery, and the remedy is another."""
    one = light.candidate("one")
    light.decide("one", "approve")
    (light.root / one.folder / "training" / "checkpoints" / "candidate.npz").unlink()
    with pytest.raises(Conflict) as refused:
        light.promote("one")
    assert refused.value.code == "file_missing"


@pytest.mark.parametrize(
    ("actor", "code"),
    [(LAUNCHER, "same_person"), (Actor("local:bob"), "unverified_decider"), (SCHEDULE, "only_a_person")],
)
def test_who_may_not_sign(home: House, actor: Actor, code: str) -> None:
    """A launcher who approves his own model is one person deciding alone."""
    home.candidate("one")
    with pytest.raises(Forbidden) as refused:
        home.decide("one", "approve", actor=actor)
    assert refused.value.code == code
    assert state(home, "one") == "waiting"
    with home.registry.reading() as session:
        outcomes = session.execute(text("SELECT outcome FROM audit_log WHERE action = 'decide.candidate'")).scalars()
        assert list(outcomes) == ["refused"]


def test_alone_on_one_machine_the_launcher_may_sign(light: House) -> None:
    """PLMS_AUTH=disabled is a machine with one person; the record says that nobody was verified."""
    light.candidate("one")
    done = light.decide("one", "approve", actor=Actor("local:ann"), auth_disabled=True)
    assert done.candidate.state == "approved"
    assert done.record["reviewer_verified"] is False


def test_only_the_risk_lead_signs_what_goes_live(light: House) -> None:
    """The playbook: deployment only after the risk lead has signed."""
    light.candidate("one")
    with pytest.raises(Forbidden) as refused:
        light.decide("one", "approve", role="portfolio_manager")
    assert refused.value.code == "needs_risk_lead"
    assert light.decide("one", "request_retrain", role="portfolio_manager").candidate.state == "retrain_requested"


@pytest.mark.parametrize(
    ("blocking", "alerts", "data_ok", "code", "capped"),
    [
        (("sharpe_after_costs_is_more_than_noise",), (), True, "gates_failed", "gates_failed"),
        (("limit:turnover_above_limit",), ("turnover_above_limit",), True, "caps_needed", None),
        (("limit:turnover_rate_unknown",), ("turnover_rate_unknown",), True, "gates_failed", "gates_failed"),
        ((), (), False, "data_anomaly", "data_anomaly"),
    ],
)
def test_what_its_evaluation_forbids(
    light: House, blocking: tuple[str, ...], alerts: tuple[str, ...], *, data_ok: bool, code: str, capped: str | None
) -> None:
    """Caps mend a limit on a book; nothing mends a model that is noise, or data that are wrong."""
    candidate = light.candidate("one", blocking=blocking, alerts=alerts, data_ok=data_ok)
    with pytest.raises(Conflict) as refused:
        light.decide("one", "approve")
    assert refused.value.code == code
    # Each reason once: caps are not asked for where they mend nothing.
    for word, only in (("approve", code), ("approve_with_caps", capped)):
        found = judged(candidate, decision=word, now=light.clock.now())
        assert [one.code for one in found] == [one for one in (only,) if one is not None]
    if capped is None:
        done = light.decide("one", "approve_with_caps", caps={"max_turnover": 0.5})
        assert light.promote("one").champion.caps == {"max_turnover": 0.5}
        assert done.record["alerts_seen"] == ["turnover_above_limit"]
        assert done.record["escalation_path"][-1] == "risk_lead: sign-off"
        return
    with pytest.raises(Conflict) as refused:
        light.decide("one", "approve_with_caps", caps={"max_turnover": 0.5})
    assert refused.value.code == capped


def test_a_halt_stops_the_family_until_a_person_lifts_it(home: House) -> None:
    """A halt that ends by itself is no halt."""
    home.candidate("one")
    home.candidate("two", seed=8)
    home.decide("two", "approve")
    home.decide("one", "halt", role="data_engineering", actor=Actor("local:eve"))
    with pytest.raises(Conflict) as refused:
        home.promote("two")
    assert refused.value.code == "promotion_halted"
    with home.registry.reading() as session:
        (halt,) = switches.open_halts(session, "market")
    lifting = {"reason": "feeds are right", "places": home.places, "clock": home.clock, "ids": home.ids}
    with pytest.raises(Forbidden):
        lift_halt(home.registry, halt_id=halt.halt_id, actor=SCHEDULE, **lifting)  # type: ignore[arg-type]
    lift_halt(home.registry, halt_id=halt.halt_id, actor=REVIEWER, **lifting)  # type: ignore[arg-type]
    with pytest.raises(Conflict) as refused:
        lift_halt(home.registry, halt_id=halt.halt_id, actor=REVIEWER, **lifting)  # type: ignore[arg-type]
    assert refused.value.code == "halt_lifted"
    assert home.promote("two").is_new
    # What was halted may be decided about anew.
    assert home.decide("one", "approve").record["supersedes"] is not None


def test_nothing_is_promoted_while_guardrails_are_off(home: House) -> None:
    """A new model without limits is the worst of both."""
    home.candidate("one")
    home.decide("one", "approve")
    turning = {"actor": REVIEWER, "places": home.places, "clock": home.clock, "ids": home.ids}
    turn_guardrails(home.registry, enabled=False, reason="testing", **turning)  # type: ignore[arg-type]
    with pytest.raises(Conflict) as refused:
        home.promote("one")
    assert refused.value.code == "guardrails_off"
    turn_guardrails(home.registry, enabled=True, reason="tested", **turning)  # type: ignore[arg-type]
    assert home.promote("one").is_new


@pytest.mark.parametrize(
    ("minute", "bad"),
    [
        ({"requests": 1000, "errors": 6}, True),
        ({"requests": 1000, "errors": 5}, False),
        ({"requests": 100, "slow_750": 6}, True),
        ({"requests": 100, "slow_750": 5}, False),
        ({"guardrail_requests": 100, "slow_250": 6}, True),
        ({"trades_evaluated": 1000, "violations": 4}, True),
        ({"trades_evaluated": 1000, "violations": 3}, False),
        ({"requests": 10, "errors": 1}, False),
    ],
)
def test_nothing_is_promoted_while_service_levels_are_broken(
    light: House, minute: dict[str, int], *, bad: bool
) -> None:
    """Whoever changes the model while serving fails cannot tell afterwards which of the two it was."""
    light.candidate("one")
    light.decide("one", "approve")
    with light.registry.writing() as session:
        session.add(ServingMinute(family="market", minute=NOW - timedelta(minutes=5), **minute))
    if not bad:
        assert light.promote("one").is_new
        return
    with pytest.raises(Conflict) as refused:
        light.promote("one")
    assert refused.value.code == "slo_breached"


def test_a_model_that_disagrees_with_itself_is_not_promoted(light: House) -> None:
    """Another library that computes features differently changes no byte of any file."""
    light.candidate("one")
    with pytest.raises(Conflict) as refused:
        light.decide("one", "approve", golden={"market": lambda *_: ("AAA at noon: score was 1 and is 2",)})
    assert refused.value.code == "golden_failed"
    with pytest.raises(Conflict) as refused:
        light.decide("one", "approve", golden={})
    assert refused.value.code == "golden_failed"


def test_time_approves_nothing(home: House) -> None:
    """A candidate that nobody looked at must not go live because everybody was on holiday."""
    home.candidate("one")
    home.candidate("two", seed=8)
    home.decide("two", "approve")
    late = home.later(15 * DAY)
    with pytest.raises(Conflict) as refused:
        late.decide("one", "approve")
    assert refused.value.code == "candidate_expired"
    with pytest.raises(Conflict) as refused:
        late.promote("two")
    assert refused.value.code == "candidate_expired"
    assert expire(home.registry, clock=home.clock) == ()
    assert set(expire(home.registry, clock=late.clock)) == {"one", "two"}
    assert (state(home, "one"), state(home, "two")) == ("expired", "expired")
    assert expire(home.registry, clock=late.clock) == ()


def test_the_record_lies_beside_the_summary_and_in_the_log(light: House) -> None:
    """A decision that nobody finds beside the numbers is taken a second time."""
    one = light.candidate("one")
    done = light.decide("one", "approve", reason="fine | <b>really</b>\nsecond line")
    folder = light.root / one.folder / "evaluation"
    kept = json.loads((folder / "approval.json").read_text())
    assert kept == done.record
    assert {"checkpoint_sha256", "operations_summary_sha256", "reviewer", "role", "rationale", "escalation_path", "caps",
            "alerts_seen", "decided_at", "supersedes", "run_id", "decision"} <= set(kept)  # fmt: skip
    assert "<b>" not in (folder / "approval.md").read_text()
    log = (light.places.reports / "models" / "decision_log.md").read_text()  # type: ignore[operator]
    assert sum(line.startswith("| 2026") for line in log.splitlines()) == 1
    (folder / "approval.json").unlink()
    assert rewrite(light.registry, light.places) == 1
    assert json.loads((folder / "approval.json").read_text()) == kept
    assert light.promote("one").is_new


def test_a_signature_is_asked_for_where_a_key_is_set(light: House) -> None:
    """Whoever can write rows but holds no key must not be able to approve."""
    key = "0123456789abcdef"
    light.candidate("one")
    light.decide("one", "approve")
    with pytest.raises(Conflict) as refused:
        light.promote("one", key=key)
    assert refused.value.code == "not_signed"
    light.candidate("two", seed=8)
    light.decide("two", "approve", key=key)
    with pytest.raises(Conflict) as refused:
        light.promote("two", key="another key of 16")
    assert refused.value.code == "bad_signature"
    assert light.promote("two", key=key).is_new


def test_a_decision_is_given_once(home: House) -> None:
    """Two people at two screens must not both believe that theirs counts."""
    home.candidate("one")
    home.decide("one", "reject")
    with pytest.raises(Conflict) as refused:
        home.decide("one", "approve")
    assert refused.value.code == "already_decided"


def test_an_approval_can_be_taken_back_until_it_serves(light: House) -> None:
    """What is approved on Friday and regretted before the sensor ran must stay down."""
    light.candidate("one")
    first = light.decide("one", "approve")
    assert light.decide("one", "reject").record["supersedes"] == first.decision_id
    with pytest.raises(Conflict):
        light.promote("one")


def test_another_summary_than_was_shown_is_not_approved(light: House) -> None:
    """A page that was opened yesterday shows yesterday's numbers."""
    light.candidate("one")
    with pytest.raises(Conflict) as refused:
        light.decide("one", "approve", evidence_sha256="0" * 64)
    assert refused.value.code == "evidence_changed"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"decision": "promote"}, "unknown_decision"),
        ({"decision": "approve", "role": "boss"}, "unknown_role"),
        ({"decision": "approve", "reason": " "}, "missing_reason"),
        ({"decision": "approve", "caps": {"max_turnover": 1.0}}, "caps_not_asked"),
        ({"decision": "approve_with_caps"}, "caps_missing"),
        ({"decision": "approve_with_caps", "caps": {"max_fun": 1.0}}, "unknown_cap"),
        ({"decision": "approve_with_caps", "caps": {"max_turnover": float("nan")}}, "bad_cap"),
        ({"decision": "approve_with_caps", "caps": {"max_turnover": -1}}, "bad_cap"),
    ],
)
def test_what_cannot_be_decided(light: House, given: dict[str, object], code: str) -> None:
    """A misspelt cap that is dropped in silence is no cap."""
    light.candidate("one")
    with pytest.raises(BadInput) as refused:
        light.decide("one", **given)  # type: ignore[arg-type]
    assert refused.value.code == code


def test_trials_are_counted_and_not_believed(home: House) -> None:
    """Whoever tries twenty experiments and tells of the best has been lucky."""
    one = home.candidate("one")
    assert one.trials == 1
    data = one.bytes.data
    assert trials_of(home.registry, "market", data, [trial(one.bytes.experiment)]) == 1
    assert trials_of(home.registry, "market", data, [trial("f" * 64)]) == 2
    assert trials_of(home.registry, "market", data, [trial("f" * 64)], at_least=9) == 9
    assert trials_of(home.registry, "market", "e" * 64, [trial("f" * 64)]) == 1
    # Judged as if it were the only one, while another had been registered.
    two = home.candidate("two", seed=8, trials=1)
    assert (two.trials, two.gates_passed) == (2, False)
    with pytest.raises(Conflict) as refused:
        home.decide("two", "approve")
    assert refused.value.code == "gates_failed"


def test_the_database_keeps_the_bytes_of_a_candidate_and_the_history(home: House) -> None:
    """Whoever reaches the database past the program must not be able to have another model promoted."""
    home.champion("one")
    for statement in (
        f"UPDATE candidates SET model_sha256 = '{'0' * 64}'",
        "DELETE FROM candidates",
        "UPDATE champions SET candidate_id = 'two'",
        "DELETE FROM champions",
        "UPDATE candidates SET state = 'fine'",
    ):
        with pytest.raises(DBAPIError), home.registry.writing() as session:
            session.execute(text(statement))


def test_rolling_back_twice_goes_back_two_steps(light: House) -> None:
    """A second rollback that brings back the model that was just taken down is what nobody means."""
    for name in ("one", "two", "three"):
        light.champion(name)
    assert [back(light), back(light)] == ["two", "one"]
    with pytest.raises(Conflict) as refused:
        back(light)
    assert refused.value.code == "nothing_before"
    assert back(light, to="three") == "three"
    for to, code in (("three", "already_serving"), ("four", "never_served")):
        with pytest.raises(PlmsError) as wrong:
            back(light, to=to)
        assert wrong.value.code == code


def test_an_altered_champion_does_not_come_back(light: House) -> None:
    """A rollback in a hurry must not serve what nobody judged."""
    one = light.champion("one").champion
    light.champion("two")
    flip(light.root / one.folder / "training" / "checkpoints" / "candidate.npz")
    with pytest.raises(Conflict) as refused:
        back(light)
    assert refused.value.code == "model_altered"
    assert state(light, "two") == "promoted"


def test_registering_twice_is_one_candidate(home: House) -> None:
    """A retried step of an orchestrator must not count as a second trial."""
    trained = train_on_disk(home.root, "one", clock=home.clock)
    from plms_pipeline.models.actions.candidates import register

    first, again = (register(home.registry, trained, actor=LAUNCHER, clock=home.clock, expiry=DAY) for _ in range(2))
    assert first == again


def test_who_is_not_there_is_named(light: House) -> None:
    """A typing error must not look like a refusal."""
    with pytest.raises(NotFound, match="plms model list"):
        light.decide("nobody", "approve")


def test_of_two_that_saw_the_same_champion_one_promotes(home: House) -> None:
    """Without the unique sequence both would believe that theirs serves, and the history would have two truths."""
    done = home.champion("one").champion
    with pytest.raises(Conflict) as refused, home.registry.writing() as session:
        champions.add(
            session, promotion_id="another", family="market", sequence=done.sequence, kind="promotion", candidate_id="one",
            hashes=(done.model_sha256, done.evaluation_sha256, done.data_sha256), caps=None,
            decision_id=done.decision_id, promoted_at=NOW, promoted_by="eve",
        )  # fmt: skip
    assert refused.value.code == "champion_changed"


def test_what_happens_between_the_look_and_the_commit_is_seen(home: House) -> None:
    """Files are hashed without a transaction: whoever promotes or decides meanwhile must not be overwritten."""
    for name in ("one", "two", "three"):
        home.candidate(name)
        home.decide(name, "approve")

    def meanwhile(deed: str) -> dict[str, object]:
        def golden(*_: object) -> tuple[str, ...]:
            if deed == "promote":
                home.promote("one")
            else:
                home.decide("three", "reject")
            return ()

        return {"market": golden}

    assert home.promote("two", golden=meanwhile("promote")).champion.sequence == 2
    with pytest.raises(Conflict) as refused:
        home.promote("three", golden=meanwhile("reject"))
    assert refused.value.code == "not_approved"
    assert [state(home, name) for name in ("one", "two", "three")] == ["replaced", "promoted", "rejected"]


def test_a_clock_that_goes_back_makes_no_moment_with_two_champions(light: House) -> None:
    """What was live at a moment is one answer, whatever the machine's clock did."""
    first = light.champion("one").champion
    second = light.later(-DAY).champion("two").champion
    assert second.promoted_at == first.promoted_at
    with light.registry.reading() as session:
        now, before = champions.at(session, "market", NOW), champions.at(session, "market", NOW - DAY / 2)
    assert now is not None
    assert (now.candidate_id, before) == ("two", None)
