"""Is what a stranger sends refused in words, and never answered with a position or an error of ours?

Each of these was sent to a running server first; those that it answered with 500, or as if nothing were wrong, are why the
rules exist.
"""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from typing import Any

import pytest

from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import ask
from plms_pipeline_tests.models.serving.worlds import Serving, promote, serving, trained

BAR = {
    "timestamp": "2026-01-05T00:00:00Z", "symbol": "SIM000", "open": 100, "high": 110, "low": 90, "close": 101,
    "volume": 1000,
}  # fmt: skip
TRADE = {"timestamp": "2026-01-05T00:00:00Z", "symbol": "A", "notional": 0.5}
JSON = "application/json"


@pytest.fixture
def here(settings: Settings, sqlite_registry: Registry, clock: FrozenClock) -> Serving:
    promote(sqlite_registry, trained(settings.data_dir))
    return serving(settings, sqlite_registry, clock)


def sent(here: Serving, path: str, body: bytes, kind: str = JSON, **headers: str) -> Any:
    return ask(
        here.app, "POST", path, content=body, headers={**here.headers("operator"), "Content-Type": kind, **headers}
    )


def predicted(here: Serving, *bars: dict[str, Any], **more: Any) -> Any:
    return sent(here, "/predict", json.dumps({"bars": list(bars), **more}).encode())


def judged(here: Serving, *trades: dict[str, Any]) -> Any:
    return sent(here, "/guardrails", json.dumps({"trades": list(trades)}).encode())


def test_a_sound_bar_and_a_sound_trade_are_taken(here: Serving) -> None:
    """Or all the refusals below say nothing."""
    assert predicted(here, BAR).status_code == 200
    assert judged(here, TRADE).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"{", 422, "no JSON"),
        (b'{"symbols": ["\xff"]}', 400, "UTF-8"),
        (b'{"bars":' + b"[" * 100_000, 400, "nested"),
        (b'{"last": 1' + b"0" * 5_000 + b"}", 400, "plain JSON"),
        (b"[]", 422, "not valid"),
        (b'{"last": 1, "last": 2}', 422, "'last' twice"),
    ],
)
def test_a_body_that_is_no_request_is_named_as_such(here: Serving, body: bytes, status: int, told: str) -> None:
    """`1 field is not valid: body.1.` helps nobody at three in the morning."""
    for path in ("/predict", "/guardrails"):
        answer = sent(here, path, body)
        assert (answer.status_code, told in answer.json()["detail"]) == (status, True), answer.text


def test_a_body_in_another_form_names_the_header(here: Serving) -> None:
    """The bytes are right and nobody says what is wrong with them."""
    body = json.dumps({"bars": [BAR]}).encode()
    assert "Content-Type: application/json" in sent(here, "/predict", body, "text/plain").json()["detail"]
    packed = sent(here, "/predict", gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert (packed.status_code, "not compressed" in packed.json()["detail"]) == (400, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"close": "101"}, {"volume": True}, {"close": None}, {"close": [1]}, {"close": 10**400}, {"foo": 1},
        {"timestamp": 1_767_571_200}, {"timestamp": "1767571200"}, {"timestamp": True}, {"timestamp": "0000-01-01"},
        {"timestamp": "0001-01-01T00:00:00+14:00"}, {"timestamp": "9999-12-31T23:59:59-14:00"},
        {"timestamp": "10000-01-01"}, {"symbol": ""}, {"symbol": "x" * 65}, {"symbol": 5}, {"extras": {"": 1}},
        {"extras": {" a": 1}}, {"extras": {"a": "1"}},
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_no_bar(here: Serving, wrong: dict[str, Any]) -> None:
    """What is guessed here is traded on; moments at the ends of the calendar were our own error 500."""
    answer = predicted(here, {**BAR, **wrong})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert [field["field"].split(".")[:3] for field in answer.json()["fields"]] == [["body", "bars", "0"]]


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"close": -1, "low": -2}, "non_positive_prices"), ({"low": 0}, "non_positive_prices"),
        ({"high": 1}, "high_below_low"), ({"volume": -1}, "negative_volume"), ({"volume": 1e300}, "implausible_magnitude"),
        ({"timestamp": "0001-01-01"}, "implausible_time"), ({"timestamp": "9999-12-31"}, "implausible_time"),
        ({"timestamp": "2026-12-31"}, "future_timestamp"), ({"symbol": "SIM000 "}, "unusable_symbol"),
        ({"symbol": "A\tB"}, "unusable_symbol"),
    ],
)  # fmt: skip
def test_a_bar_that_cannot_be_is_named_by_its_rule(here: Serving, wrong: dict[str, Any], rule: str) -> None:
    """A bar of the year 1 was laid under the whole history, and the answer was about another bar than the one sent."""
    answer = predicted(here, {**BAR, **wrong})
    assert (answer.status_code, answer.json()["code"]) == (422, "bars_not_valid")
    assert rule in answer.json()["detail"]


