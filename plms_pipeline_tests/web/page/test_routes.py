"""Does the page get what its contracts promise, as the endpoints for one project tell it, and only from whoever may ask?"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from plms_pipeline.access.actors import local_actor
from plms_pipeline.access.principals import unchecked
from plms_pipeline.access.roles import ROLES
from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions import views
from plms_pipeline.runs.actions.runway import budget_runway
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline.web.page import contracts, inbox
from plms_pipeline.web.page.files import assets
from plms_pipeline.web.page.routes.files import POLICY
from plms_pipeline_tests.api_world import World, ask, world
from plms_pipeline_tests.models.candidates import house
from plms_pipeline_tests.web.page.worlds import control_room, run_name

CONTRACTS: dict[str, type[BaseModel]] = {
    "/api/page/about": contracts.About, "/api/page/projects": contracts.PageProjects,
    "/api/page/portfolio": contracts.PagePortfolio, "/api/page/risk": contracts.PageRisk,
    "/api/page/drift": contracts.PageDrift, "/api/page/runs": contracts.PageRuns, "/api/inbox": contracts.Inbox,
}  # fmt: skip
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HMI = Path(__file__).resolve().parents[3] / "docs" / "hmi.md"


@pytest.fixture(scope="module")
def furnished(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a working day in it, to copy from."""
    path = tmp_path_factory.mktemp("furnished") / "registry.db"
    shutil.copyfile(migrated_sqlite, path)
    registry = Registry.open(f"sqlite:///{path}")
    control_room(registry, NOW, projects=6)
    registry.close()
    with closing(sqlite3.connect(path)) as books:
        books.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def settings_below(folder: Path) -> Settings:
    settings = load_settings({"PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports")})
    settings.data_dir.mkdir(parents=True)
    return settings


