"""Do terminal and HTTP do the same, each for whom it may?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from plms_pipeline.cli import main
from plms_pipeline.clock import FrozenClock
from plms_pipeline.models.actions.deciding import Places
from plms_pipeline.models.decision import answers
from plms_pipeline.models.decision.matrix import ROLES
from plms_pipeline.models.decision.words import CAPS
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables.vocabulary import CANDIDATE_STATES
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import World, ask, world
from plms_pipeline_tests.models.candidates import House, counted

# The terminal goes by the machine's clock: candidates wait then, and the frozen one stands where they still do.
NOW = datetime.now(UTC)


@pytest.fixture
def home(sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> House:
    for name, value in (("PLMS_DATA_DIR", settings.data_dir), ("PLMS_REPORTS_DIR", settings.reports_dir)):
        monkeypatch.setenv(name, str(value))
    return House(sqlite_registry, Places(settings.data_dir, settings.reports_dir), counted(), FrozenClock(NOW))


@pytest.fixture
def api(home: House, settings: Settings) -> World:
    return world(settings, home.registry, home.clock)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main(["model", *words, "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out or told.err)


def sent(api: World, method: str, path: str, scopes: str, who: str | None = None, /, **body: Any) -> tuple[int, Any]:
    options = {"json": body} if method == "POST" else {}
    answer = ask(api.app, method, f"/api/models/{path}", headers=api.headers(scopes, who), **options)
    return answer.status_code, answer.json()


def test_the_terminal_decides_promotes_and_goes_back(
    home: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the risk lead types on a machine of one person."""
    for name in ("one", "two"):
        home.candidate(name)
    code, told = said(capsys, "list", "--state", "waiting")
    assert (code, {one["candidate_id"] for one in told["candidates"]}) == (0, {"one", "two"})
    signing = ("--role", "risk_lead", "--reason", "holds")
    code, told = said(capsys, "decide", "one", "approve", *signing)
    assert (code, told["error"]["code"]) == (1, "unverified_decider")
    monkeypatch.setenv("PLMS_AUTH", "disabled")
    code, told = said(capsys, "decide", "one", "approve", *signing)
    assert (code, told["champion"]["sequence"]) == (0, 1)
    code, told = said(capsys, "decide", "two", "approve_with_caps", "--cap", "max_turnover=0.5", "--leave", *signing)
    assert (code, told["champion"], told["candidate"]["caps"]) == (0, None, {"max_turnover": 0.5})
    assert said(capsys, "promote", "two")[1]["is_new"] is True
    assert said(capsys, "promote", "two")[1]["is_new"] is False
    code, told = said(capsys, "show", "two")
    assert (code, told["blockers"], told["recommendation"]["action"]) == (0, [], "promote")
    code, told = said(capsys, "rollback", "--reason", "it loses")
    assert (code, told["champion"]["candidate_id"], told["champion"]["kind"]) == (0, "one", "rollback")
    code, told = said(capsys, "history")
    assert [one["candidate_id"] for one in told["history"]] == ["one", "two", "one"]
    past = (NOW - timedelta(days=1)).isoformat()
    assert said(capsys, "history", "--at", past)[0] == 3
    assert said(capsys, "history", "--at", "yesterday")[1]["error"]["code"] == "bad_moment"
    assert said(capsys, "expire") == (0, {"expired": []})


def test_the_terminal_halts_and_lifts_and_turns_guardrails(home: House, capsys: pytest.CaptureFixture[str]) -> None:
    """To stop takes nobody else."""
    home.candidate("one")
    code, _ = said(capsys, "decide", "one", "halt", "--role", "data_engineering", "--reason", "the feed stands still")
    assert code == 0
    code, told = said(capsys, "halts", "list")
    (halt,) = told["halts"]
    assert told["guardrails"]["enabled"] is True
    assert said(capsys, "halts", "lift", halt["halt_id"], "--reason", "it moves")[0] == 0
    assert said(capsys, "halts", "lift", halt["halt_id"], "--reason", "it moves")[1]["error"]["code"] == "halt_lifted"
    assert said(capsys, "guardrails", "off", "--reason", "a replay")[1]["enabled"] is False
    assert said(capsys, "halts", "list")[1]["guardrails"]["reason"] == "a replay"
    assert (
        said(capsys, "guardrails", "on", "--reason", "over", "--family", "weather")[1]["error"]["code"]
        == "unknown_family"
    )


