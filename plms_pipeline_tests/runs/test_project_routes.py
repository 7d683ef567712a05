"""Projects and decisions over HTTP, against a live server on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import World, live, world
from plms_pipeline_tests.runs.desk import NOON, Desk

PLAN: dict[str, Any] = {
    "name": "Calculator API",
    "tags": ["sample"],
    "provider": "m",
    "budget": {"usd": 2.0},
    "tasks": [
        {"key": "api", "name": "An endpoint"},
        {"key": "docs", "lane": "Code-Docs", "depends_on": ["api"], "kpi_formula": {"readability": {"<=": 8}}},
    ],
}


@pytest.fixture
def served(settings: Settings, registry: Registry) -> World:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return world(settings, registry, FrozenClock(NOON))


@pytest.fixture
def client(served: World) -> Iterator[httpx.Client]:
    with live(served.app) as found:
        yield found


class Person:
    """Somebody with a token."""

    def __init__(self, client: httpx.Client, served: World, role: str, name: str) -> None:
        self._client, self._headers = client, served.headers(role, name)

    def __call__(self, method: str, path: str, body: Any = None, expect: int = 200) -> Any:
        answer = self._client.request(method, path, json=body, headers=self._headers)
        assert answer.status_code == expect, answer.text
        return answer.json()


@pytest.fixture
def ann(client: httpx.Client, served: World) -> Person:
    return Person(client, served, "operator", "ann")


@pytest.fixture
def ben(client: httpx.Client, served: World) -> Person:
    return Person(client, served, "approver", "ben")


def test_a_project_from_its_tasks_to_its_approval(ann: Person, ben: Person) -> None:
    """The way of the sources, with their field names."""
    made = ann("POST", "/api/projects/create", PLAN, 201)
    path = f"/api/projects/{made['project_id']}"
    assert made["status"] == "planning"
    assert [(task["tmd_lane"], task["lane_source"]) for task in made["task_tree"]] == [
        (4200, "keywords"),
        (4202, "given"),
    ]
    estimated = ann("POST", f"{path}/estimate")
    assert estimated["totals"]["estimated_tokens"] == 6000
    assert estimated["task_tree"][0]["estimated_tokens"] == 3000
    assert ann("POST", f"{path}/submit")["status"] == "pending_approval"
    shown = ben("GET", path)
    assert shown["tasks"][1]["kpi_formula"] == {"readability": {"<=": 8}}
    assert [shown["forecast"]["effort"]["tokens"][end] for end in ("low", "high")] == estimated["totals"]["ci_90"][
        "tokens"
    ]
    terms = {
        "budget_tokens_max": 25_000, "budget_cost_usd_max": 2.0, "breach_policy": "ask",
        "quality_slo": {"min_echo_cos": 0.82, "lane_gates": {"4201": {"min_echo_cos": 0.85}, "4202": {"min_echo_cos": 0.80}}},
        "evidence_sha256": shown["evidence_sha256"],
    }  # fmt: skip
    assert ben("POST", f"{path}/approve", terms)["status"] == "approved"
    after = ann("GET", path)
    assert (after["budget_tokens_max"], after["breach_policy"], after["status"]) == (25_000, "ask", "approved")
    assert after["quality_slo"]["lane_gates"]["4201"] == {"min_echo_cos": 0.85}
    [approval] = ann("GET", f"{path}/approvals")
    assert (approval["gate"], approval["status"], approval["approver"]) == ("budget_approval", "approved", "ben")
    [line] = ann("GET", "/api/projects?status=approved&tags=sample")["projects"]
    assert line["project_id"] == made["project_id"]
    assert "tasks" not in line
    decided = ann("GET", f"/api/decisions?subject=project:{made['project_id']}")["decisions"]
    assert [one["decision"] for one in decided] == ["approve", "request"]


def submitted(ann: Person) -> str:
    path = f"/api/projects/{ann('POST', '/api/projects/create', PLAN, 201)['project_id']}"
    ann("POST", f"{path}/estimate")
    ann("POST", f"{path}/submit", {"reason": "please"})
    return path


def test_scopes_and_the_second_person_hold(ann: Person, served: World, client: httpx.Client) -> None:
    """An operator may ask, an approver may decide, and nobody both."""
    path = submitted(ann)
    assert ann("POST", f"{path}/approve", {}, 403)["code"] == "missing_scope"
    both = Person(client, served, "approver", "ann")
    assert both("POST", f"{path}/approve", {}, 403)["code"] == "same_person"
    viewer = Person(client, served, "viewer", "vic")
    assert viewer("POST", "/api/projects/create", PLAN, 403)["code"] == "missing_scope"
    assert viewer("GET", path)["status"] == "pending_approval"
    assert client.get(path).status_code == 401


def test_a_plan_that_contradicts_the_books_names_every_problem(ann: Person) -> None:
    """409, not 422: the form is right, the books say otherwise."""
    wrong = {**PLAN, "tasks": [{"key": "a", "lane": 9999}, {"key": "b", "lane": 4200, "depends_on": ["c"]}]}
    problem = ann("POST", "/api/projects/create", wrong, 409)
    assert problem["code"] == "bad_project_file"
    assert "tasks[0].lane: lane '9999' is not registered" in problem["detail"]
    assert "tasks[1]: depends_on names 'c'" in problem["detail"]
    assert ann("GET", "/api/projects")["projects"] == []


@pytest.mark.one_database
@pytest.mark.parametrize(
    "wrong",
    [
        {}, [], {"name": "x"}, {**PLAN, "tasks": []}, {**PLAN, "colour": "red"}, {**PLAN, "name": " x"},
        {**PLAN, "tasks": [{"key": "../x"}]}, {**PLAN, "budget": {"usd": -1}}, {**PLAN, "breach_policy": "shrug"},
        {**PLAN, "tasks": [{"key": "a", "command": "rm -rf /"}]},
    ],
)  # fmt: skip
def test_what_the_form_does_not_admit_is_422(ann: Person, wrong: Any) -> None:
    """Before anything is asked of the books."""
    assert ann("POST", "/api/projects/create", wrong, 422)["status"] == 422
    assert ann("GET", "/api/projects")["projects"] == []


def test_unknown_and_impossible_ids(ann: Person, ben: Person) -> None:
    """The prototype answered 200 to any id."""
    for method, path, body in (
        ("GET", "/api/projects/99", None), ("POST", "/api/projects/99/estimate", None),
        ("POST", "/api/projects/99/submit", None), ("DELETE", "/api/projects/99", None),
        ("GET", "/api/projects/99/approvals", None), ("GET", "/api/projects/99/lane-overrides", None),
    ):  # fmt: skip
        assert ann(method, path, body, 404)["code"] == "unknown_project"
    ben("POST", "/api/projects/99/approve", {}, 404)
    ann("GET", "/api/projects/0", None, 422)
    ann("GET", f"/api/projects/{2**40}", None, 422)
    ann("GET", "/api/projects/x", None, 422)
    ann("GET", "/api/projects?status=happy", None, 422)


def test_hold_and_end_have_the_sources_answers(ann: Person) -> None:
    """Pause says that a checkpoint is saved, terminate and DELETE that the project is cancelled."""
    path = submitted(ann)
    assert ann("POST", f"{path}/pause", {"reason": "wait"}) == {
        "project_id": 1, "status": "paused", "checkpoint_saved": True, "is_new": True, "runs_told": 0,
    }  # fmt: skip
    assert ann("GET", path)["pause_reason"] == "wait"
    assert [one["project_id"] for one in ann("GET", "/api/projects?status=paused")["projects"]] == [1]
    assert ann("POST", f"{path}/resume")["status"] == "pending_approval"
    assert ann("POST", f"{path}/terminate", {"reason": "enough"})["status"] == "cancelled"
    for method, end in (("POST", "/cancel"), ("DELETE", "")):
        assert ann(method, f"{path}{end}") == {"project_id": 1, "status": "cancelled", "is_new": False, "runs_told": 0}
    assert ann("POST", f"{path}/pause", None, 409)["code"] == "project_is_over"


def test_gates_are_decided_and_budgets_changed(ann: Person, ben: Person) -> None:
    """The generic gate of the sources, and PATCH as well as POST for the budget."""
    path = submitted(ann)
    assert ben("POST", f"{path}/approvals", {"status": "rejected", "reason": "too dear"})["status"] == "planning"
    ann("POST", f"{path}/submit")
    assert ben("POST", f"{path}/approvals", {"status": "approved", "reason": "fine"})["status"] == "approved"
    for method, usd in (("POST", 3.0), ("PATCH", 4.0)):
        told = ben(method, f"{path}/budget", {"budget_cost_usd_max": usd})
        assert (told["budget_updated"], told["budget_cost_usd_max"]) == (True, usd)
    ben("POST", f"{path}/budget", {"reason": "nothing"}, 400)


def test_a_lane_is_corrected(ann: Person, ben: Person) -> None:
    """The writing side of what the sources only promised."""
    path = submitted(ann)
    task = ann("GET", path)["tasks"][0]["id"]
    body = {"task_id": task, "corrected_lane": "Data-Ingest", "reason": "it fetches"}
    done = ben("POST", f"{path}/lane-overrides", body, 201)
    assert (done["predicted_lane"], done["corrected_lane"]) == (4200, 5101)
    [row] = ann("GET", f"{path}/lane-overrides")
    assert (row["task_id"], row["corrected_lane"], row["corrected_by"]) == (task, 5101, "ben")
    assert ben("POST", f"{path}/lane-overrides", {**body, "corrected_lane": 5101}, 409)["code"] == "same_lane"
    assert ben("POST", f"{path}/lane-overrides", {**body, "corrected_lane": 1}, 404)["code"] == "unknown_lane"


def test_a_verdict_is_let_pass(ann: Person, ben: Person, registry: Registry) -> None:
    """Asked by the owner, decided by another, shown to both."""
    path = submitted(ann)
    ben("POST", f"{path}/approve", {})
    desk = Desk(registry)
    desk.run(1, "run-1")
    desk.put(1, "needs_review")
    case = ben("GET", "/api/runs/run-1/kpi-override")
    assert (case["effective_verdict"], case["owner"], case["request"]) == ("failed", "ann", None)
    assert case["kpi_receipts"][0]["pass"] is False
    asked = ann("POST", "/api/runs/run-1/kpi-override/request", {"reason": "runner down", "teach": True})
    decision = {"decision": "approve", "reason": "I ran them", "evidence_sha256": asked["evidence_sha256"]}
    assert ann("POST", "/api/runs/run-1/kpi-override/decide", decision, 403)["code"] == "missing_scope"
    done = ben("POST", "/api/runs/run-1/kpi-override/decide", decision)
    assert (done["effective_verdict"], done["override_teaches"], done["project_status"]) == (
        "passed",
        True,
        "completed",
    )
    assert ben("POST", "/api/runs/run-1/kpi-override/decide", decision, 409)["code"] == "already_overridden"
    assert ben("GET", "/api/runs/nowhere/kpi-override", None, 404)["code"] == "unknown_run"


def test_a_lane_without_gates_is_accepted_by_an_administrator(ben: Person, served: World, client: httpx.Client) -> None:
    """It changes what everybody's forecasts rest on."""
    body = {"reason": "looked at"}
    assert ben("POST", "/api/lanes/6100/accept-ungated", body, 403)["code"] == "missing_scope"
    admin = Person(client, served, "admin", "root")
    assert admin("POST", "/api/lanes/6100/accept-ungated", body)["accepted"] is True
    assert admin("POST", "/api/lanes/6100/accept-ungated", body, 409)["code"] == "already_decided"
    assert admin("POST", "/api/lanes/4200/accept-ungated", body, 409)["code"] == "lane_is_gated"
    assert admin("POST", "/api/lanes/77/accept-ungated", body, 404)["code"] == "unknown_lane"