@pytest.fixture(scope="module")
def served(furnished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An application over it, for all who only look."""
    yield from _served(furnished, tmp_path_factory.mktemp("served"))


@pytest.fixture
def changed(furnished: Path, tmp_path: Path) -> Iterator[World]:
    """One of one's own."""
    yield from _served(furnished, tmp_path)


def _served(furnished: Path, folder: Path) -> Iterator[World]:
    settings = settings_below(folder)
    shutil.copyfile(furnished, settings.data_dir / "registry.db")
    registry = Registry.open(settings.database_url)
    yield world(settings, registry, FrozenClock(NOW))
    registry.close()


def got(served: World, path: str, role: str = "viewer", **options: Any) -> Any:
    answer = ask(served.app, "GET", path, headers=served.headers(role), **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_both_databases_keep_the_contracts(settings: Settings, registry: Registry, clock: FrozenClock) -> None:
    """What one of them tells as text the other one tells as a number, and a page shows neither."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    control_room(registry, clock.now(), projects=1)
    served = world(settings, registry, clock)
    for path, contract in CONTRACTS.items():
        told = got(served, path)
        assert (
            known(contract.model_validate(told).model_dump(mode="json", by_alias=True)).keys() == known(told).keys()
        ), path


def known(value: Any) -> Any:
    """A JSON value without its nulls."""
    if isinstance(value, dict):
        return {name: known(inner) for name, inner in value.items() if inner is not None}
    return [known(inner) for inner in value] if isinstance(value, list) else value


def test_every_answer_keeps_its_contract(served: World) -> None:
    """Whoever builds on docs/hmi.md meets what stands there."""
    for path, contract in CONTRACTS.items():
        contract.model_validate(got(served, path))
    assert len(got(served, "/api/page/projects")["projects"]) == 10
    assert {lane["lane_id"] for lane in got(served, "/api/page/risk")["lanes"]} == {4200, 4201, 4202, 5100, 5101}
    assert got(served, "/api/page/drift")["lanes"][0]["trend"] in ("improving", "stable", "degrading")
    assert sum(gate["failed"] for run in got(served, "/api/page/runs")["runs"] for gate in run["gates"]) > 0


def test_the_examples_of_the_document_are_those_of_the_page_about_it(
    settings: Settings, sqlite_registry: Registry, clock: FrozenClock
) -> None:
    """Examples are what people copy; an example that is not valid is copied too."""
    told = {path: json.loads(block) for path, block in
            re.findall(r"^### `GET (\S+)`$.*?^```json\n(.*?)^```$", HMI.read_text(encoding="utf-8"), re.S | re.M)}  # fmt: skip
    assert told.keys() == CONTRACTS.keys()
    document = ask(world(settings, sqlite_registry, clock).app, "GET", "/openapi.json").json()
    for path, contract in CONTRACTS.items():
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        (example,) = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"]
        # FastAPI leaves nulls out of its document.
        assert known(told[path]) == known(example), path
        contract.model_validate(told[path])


def test_a_project_stands_on_the_page_as_its_own_endpoints_tell_it(served: World) -> None:
    """Two numbers for one runway, and nobody believes either."""
    registry, clock = served.state.registry, served.state.clock
    shown = {one["project_id"]: one for one in got(served, "/api/page/projects")["projects"]}
    cells = {row["project_id"]: row["cells"] for row in got(served, "/api/page/risk")["projects"]}
    for number in (1, 2, 4, 6, 801, 802):
        alone = budget_runway(registry, number, clock=clock)
        there = shown[number]
        assert there["left"] == alone["left"]
        for part in ("budget", "runway"):
            assert there[part].keys() == alone[part].keys()
            for name, value in alone[part].items():
                assert there[part][name] == (None if value is None else pytest.approx(value)), (number, name)
        assert there["runway_status"] in (None, alone["status"])
        for cell, lane in zip(cells.get(number, []), views.risk_heatmap(registry, number)["lanes"], strict=True):
            for name in ("lane_id", "estimation_risk", "execution_risk", "validation_risk"):
                assert cell[name] == lane[name], (number, name)
            assert {key: cell["signals"][key] for key in ("mae_pct", "ci_width_pct")} == {
                key: lane["signals"][key] for key in ("mae_pct", "ci_width_pct")
            }
    drift = views.estimation_drift(registry, 1, lane_id=4200)
    (lane,) = (one for one in got(served, "/api/page/drift")["lanes"] if one["lane_id"] == 4200)
    assert (lane["history"], lane["trend"]) == (drift["history"], drift["trend"])


def test_only_what_is_asked_for_is_told_and_what_is_gone_is_named(served: World) -> None:
    """A page that keeps a finished project shows a runway that nobody burns."""
    told = got(served, "/api/page/projects?project_id=3&project_id=900&project_id=7777")
    assert [one["project_id"] for one in told["projects"]] == [3]
    assert told["gone"] == [900, 7777]
    assert told["projects"][0]["is_paused"] is True


def test_the_inbox_holds_one_of_everything_and_says_who_may(served: World) -> None:
    """What waits for a person and is shown to nobody waits for ever."""
    found = got(served, "/api/inbox", role="viewer")["items"]
    assert {item["kind"] for item in found} == set(inbox.KINDS) - {"ungated_lane"}
    assert not any(action["may"] for item in found for action in item["actions"])
    for role in ("operator", "approver", "admin"):
        for item in got(served, "/api/inbox", role=role)["items"]:
            for action in item["actions"]:
                assert action["may"] == (action["scope"] in ROLES[role]), (role, item["kind"], action["name"])


def test_a_breach_that_asks_is_shown_once_with_what_was_measured(served: World) -> None:
    """As one more paused project it had a button for operators, and nothing of the money that an approver is asked about."""
    found = got(served, "/api/inbox", role="approver")
    (item,) = (one for one in found["items"] if one["project_id"] == 805)
    assert (item["kind"], found["counts"]["budget_breach"]) == ("budget_breach", 1)
    assert {line["label"]: (line["value"], line["unit"]) for line in item["lines"]} == {
        "Spent": (5.2, "USD"), "Budget": (7.0, "USD"), "Expected in the end": (9.1, "USD"), "At least (90 %)": (8.4, "USD"),
        "At most (90 %)": (11.3, "USD"), "Over by": (2.1, "USD"), "Over the budget by": (30.0, "%"),
        "Tasks left": (3, "tasks"),
    }  # fmt: skip
    assert [(one["name"], one["may"]) for one in item["actions"]] == [("go_on", True), ("stop", True)]
    assert got(served, item["look"])["budget"]["usd_max"] == 7.0


def test_a_model_that_waits_is_shown_with_what_is_decided_about(served: World) -> None:
    """Whoever approves it without its alerts and its digest signs what he has not seen."""
    found = got(served, "/api/inbox", role="approver")
    good, bad = sorted(
        (one for one in found["items"] if one["kind"] == "candidate"), key=lambda one: -len(one["actions"])
    )
    assert found["counts"]["candidate"] == 2
    assert (good["asked_by"], good["since"]) == ("ana@example.com", "2026-03-01T08:48:00+00:00")
    assert {line["label"]: line["value"] for line in bad["lines"]} == {
        "Recommended": "risk review", "Gates": "failed", "Kept from going live by": "deflated_sharpe, limit:max_turnover",
        "Alerts": "limit:max_turnover", "Experiments on the same data": 2, "Trained because": "weekly",
        "Who asked for it": "not verified", "Decide until": "2026-03-15T08:48:00+00:00",
        "SHA-256 of its summary": "2" * 64,
    }  # fmt: skip
    told = {line["label"]: line["value"] for line in good["lines"]}
    assert (told["Recommended"], told["Gates"], told["Who asked for it"]) == ("promote", "passed", None)
    assert [one["name"] for one in good["actions"]] == ["approve", "request_retrain", "reject"]
    assert [one["name"] for one in bad["actions"]] == ["request_retrain", "reject"]
    assert all(one["binds_evidence"] and one["asks_reason"] for one in (*good["actions"], *bad["actions"]))
    assert good["actions"][0]["body"] == {"decision": "approve", "role": "risk_lead"}
    seen = got(served, bad["look"])
    assert (seen["candidate"]["candidate_id"], seen["evidence_sha256"]) == (bad["subject"], "2" * 64)


def test_a_model_is_approved_in_the_inbox_and_serves(changed: World) -> None:
    """A button that is shown and always refused sends people to the terminal."""
    settings, registry = changed.state.settings, changed.state.registry
    made = house(registry, settings.data_dir.parent).candidate(run_name(9300))
    (item,) = (
        one for one in got(changed, "/api/inbox", role="approver")["items"] if one["subject"] == made.candidate_id
    )
    (approve,) = (one for one in item["actions"] if one["name"] == "approve")

    def sent(digest: str, who: str) -> tuple[int, Any]:
        body = {**approve["body"], "reason": "holds out of sample", "evidence_sha256": digest}
        answer = ask(changed.app, "POST", approve["path"], headers=changed.headers("approver", who), json=body)
        return answer.status_code, answer.json()

    digest = got(changed, item["look"])["evidence_sha256"]
    assert sent("0" * 64, "bob")[1]["code"] == "evidence_changed"
    assert sent(digest, "ann")[1]["code"] == "same_person"
    status, done = sent(digest, "bob")
    assert (status, done["champion"]["candidate_id"]) == (200, made.candidate_id), done
    assert item["id"] not in [one["id"] for one in got(changed, "/api/inbox")["items"]]


def test_a_breach_that_asks_is_answered_by_approvers_and_about_what_was_shown(changed: World) -> None:
    """An operator who resumes it would spend what an approver is asked about; an old answer would meet a new breach."""
    at = "/api/projects/805"

    def tried(path: str, role: str, body: Any = None) -> tuple[int, str]:
        answer = ask(changed.app, "POST", f"{at}/{path}", headers=changed.headers(role), json=body)
        return answer.status_code, answer.json().get("code", "")

    said = {"answer": "stop", "reason": "too much"}
    assert tried("budget-breach/answer", "operator", said)[0] == 403
    assert tried("resume", "operator") == (409, "breach_waits")
    assert tried("budget-breach/answer", "approver", {**said, "episode_id": "e-804"}) == (409, "breach_changed")
    assert tried("budget-breach/answer", "approver", {"answer": "maybe", "reason": "x"})[0] == 422
    assert tried("budget-breach/answer", "approver", {"answer": "stop"})[0] == 422
    assert tried("budget-breach/answer", "approver", {**said, "episode_id": "e-805"})[0] == 200
    assert tried("budget-breach/answer", "approver", said) == (409, "breach_answered")
    assert tried("resume", "operator")[0] == 200
    assert tried("budget-breach/answer", "approver", said)[1] == "breach_answered"
    left = got(changed, "/api/inbox")["items"]
    assert not [one for one in left if one["project_id"] == 805]


def test_whoever_asked_is_told_that_another_person_decides(served: World) -> None:
    """The button would only ever be refused."""
    headers = served.headers("admin", "ana@example.com")
    items = {item["kind"]: item for item in ask(served.app, "GET", "/api/inbox", headers=headers).json()["items"]}
    approve, *others = items["candidate"]["actions"]
    assert (approve["may"], [one["may"] for one in others]) == (False, [True, True])
    assert "another person" in approve["why_not"]
    for kind in ("project_approval", "kpi_override"):
        assert all(not action["may"] and "another person" in action["why_not"] for action in items[kind]["actions"])
    assert items["lane_review"]["actions"][0]["may"]


def test_every_action_of_the_inbox_is_taken_by_its_endpoint(changed: World) -> None:
    """A button that sends what nobody understands is found when it matters."""
    chosen = {"budget_breach": "go_on", "project_approval": "approve", "kpi_override": "approve", "failed_run": "request",
              "paused_project": "resume", "candidate": "reject", "lane_review": "apply"}  # fmt: skip
    for kind, name in chosen.items():
        item = next(one for one in got(changed, "/api/inbox", role="admin")["items"] if one["kind"] == kind)
        (action,) = (one for one in item["actions"] if one["name"] == name)
        body = dict(action["body"] or {}) | {field["name"]: field["value"] for field in action["fields"]}
        if action["asks_reason"]:
            body["reason"] = "as agreed"
        if action["binds_evidence"]:
            body["evidence_sha256"] = got(changed, item["look"], role="admin")["evidence_sha256"]
        who = "ana@example.com" if kind == "failed_run" else None
        answer = ask(changed.app, "POST", action["path"], headers=changed.headers("admin", who), json=body or None)
        assert answer.status_code == 200, (kind, answer.text)
        left = [one["id"] for one in got(changed, "/api/inbox", role="admin")["items"]]
        assert item["id"] not in left, kind
    letters = {
        item["lines"][2]["value"]: item
        for item in got(changed, "/api/inbox", role="admin")["items"]
        if item["kind"] == "dead_letter"
    }
    assert [action["name"] for action in letters["TRANSIENT"]["actions"]] == ["retry", "mark_permanent"]
    (reset,) = letters["PERMANENT"]["actions"]
    told = ask(
        changed.app,
        "POST",
        reset["path"],
        headers=changed.headers("operator"),
        json={**reset["body"], "reason": "it is back"},
    )
    assert told.status_code == 200, told.text


def test_the_page_is_open_and_its_policy_is_strict(served: World) -> None:
    """Whoever signs in must see where; and whatever is put into a name must never run."""
    for path in ("/", "/page/page.js", "/page/page.css", "/page/icon.svg"):
        answer = ask(served.app, "GET", path)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = ask(served.app, "GET", path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert "unsafe" not in POLICY
    assert ask(served.app, "GET", "/page/../settings.py").status_code in (400, 404)
    assert ask(served.app, "GET", "/page/nothing.js").json()["code"] == "not_found"
    assert ask(served.app, "POST", "/").status_code == 405


def test_the_page_needs_nobody_else() -> None:
    """In a machine room without a way out it must work as well; and nothing in it may become markup."""
    for name, asset in assets().items():
        text = asset.body.decode()
        addresses = set(re.findall(r"""(?:https?:)?//[a-z0-9][a-z0-9.-]+""", text)) - {
            "http://www.w3.org",
            "//www.w3.org",
        }
        assert not addresses, (name, addresses)
        if name.endswith(".js"):
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function|style=", text
            ), name
            for module in re.findall(r'from "\./([^"]+)"', text):
                assert module in assets(), (name, module)
    index = assets()["index.html"].body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=|\sstyle=", index)
    for name in re.findall(r'"/page/([^"]+)"', index):
        assert name in assets()


