"""What does the model server answer, to whom, and under which name?"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.principals import unchecked
from plms_pipeline.clock import FrozenClock
from plms_pipeline.models.serving import rows
from plms_pipeline.models.training.files import load_model
from plms_pipeline.models.training.scoring import score
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import ask
from plms_pipeline_tests.models.serving.test_rows import as_rows, before
from plms_pipeline_tests.models.serving.worlds import Serving, Trained, promote, serving, snapshot, trained, turn

NAMED = ("x-plms-model-candidate", "x-plms-model-promotion", "x-plms-model-sha256")


@pytest.fixture
def registry(sqlite_registry: Registry) -> Registry:
    return sqlite_registry


@pytest.fixture
def of(settings: Settings, registry: Registry) -> Trained:
    found = trained(settings.data_dir)
    promote(registry, found)
    return found


@pytest.fixture
def here(settings: Settings, registry: Registry, clock: FrozenClock, of: Trained) -> Serving:
    return serving(settings, registry, clock)


def post(here: Serving, path: str, body: Any = None, role: str = "operator", **options: Any) -> httpx.Response:
    given = {} if body is None else {"json": body}
    return ask(here.app, "POST", path, headers=here.headers(role), **given, **options)


def bars(rows_: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "timestamp": row["timestamp"].isoformat()} for row in rows_]


def count(here: Serving, series: str, /, **labels: str) -> float | None:
    return here.server.metrics.registry.get_sample_value(series, labels)


def test_an_empty_body_scores_the_newest_bars(here: Serving, settings: Settings, of: Trained) -> None:
    """With the very numbers that the model gives: what serves is what was judged."""
    answer = post(here, "/predict").json()
    model = load_model(settings.data_dir / of.folder / "training" / "checkpoints" / "candidate.npz", of.model)
    whole = snapshot(settings.data_dir, of)
    expected = score(model, whole, k=5.0)
    assert [row["symbol"] for row in answer["predictions"]] == list(expected.symbols)
    assert [row["pred_step_1"] for row in answer["predictions"]] == expected.score.tolist()
    assert [row["position"] for row in answer["predictions"]] == expected.position.tolist()
    assert answer["unscored"] == {}
    assert answer["telemetry"]["snapshot"] == of.data


def test_new_bars_change_the_answer(here: Serving, settings: Settings, of: Trained) -> None:
    """The original scored the bars of the day on which it was started (section 6)."""
    whole = snapshot(settings.data_dir, of)
    symbol = whole.symbols[0]
    newest = [row for row in as_rows(whole) if row["symbol"] == symbol][-1]
    later = {**newest, "timestamp": newest["timestamp"].replace(year=newest["timestamp"].year + 1)}
    for name in ("open", "high", "low", "close"):
        later[name] *= 1.02
    answer = post(here, "/predict", {"bars": bars([later])}).json()
    [row] = answer["predictions"]
    assert row["symbol"] == symbol
    assert row["window_end"].startswith(str(later["timestamp"].year))
    # A year of bars is missing between them.
    assert list(answer["gaps"]) == [symbol]
    [before_it] = post(here, "/predict", {"symbols": [symbol]}).json()["predictions"]
    assert before_it["pred_step_1"] != row["pred_step_1"]


def test_bars_that_are_sent_with_their_past_need_no_snapshot(here: Serving, settings: Settings, of: Trained) -> None:
    """And give the same numbers as the snapshot's own."""
    whole = snapshot(settings.data_dir, of)
    symbol = whole.symbols[0]
    sent = bars([row for row in as_rows(whole) if row["symbol"] == symbol])
    alone = post(here, "/predict", {"bars": sent, "history": False}).json()
    assert alone["predictions"] == post(here, "/predict", {"symbols": [symbol]}).json()["predictions"]
    assert alone["telemetry"]["snapshot"] is None


