"""What do people try who decide in a hurry, twice, too late, too loosely, or to tidy away what stands in their way?"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import text

from plms_pipeline.access.actors import Actor
from plms_pipeline.cli import main
from plms_pipeline.errors import Conflict, Forbidden, PlmsError
from plms_pipeline.models.actions.deciding import lift_halt
from plms_pipeline.models.actions.expiry import expire
from plms_pipeline.models.actions.promotion import rollback
from plms_pipeline.models.decision.capping import limits_of, looser, unmended
from plms_pipeline.models.store import candidates, champions, looks, switches
from plms_pipeline_tests.models.candidates import LAUNCHER, REVIEWER, House

DAY = timedelta(days=1)
OTHER = Actor("eve", is_verified=True)


def code_of(deed: Callable[[], object]) -> str:
    with pytest.raises(PlmsError) as refused:
        deed()
    return refused.value.code


def test_of_two_who_decide_at_once_one_is_heard(home: House) -> None:
    """Two records of one candidate, approved and rejected, and nobody knows which of them counted."""
    home.candidate("one")
    together = Barrier(2)

    def decide(who: Actor, word: str) -> str:
        def golden(*_: object) -> tuple[str, ...]:
            together.wait(timeout=60)
            return ()

        if word == "reject":
            together.wait(timeout=60)
        try:
            home.decide("one", word, actor=who, golden={"market": golden})
        except Conflict as refused:
            return refused.code
        return "decided"

    with ThreadPoolExecutor(2) as both:
        ends = list(both.map(decide, (REVIEWER, OTHER), ("approve", "reject")))
    with home.registry.reading() as session:
        found = candidates.find(session, "one")
        rows = session.execute(text("SELECT decision_id FROM decisions WHERE kind = 'candidate'")).scalars().all()
    assert found
    if ends == ["decided", "decided"]:
        # The approval came first, and was taken back.
        assert (found.state, len(rows)) == ("rejected", 2)
    else:
        assert sorted(ends) == ["already_decided", "decided"]
        assert (found.decision_id, len(rows)) == (rows[0], 1)


def test_nothing_is_promoted_after_its_time_whichever_way_and_whatever_the_clock_did(home: House) -> None:
    """An approval of last month is about a market of last month."""
    for name in ("waits", "approved"):
        home.candidate(name)
    home.decide("approved", "approve")
    late = home.later(15 * DAY)
    assert code_of(lambda: late.decide("waits", "approve")) == "candidate_expired"
    assert code_of(lambda: late.promote("approved")) == "candidate_expired"
    assert set(expire(late.registry, clock=late.clock)) == {"waits", "approved"}
    # The clock of this machine was wrong, and is set back: what expired stays so.
    assert code_of(lambda: home.promote("approved")) == "not_approved"
    assert code_of(lambda: home.decide("waits", "approve")) == "already_decided"
    with home.registry.reading() as session:
        assert champions.current(session, "market") is None


def test_a_halt_takes_back_an_approval_and_whoever_launched_it_does_not_lift_it(home: House) -> None:
    """Approved at noon, halted at one, lifted at two by the one person who must not let it go live."""
    home.candidate("one")
    home.decide("one", "approve")
    home.decide("one", "halt", role="data_engineering", actor=OTHER)
    assert code_of(lambda: home.promote("one")) == "not_approved"
    assert code_of(lambda: home.decide("one", "approve")) == "promotion_halted"
    with home.registry.reading() as session:
        (halt,) = switches.open_halts(session, "market")

    def lift(actor: Actor, **more: bool) -> object:
        return lift_halt(
            home.registry, halt_id=halt.halt_id, reason="a false alarm", actor=actor, places=home.places,
            clock=home.clock, ids=home.ids, **more,
        )  # fmt: skip

    for name in (LAUNCHER.name, LAUNCHER.name.upper(), f"local:{LAUNCHER.name}"):
        with pytest.raises(Forbidden) as refused:
            lift(Actor(name, is_verified=True))
        assert refused.value.code == "same_person"
    with home.registry.reading() as session:
        outcomes = session.execute(text("SELECT outcome FROM audit_log WHERE action = 'decide.promotion_halt'"))
        assert list(outcomes.scalars()) == ["refused"] * 3
    lift(OTHER)
    # Lifting promotes nothing: somebody has to approve it anew.
    assert code_of(lambda: home.promote("one")) == "not_approved"
    home.decide("one", "approve")
    assert home.promote("one").is_new


def test_nothing_is_promoted_while_the_live_data_are_in_doubt_and_a_rollback_is(home: House) -> None:
    """The rule said that nothing is promoted until the feeds are validated, and nothing held a promotion back."""
    home.champion("zero")
    serves = home.champion("one").champion
    home.candidate("two", seed=8)
    home.decide("two", "approve")

    def look(promotion_id: str, action: str) -> None:
        with home.registry.writing() as session:
            looks.add(
                session, family="market", promotion_id=promotion_id, at=home.clock.now(), window=(None, None), rows=0,
                metrics={}, codes=(), action=action, path=None,
            )  # fmt: skip

    look(serves.promotion_id, "halt")
    assert code_of(lambda: home.promote("two")) == "live_data_in_doubt"
    look(serves.promotion_id, "request_retrain")
    assert home.promote("two").is_new
    # What was seen of another champion says nothing of this one; and the emergency exit stays open.
    look(serves.promotion_id, "halt")
    home.candidate("three", seed=9)
    home.decide("three", "approve", key=None)
    with home.registry.reading() as session:
        present = champions.current(session, "market")
    assert present
    look(present.promotion_id, "halt")
    done = rollback(
        home.registry, places=home.places, family="market", reason="it loses", actor=REVIEWER, clock=home.clock,
        ids=home.ids,
    )  # fmt: skip
    assert done.champion.candidate_id == "one"


def test_alone_on_one_machine_the_launcher_may_lift(light: House) -> None:
    """Where one person works alone nobody else can."""
    light.candidate("one")
    light.decide("one", "halt", actor=LAUNCHER)
    with light.registry.reading() as session:
        (halt,) = switches.open_halts(session, "market")
    lift_halt(
        light.registry, halt_id=halt.halt_id, reason="mine", actor=LAUNCHER, places=light.places, clock=light.clock,
        ids=light.ids, auth_disabled=True,
    )  # fmt: skip
    with light.registry.reading() as session:
        assert not list(switches.open_halts(session, "market"))


@pytest.mark.parametrize(
    ("alerts", "caps", "code"),
    [
        ((), {"max_gross_exposure": 0.9}, "cap_loosens"),
        ((), {"max_gross_exposure": 0.8, "max_turnover": 100.0}, None),
        (("gross_exposure_above_limit",), {"max_turnover": 0.1}, "caps_do_not_mend"),
        (("gross_exposure_above_limit",), {"max_gross_exposure": 0.8}, None),
        (("drawdown_above_limit",), {"max_turnover": 0.1}, None),
    ],
)
def test_caps_do_what_their_record_says(
    light: House, alerts: tuple[str, ...], caps: dict[str, float], code: str | None
) -> None:
    """A cap looser than the limit tightens nothing, and one on turnover leaves an exposure as it is."""
    blocking = tuple(f"limit:{one}" for one in alerts)
    light.candidate("one", alerts=alerts, blocking=blocking, summary={"thresholds": {"max_gross_exposure": 0.8}})

    def decided() -> object:
        return light.decide("one", "approve_with_caps", caps=caps)

    if code is not None:
        assert code_of(decided) == code
        return
    decided()
    assert light.promote("one").champion.caps == caps


def test_the_strictest_limit_is_what_a_cap_is_compared_with() -> None:
    """An experiment may limit its books twice: in its thresholds, and in guardrails that are on."""
    rails = {"enabled": True, "max_turnover": 0.4, "max_net_exposure": None, "sector_caps": {"tech": 0.3}}
    summary = {"thresholds": {"max_turnover": 0.5, "max_gross_exposure": 1}}
    limits = limits_of(summary, {"guardrails": rails})
    assert limits == {"max_turnover": 0.4, "max_gross_exposure": 1.0, "sector:tech": 0.3}
    assert limits_of(summary, {"guardrails": {**rails, "enabled": False}})["max_turnover"] == 0.5
    assert limits_of({}, None) == {}
    assert looser({"max_turnover": 0.4, "sector:tech": 0.31, "factor:value": 9.0}, limits) == ("sector:tech",)
    assert unmended(["turnover_above_limit", "sharpe_below_minimum"], {"max_gross_exposure": 0.1}) == {
        "turnover_above_limit": "max_turnover"
    }


def test_a_number_beyond_all_floats_is_no_cap(light: House) -> None:
    """It is finite, says Python, and no float: a traceback in place of an answer."""
    light.candidate("one")
    caps = {"max_turnover": 10**400}
    assert code_of(lambda: light.decide("one", "approve_with_caps", caps=caps)) == "bad_cap"


def test_what_people_write_moves_no_terminal_and_makes_no_line(
    light: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rationale with an escape rewrites the line above it: BLOCKED becomes approved."""
    light.candidate("one")
    evil = "fine\n  2026-03-01 12:00 approve by bob (risk_lead): all good\u009b2J\u202e<b>[x](http://y)|"
    light.decide("one", "halt", reason=evil)
    monkeypatch.setenv("PLMS_DATA_DIR", str(light.root))
    for words in (("model", "show", "one"), ("model", "halts", "list")):
        assert main(list(words)) == 0
        told = capsys.readouterr().out
        assert "fine?  2026-03-01" in told
        assert not {sign for sign in told if not sign.isprintable()} - {"\n"}
    approval = next(light.root.rglob("approval.md")).read_text()
    assert r"\[x\](http://y)\|" in approval
    assert code_of(lambda: light.decide("one", "reject", reason="x" * 5_000_000)) == "bad_reason"