def test_a_browser_changes_something_only_from_our_page(
    settings: Settings, sqlite_registry: Registry, clock: FrozenClock
) -> None:
    """Without a token every page that the user visits could stop the house, or start it."""
    open_world = world(settings, sqlite_registry, clock, everybody=unchecked(local_actor()))
    ours = {
        "Host": "127.0.0.1:6100",
        "Origin": "http://127.0.0.1:6100",
        "Sec-Fetch-Site": "same-origin",
        "X-PLMS-Page": "1",
    }

    def tried(**changed: str | None) -> str:
        headers = {name: value for name, value in {**ours, **changed}.items() if value is not None}
        answer = ask(open_world.app, "POST", "/api/killswitch/off", headers=headers, json={"reason": "x"})
        return "done" if answer.status_code == 200 else str(answer.json()["code"])

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    assert tried() == "done"
    assert tried(Origin="http://evil.example") == "cross_origin"
    assert tried(**{"Sec-Fetch-Site": "cross-site"}) == "cross_origin"
    assert tried(Host="evil.example") == "host_not_allowed"
    assert tried(**{"X-PLMS-Page": None}) == "not_from_the_page"
    assert tried(**{"Content-Type": "text/plain"}) == "not_from_the_page"
    assert tried(Origin=None, **{"Sec-Fetch-Site": None, "X-PLMS-Page": None}) == "done"


def test_a_stream_is_refused_without_a_token_and_never_counts_as_slow(served: World) -> None:
    """The names of all projects are in it; and an hour of listening is nobody's latency."""
    assert ask(served.app, "GET", "/api/events").status_code == 401
    served.state.extras["is_ending"] = lambda: True
    told = ask(served.app, "GET", "/api/events", headers=served.headers("viewer"))
    del served.state.extras["is_ending"]
    assert told.headers["content-type"].startswith("text/event-stream")
    assert told.headers["x-accel-buffering"] == "no"
    assert told.text.startswith("id: ")
    assert "\nevent: hello\n" in told.text