@pytest.mark.parametrize("words", [("list",), ("show", "one"), ("history",), ("halts", "list"), ("expire",)])
def test_people_can_read_what_the_terminal_says(
    home: House, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """A traceback in the only form that people look at is found by nobody's machine."""
    home.champion("one")
    assert main(["model", *words]) == 0
    out = capsys.readouterr().out
    assert ("one" in out) == (words[0] not in ("halts", "expire"))


def test_an_empty_list_says_so(home: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing at all was printed: did it answer?"""
    assert main(["model", "list", "--state", "expired"]) == 0
    assert "There is no such candidate" in capsys.readouterr().out


def test_http_asks_for_the_right_person(home: House, api: World) -> None:
    """A scope is not a second person, and a second person needs the scope."""
    home.candidate("one")
    approval = {"decision": "approve", "role": "risk_lead", "reason": "holds"}
    assert sent(api, "POST", "candidates/one/decide", "operator", "bob", **approval)[0] == 403
    status, told = sent(api, "POST", "candidates/one/decide", "approver", "ann", **approval)
    assert (status, told["code"]) == (403, "same_person")
    status, told = sent(api, "POST", "candidates/one/decide", "approver", "bob", **approval)
    assert (status, told["champion"]["candidate_id"], told["record"]["reviewer_verified"]) == (200, "one", True)
    status, told = sent(api, "POST", "candidates/one/decide", "approver", "bob", **approval)
    assert (status, told["code"]) == (409, "already_decided")
    assert sent(api, "POST", "candidates/one/promote", "approver", "bob")[1]["is_new"] is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"decision": "approve", "caps": {"max_turnover": 1}},
        {"decision": "approve_with_caps"},
        {"decision": "approve_with_caps", "caps": {}},
        {"decision": "approve_with_caps", "caps": {"max_fun": 1}},
        {"decision": "approve_with_caps", "caps": {"max_turnover": -1}},
        {"decision": "approve_with_caps", "caps": {"max_turnover": True}},
        {"decision": "approve_with_caps", "caps": {"max_turnover": "0.5"}},
        {"decision": "approve", "role": "boss"},
        {"decision": "promote"},
    ],
)
def test_http_refuses_by_its_schema_what_cannot_be_decided(home: House, api: World, wrong: dict[str, Any]) -> None:
    """A program that follows the schema must never be told that its body makes no sense."""
    home.candidate("one")
    body = {"role": "risk_lead", "reason": "holds"} | wrong
    assert sent(api, "POST", "candidates/one/decide", "approver", "bob", **body)[0] == 422


def test_the_schema_knows_every_role_and_cap() -> None:
    """A role that the terminal knows and HTTP does not is found by the person who has it."""
    assert get_args(answers.Role) == ROLES
    assert get_args(answers.CandidateState) == CANDIDATE_STATES
    form = TypeAdapter(answers.CapName)
    assert [form.validate_python(name) for name in (*CAPS, "sector:tech")] == [*CAPS, "sector:tech"]


def test_http_names_the_states_that_there_are(home: House, api: World) -> None:
    """A state that is misspelt was answered with an empty list: nothing waits, it seemed."""
    home.candidate("one")
    assert len(sent(api, "GET", "candidates?only=waiting", "viewer")[1]) == 1
    assert sent(api, "GET", "candidates?only=wating", "viewer")[0] == 422


def test_http_approves_under_caps(home: House, api: World) -> None:
    """The caps of the body are the caps of the champion."""
    home.candidate("one")
    body = {"decision": "approve_with_caps", "role": "risk_lead", "reason": "half", "caps": {"sector:tech": 0.5}}
    assert sent(api, "POST", "candidates/one/decide", "approver", "bob", **body)[1]["champion"]["caps"] == body["caps"]


def test_http_shows_what_there_is(home: House, api: World) -> None:
    """The page and programs read the same."""
    home.champion("one")
    assert [one["candidate_id"] for one in sent(api, "GET", "candidates?only=promoted", "viewer")[1]] == ["one"]
    assert sent(api, "GET", "candidates/one", "viewer")[1]["decisions"][0]["decision"] == "approve"
    assert sent(api, "GET", "candidates/nobody", "viewer")[0] == 404
    assert [one["sequence"] for one in sent(api, "GET", "market/history", "viewer")[1]] == [1]
    assert sent(api, "GET", "market/history?at=2020-01-01T00:00:00Z", "viewer") == (200, [])
    assert sent(api, "GET", "weather/history", "viewer")[0] == 422
    assert sent(api, "GET", "market/history?at=0.5", "viewer")[0] == 422
    status, told = sent(api, "POST", "market/rollback", "approver", "bob", reason="it loses")
    assert (status, told["code"]) == (409, "nothing_before")


def test_http_stops_and_lets_go_on(home: House, api: World) -> None:
    """Guardrails are the administrators', halts the approvers'."""
    home.candidate("one")
    halting = {"decision": "halt", "role": "data_engineering", "reason": "the feed"}
    assert sent(api, "POST", "candidates/one/decide", "approver", "bob", **halting)[0] == 200
    (halt,) = sent(api, "GET", "market/halts", "viewer")[1]["halts"]
    status, told = sent(api, "POST", f"halts/{halt['halt_id']}/lift", "approver", "bob", reason="it moves")
    assert (status, told["lifted_by"]) == (200, "bob")
    assert sent(api, "POST", "market/guardrails", "approver", "bob", enabled=False, reason="x")[0] == 403
    assert sent(api, "POST", "market/guardrails", "admin", "eve", enabled=False, reason="x")[1]["enabled"] is False