def test_a_symbol_that_cannot_be_scored_is_named(here: Serving, settings: Settings, of: Trained) -> None:
    """Silence about it would be read as `no position`."""
    row = bars([as_rows(before(snapshot(settings.data_dir, of), 5))[-1]])[0]
    known = post(here, "/predict", {"bars": [row, {**row, "symbol": "NEW"}]}).json()
    assert [each["symbol"] for each in known["predictions"]] == [row["symbol"]]
    assert "features look back" in known["unscored"]["NEW"]
    alone = post(here, "/predict", {"bars": [{**row, "symbol": "NEW"}]})
    assert (alone.status_code, alone.json()["code"]) == (422, "history_too_short")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"symbols": ["NOBODY"]}, "unknown_symbol"),
        ({"snapshot": "0" * 64}, "unknown_snapshot"),
        ({"snapshot": "../x"}, "validation_failed"),
        ({"last": 0}, "validation_failed"),
        ({"bars": []}, "validation_failed"),
        ({"symbol": ["ALPHA"]}, "validation_failed"),
    ],
)
def test_what_cannot_be_scored_is_a_mistake_of_the_sender(here: Serving, body: dict[str, Any], code: str) -> None:
    """Told as 422 with a code, counted as such, and as an exception of its real class (defect 15)."""
    answer = post(here, "/predict", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    kind = "RequestValidationError" if code == "validation_failed" else "Unprocessable"
    name = "plus_ultra_service_request_exceptions_total"
    assert count(here, name, endpoint="predict", method="POST", exception=kind) == 1
    assert count(here, name, endpoint="predict", method="POST", exception="HTTPException") == 0
    assert count(here, "plus_ultra_service_requests_total", endpoint="predict", method="POST", status="422") == 1


def test_more_rows_than_are_taken_are_refused_and_more_answers_cut(
    settings: Settings, registry: Registry, clock: FrozenClock, of: Trained
) -> None:
    """The memory of the server is not the sender's."""
    here = serving(settings.model_copy(update={"model_max_rows": 2}), registry, clock)
    answer = post(here, "/predict", {"last": 10}).json()
    assert (answer["rows"], len(answer["predictions"]), answer["telemetry"]["prediction_rows"]) == (2, 2, 30)
    assert count(here, "plus_ultra_service_last_prediction_rows") == 2
    row = bars(as_rows(rows.tail(snapshot(settings.data_dir, of), 1)))
    assert post(here, "/predict", {"bars": row}).json()["code"] == "too_many_rows"


def test_guardrails_enforce_the_caps_of_the_approval(
    settings: Settings, registry: Registry, clock: FrozenClock, of: Trained
) -> None:
    """And not only those of the settings: of two the stricter holds."""
    promote(registry, of, caps={"max_gross_exposure": 0.5})
    here = serving(settings, registry, clock)
    row = {"timestamp": "2026-03-02T14:30:00Z", "symbol": "A", "notional": 2.0, "price": 5.0, "pnl": 0.1}
    answer = post(here, "/guardrails", {"trades": [row]}).json()
    assert answer["scaled"] is True
    assert answer["trades"][0]["notional"] == 0.5
    assert answer["metrics"]["gross_exposure_peak"] == 0.5
    assert ask(here.app, "GET", "/config", headers=here.headers("viewer")).json()["config"]["guardrails"][
        "max_gross_exposure"
    ] == 0.5  # fmt: skip
    assert count(here, "plus_ultra_guardrail_trades_evaluated_total") == 1
    assert count(here, "plus_ultra_guardrail_books_scaled_total") == 1


def test_a_missing_notional_is_422_and_names_the_column(here: Serving) -> None:
    """The original answered 200 with an exposure of zero (defect 5)."""
    row = {"timestamp": "2026-03-02T14:30:00Z", "symbol": "A", "position": 2.0}
    answer = post(here, "/guardrails", {"trades": [row]})
    assert (answer.status_code, answer.json()["code"]) == (422, "missing_column")
    assert "`notional`" in answer.json()["detail"]
    assert "`price`" in answer.json()["detail"]


def test_a_missing_sector_under_sector_caps_is_422(
    settings: Settings, registry: Registry, clock: FrozenClock, of: Trained
) -> None:
    """It silently disabled the caps (defect 5)."""
    here = serving(settings.model_copy(update={"model_sector_caps": "tech=0.3"}), registry, clock)
    row = {"timestamp": "2026-03-02T14:30:00Z", "symbol": "A", "notional": 2.0}
    answer = post(here, "/guardrails", {"trades": [row]})
    assert (answer.status_code, answer.json()["code"]) == (422, "missing_column")
    assert "`sector`" in answer.json()["detail"]


def test_guardrails_that_are_off_say_so_and_are_counted(here: Serving, registry: Registry) -> None:
    """An answer without violations must not look like a good book."""
    turn(registry, enabled=False, reason="A vendor sends nonsense.")
    here.server.look()
    row = {"timestamp": "2026-03-02T14:30:00Z", "symbol": "A", "notional": 9.0}
    answer = post(here, "/guardrails", {"trades": [row]}).json()
    assert (answer["enabled"], answer["scaled"], answer["violations"]) == (False, False, [])
    assert "A vendor sends nonsense." in answer["message"]
    assert count(here, "plus_ultra_guardrail_trades_unguarded_total") == 1
    assert count(here, "plus_ultra_guardrail_trades_evaluated_total") == 0
    assert count(here, "plus_ultra_guardrails_enabled", policy="service") == 0


@pytest.mark.parametrize("path", ["/predict", "/guardrails", "/health", "/config", "/nowhere", "/reload"])
def test_every_answer_names_the_model(here: Serving, path: str, of: Trained) -> None:
    """Refusals too: who compares two servers needs to know what answered."""
    method = "GET" if path in ("/health", "/config", "/nowhere") else "POST"
    answer = ask(here.app, method, path, headers=here.headers("approver"))
    served = here.server.served
    assert served is not None
    assert [answer.headers[name] for name in NAMED] == list(served.version.as_document().values())
    refused = ask(here.app, method, path)
    assert refused.headers["x-plms-model-sha256"] == of.model
    if path in ("/predict", "/guardrails", "/health", "/config", "/reload"):
        assert answer.json()["model"] == served.version.as_document()


def test_an_answer_and_its_signature_are_of_one_model(
    here: Serving, settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promotion in the middle of a request must not sign the old model's numbers with the new one's name."""
    old = here.server.served
    assert old is not None
    new = trained(settings.data_dir, 3.0)
    answered = rows.answered

    def promoted_meanwhile(*given: Any, **more: Any) -> Any:
        promote(registry, new)
        here.server.look()
        return answered(*given, **more)

    monkeypatch.setattr(rows, "answered", promoted_meanwhile)
    answer = post(here, "/predict")
    assert here.server.served is not None
    assert here.server.served.version.model_sha256 == new.model
    assert answer.json()["model"]["model_sha256"] == old.version.model_sha256
    assert answer.headers["x-plms-model-sha256"] == old.version.model_sha256


def test_reload_answers_with_what_it_loaded(here: Serving, settings: Settings, registry: Registry, of: Trained) -> None:
    """Body and headers name the new model; an empty body never goes back to an older one (defect 15)."""
    new = trained(settings.data_dir, 3.0)
    promote(registry, new)
    answer = post(here, "/reload", role="approver")
    assert answer.json()["model"]["model_sha256"] == new.model
    assert answer.headers["x-plms-model-sha256"] == new.model
    assert answer.json()["changed"] is True
    again = post(here, "/reload", {}, role="approver").json()
    assert (again["model"]["model_sha256"], again["changed"]) == (new.model, False)
    refused = post(here, "/reload", {"model_sha256": of.model}, role="approver")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_promoted")
    assert post(here, "/reload", {"checkpoint_path": "/tmp/x"}, role="approver").status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "weakest", "too_weak"),
    [
        ("POST", "/predict", "operator", "viewer"),
        ("POST", "/guardrails", "operator", "viewer"),
        ("POST", "/reload", "approver", "operator"),
        ("GET", "/config", "viewer", "pas"),
    ],
)
def test_each_endpoint_asks_for_its_scope(here: Serving, method: str, path: str, weakest: str, too_weak: str) -> None:
    """The original let everybody reload (no auth at all)."""
    assert ask(here.app, method, path).status_code == 401
    refused = ask(here.app, method, path, headers=here.headers(too_weak))
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    assert ask(here.app, method, path, headers=here.headers(weakest)).status_code == 200


def test_health_shows_the_loaded_model(here: Serving, registry: Registry, settings: Settings, of: Trained) -> None:
    """Not the configured one (defect 15), and says when another was promoted that cannot be verified."""
    told = ask(here.app, "GET", "/health").json()
    assert (told["status"], told["model"]["model_sha256"], told["has_history"]) == ("ok", of.model, True)
    new = trained(settings.data_dir, 3.0)
    (settings.data_dir / new.folder / "manifest.json").write_text("{}")
    promote(registry, new)
    here.server.look()
    told = ask(here.app, "GET", "/health").json()
    assert (told["status"], told["model"]["model_sha256"]) == ("degraded", of.model)
    assert (told["unverified"]["model_sha256"], told["unverified"]["code"]) == (new.model, "run_altered")
    assert [reason["code"] for reason in told["reasons"]] == ["run_altered"]


def test_without_a_model_it_is_alive_and_not_well(settings: Settings, registry: Registry, clock: FrozenClock) -> None:
    """A new installation has no champion; that is no reason to restart it for ever."""
    here = serving(settings, registry, clock)
    assert ask(here.app, "GET", "/healthz").status_code == 200
    health = ask(here.app, "GET", "/health")
    assert (health.status_code, health.json()["status"], health.json()["model"]) == (503, "no_model", None)
    answer = post(here, "/predict")
    assert (answer.status_code, answer.json()["code"]) == (503, "no_champion")
    assert post(here, "/guardrails").json()["model"] is None
    assert "x-plms-model-sha256" not in answer.headers


def test_with_auth_disabled_it_answers_to_loopback_names_only(
    settings: Settings, registry: Registry, clock: FrozenClock, of: Trained
) -> None:
    """Any web page that the user visits can post to 127.0.0.1."""
    here = serving(settings, registry, clock, everybody=unchecked(Actor("local:somebody", is_verified=False)))
    loopback = {"Host": "localhost:6300"}
    assert ask(here.app, "POST", "/predict", headers=loopback).status_code == 200
    assert ask(here.app, "POST", "/predict", headers={"Host": "evil.example"}).json()["code"] == "host_not_allowed"
    crossed = ask(here.app, "POST", "/predict", headers={**loopback, "Origin": "http://evil.example"})
    assert crossed.json()["code"] == "cross_origin"


def test_what_nobody_foresaw_is_counted_by_its_class(here: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """And tells nothing of our inside."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(rows, "answered", broken)
    answer = post(here, "/predict")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    name = "plus_ultra_service_request_exceptions_total"
    assert count(here, name, endpoint="predict", method="POST", exception="RuntimeError") == 1
    assert count(here, "plus_ultra_service_requests_total", endpoint="predict", method="POST", status="500") == 1


def test_strangers_make_no_series(here: Serving) -> None:
    """A label that a request can choose fills the memory of Prometheus."""
    before_it = len(here.server.metrics.exposition().splitlines())
    for path in ("/a", "/b", "/predict/x", "/metrics/y"):
        ask(here.app, "GET", path)
        ask(here.app, "PATCH", path)
    assert len(here.server.metrics.exposition().splitlines()) == before_it
    assert count(here, "plus_ultra_service_requests_total", endpoint="other", method="GET", status="404") == 4


def test_the_page_of_metrics_is_open_and_not_counted(here: Serving) -> None:
    """Prometheus has no token, and its scrapes are nobody's requests."""
    page = ask(here.app, "GET", "/metrics", headers={"Host": "127.0.0.1:6300"})
    assert page.status_code == 200
    assert 'plus_ultra_service_request_latency_seconds_bucket{endpoint="predict",le="0.75",method="POST"}' in page.text
    assert 'le="0.25"' in page.text
    assert count(here, "plus_ultra_service_requests_total", endpoint="other", method="GET", status="200") == 0


def test_the_page_of_metrics_is_told_to_allowed_names_only(here: Serving) -> None:
    """It needs no token, so a web page could have its own name resolve to us and read it; predictions need one."""
    refused = ask(here.app, "GET", "/metrics", headers={"Host": "evil.example"})
    assert (refused.status_code, refused.json()["code"]) == (403, "host_not_allowed")
    assert "PLMS_METRICS_HOSTS" in refused.json()["detail"]
    by_name = ask(here.app, "POST", "/predict", headers={**here.headers("operator"), "Host": "models.example.org"})
    assert by_name.status_code == 200


def test_the_document_names_scopes_and_answers(here: Serving) -> None:
    """Who writes a client reads it and nothing else."""
    document = ask(here.app, "GET", "/openapi.json").json()
    scopes = {
        path: operation["post" if "post" in operation else "get"].get("x-required-scope")
        for path, operation in document["paths"].items()
    }
    assert scopes == {
        "/healthz": None, "/metrics": None, "/health": None, "/config": "ops.view", "/predict": "projects.simulate",
        "/guardrails": "projects.simulate", "/reload": "approvals.write",
    }  # fmt: skip
    json.dumps(document, allow_nan=False)
