"""Dead letters over HTTP: listed, looked at, tried again, decided about, by who may."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from plms_pipeline.letters import store
from plms_pipeline.letters.rules import Failure, Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, ProjectRun
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import World, ask, world
from plms_pipeline_tests.runs.letters.test_runs import Shop
from plms_pipeline_tests.runs.worlds import PROVIDERS, planned_project

HOSTILE = "$(rm -rf /) `id` <script>alert(1)</script> connection reset by peer"


class Executor:
    def provider_state(self) -> Any:
        return SimpleNamespace(providers=dict(PROVIDERS))

    def health(self) -> Any:
        return SimpleNamespace(capabilities=("cancel_card",))


@pytest.fixture
def shop(registry: Registry) -> Shop:
    planned_project(registry)
    return Shop(registry)


@pytest.fixture
def api(shop: Shop, settings: Settings) -> World:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return world(settings, shop.registry, shop, pas=Executor)


def call(api: World, method: str, path: str, role: str = "operator", **body: Any) -> httpx.Response:
    return ask(api.app, method, path, headers=api.headers(role, "ann"), **({"json": body} if method == "POST" else {}))


def put(api: World, subject: str, reason: str = "timeout", kind: str = "effect") -> Letter:
    failure = Failure(kind=kind, subject_id=subject, reason=reason)  # type: ignore[arg-type]
    with api.state.registry.writing() as session:
        return store.put(session, failure, now=api.state.clock.now(), actor="test")


def test_a_failed_run_is_listed_and_tried_again_as_a_new_run(shop: Shop, api: World) -> None:
    """What an operator does at night from a page: see what failed and why, and start it anew under the same guards."""
    run_id = shop.failed(HOSTILE)
    told = call(api, "GET", "/api/dead-letters", "viewer").json()
    assert (told["backlog"], [one["subject_id"] for one in told["letters"]]) == (1, [run_id])
    name = told["letters"][0]["letter_id"]
    done = call(api, "POST", f"/api/dead-letters/{name}/retry").json()
    assert done["word"] == "begun", done
    shown = call(api, "GET", f"/api/dead-letters/{name}", "viewer").json()
    assert (shown["state"], list(shown["runs"].values())) == ("processing", ["FAIL", "QUEUED"])
    assert "rm -rf" in shown["reason"]
    again = call(api, "POST", f"/api/dead-letters/{name}/retry")
    assert (again.status_code, again.json()["code"]) == (409, "retry_under_way")
    with shop.registry.reading() as session:
        assert len(session.scalars(select(ProjectRun.run_id)).all()) == 2
        asked = session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "letter.retry")).all()
    assert list(asked) == ["ann"]


def test_a_letter_is_put_aside_set_apart_and_brought_back(api: World) -> None:
    """Each decision keeps who and why, and what was decided twice is told so."""
    letter = put(api, "x")
    path = f"/api/dead-letters/{letter.letter_id}"
    assert call(api, "POST", "/api/dead-letters/quarantine", reason="look", letter=letter.letter_id).json() == {
        "quarantined": [letter.letter_id]
    }
    aside = call(api, "POST", f"{path}/retry")
    assert (aside.status_code, aside.json()["code"]) == (409, "letter_put_aside")
    assert call(api, "POST", f"{path}/reset-retries", reason="fixed").json()["state"] == "ready"
    assert call(api, "POST", f"{path}/mark-permanent", reason="wrong plan").json()["state"] == "permanent"
    twice = call(api, "POST", f"{path}/mark-permanent", reason="wrong plan")
    assert (twice.status_code, twice.json()["code"]) == (409, "letter_ended")
    assert call(api, "GET", "/api/dead-letters", "viewer").json()["letters"] == []
    [listed] = call(api, "GET", "/api/dead-letters?state=permanent", "viewer").json()["letters"]
    assert listed["letter_id"] == letter.letter_id
    with api.state.registry.reading() as session:
        rows = session.execute(select(AuditEntry.action, AuditEntry.actor).where(AuditEntry.action.like("letter.%")))
        assert {tuple(row) for row in rows} == {
            ("letter.quarantine", "ann"), ("letter.reset", "ann"), ("letter.stop", "ann"),
        }  # fmt: skip


def test_what_broke_a_policy_and_what_dagster_owns_is_not_retried_here(api: World) -> None:
    """Neither would help: one must never run again, the other only Dagster can launch."""
    policy, job = put(api, "x", "policy violation: licence"), put(api, "y", kind="job")
    for letter, code in ((policy, "never_retried"), (job, "retried_by_dagster")):
        answer = call(api, "POST", f"/api/dead-letters/{letter.letter_id}/retry")
        assert (answer.status_code, answer.json()["code"]) == (409, code)
    anew = call(api, "POST", f"/api/dead-letters/{policy.letter_id}/reset-retries", reason="r", is_transient=True)
    assert anew.json()["code"] == "never_retried"


@pytest.mark.parametrize("body", [{}, {"letter": "x", "everything": True}, {"letter": "x", "fingerprint": "y"}])
def test_a_quarantine_says_what_it_means(api: World, body: dict[str, Any]) -> None:
    """The whole backlog set apart by a forgotten field would look like a quiet night."""
    letter = put(api, "x")
    answer = call(api, "POST", "/api/dead-letters/quarantine", reason="r", **body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_usage")
    assert call(api, "GET", f"/api/dead-letters/{letter.letter_id}").json()["state"] == "ready"


@pytest.mark.one_database
def test_only_who_holds_the_scope_sees_or_decides(api: World) -> None:
    """A viewer watches; the executor, which may only report, must not learn our errors or start its work anew."""
    path = f"/api/dead-letters/{put(api, 'x').letter_id}"
    for verb in ("retry", "mark-permanent", "reset-retries"):
        for role in ("viewer", "pas"):
            assert call(api, "POST", f"{path}/{verb}", role, reason="r").status_code == 403
    assert call(api, "POST", "/api/dead-letters/quarantine", "viewer", reason="r", everything=True).status_code == 403
    assert call(api, "GET", path, "pas").status_code == 403
    assert ask(api.app, "GET", path).status_code == 401
    assert call(api, "GET", "/api/dead-letters/3f2b8c1e-nobody").json()["code"] == "letter_not_found"