def test_the_same_moment_in_two_zones_stands_twice(here: Serving) -> None:
    """Nobody knows which of two bars of one moment is right."""
    other = {**BAR, "timestamp": "2026-01-05T01:00:00+01:00", "close": 102}
    assert "conflicting_duplicates" in predicted(here, BAR, other).json()["detail"]


@pytest.mark.parametrize("more", [{"last": True}, {"last": "1"}, {"last": 1.5}, {"limit": 0}, {"history": "yes"}])
def test_a_question_is_not_guessed_either(here: Serving, more: dict[str, Any]) -> None:
    """`history: "no"` would be true."""
    assert predicted(here, BAR, **more).json()["code"] == "validation_failed"


def test_a_history_is_wanted_or_not(here: Serving) -> None:
    """A snapshot that was named and not used would be believed to have been used."""
    answer = sent(here, "/predict", json.dumps({"snapshot": "0" * 64, "history": False}).encode())
    assert (answer.status_code, answer.json()["code"]) == (422, "two_questions")
    answer = sent(here, "/predict", b'{"history": false}')
    assert (answer.status_code, answer.json()["code"]) == (422, "no_history")


@pytest.mark.parametrize("moment", ["2026-01-05", "2026-01-05T14:30:00+01:00", "2026-01-05T14:30:00.25Z"])
def test_moments_come_back_as_every_parser_reads_them(here: Serving, moment: str) -> None:
    """`2026-01-05Z`, as daily bars were told, is a moment to nobody."""
    [row] = predicted(here, {**BAR, "timestamp": moment}).json()["predictions"]
    asked, told = datetime.fromisoformat(moment), datetime.fromisoformat(row["window_end"])
    assert told == (asked if asked.tzinfo else asked.replace(tzinfo=told.tzinfo))
    assert (told.utcoffset() or told - told).total_seconds() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"notional": 1e308}, {"notional": "1"}, {"notional": True}, {"pnl": -1e308}, {"price": 1e200},
        {"symbol": "A "}, {"symbol": "A\u202e"}, {"sector": ""}, {"sector": " tech"}, {"foo": 1},
        {"timestamp": "0001-01-01T00:00:00+14:00"}, {"timestamp": 1_767_571_200},
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_no_trade(here: Serving, wrong: dict[str, Any]) -> None:
    """Sums of the largest numbers are infinite, and "A" and "A " had a cap each."""
    answer = judged(here, {**TRADE, **wrong})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


def test_the_largest_book_that_is_taken_has_figures(here: Serving) -> None:
    """JSON knows no infinity: every figure of what the form admits is a number."""
    huge = {"timestamp": TRADE["timestamp"], "position": 1e18, "price": 1e18, "pnl": -1e18}
    answer = judged(here, *({**huge, "symbol": f"S{number}"} for number in range(500)))
    assert answer.status_code == 200
    assert answer.json()["scaled"] is True
    assert answer.json()["violations"] == []
