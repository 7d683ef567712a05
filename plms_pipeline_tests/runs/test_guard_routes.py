"""Guards and kill switch over HTTP: who may, what is kept, and what happens while the registry is away."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import Unavailable
from plms_pipeline.portfolio import files
from plms_pipeline.portfolio.actions import switches
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry, Decision
from plms_pipeline.settings import Settings
from plms_pipeline_tests.api_world import World, ask, world
from plms_pipeline_tests.runs.worlds import PROVIDERS, planned_project


class Executor:
    """What a start asks of an executor."""

    def provider_state(self) -> Any:
        return SimpleNamespace(providers=dict(PROVIDERS))

    def health(self) -> Any:
        return SimpleNamespace(capabilities=("cancel_card",))


WRITES = (
    ("/api/guards/enforce", "operator"),
    ("/api/guards/launch:3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11/finish", "operator"),
    ("/api/guards/reset", "admin"),
    ("/api/killswitch/on", "admin"),
    ("/api/killswitch/off", "admin"),
    ("/api/killswitch/resume", "admin"),
)
LADDER = ("viewer", "operator", "approver", "admin")


@pytest.fixture
def api(settings: Settings, registry: Registry, clock: FrozenClock) -> World:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    planned_project(registry)
    return world(settings.model_copy(update={"qps_limit": 1000.0}), registry, clock, pas=Executor)


def call(api: World, method: str, path: str, role: str = "admin", **body: Any) -> httpx.Response:
    api.state.clock = FrozenClock(api.state.clock.now() + timedelta(seconds=1))  # one start per second
    return ask(api.app, method, path, headers=api.headers(role, "ann"), **({"json": body} if method == "POST" else {}))


def audited(api: World, action: str) -> list[tuple[str, str]]:
    with api.state.registry.reading() as session:
        rows = session.scalars(select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id))
        return [(row.actor, row.outcome) for row in rows]


@pytest.mark.one_database
@pytest.mark.parametrize(("path", "least"), WRITES)
def test_only_who_holds_the_scope_moves_a_guard(api: World, path: str, least: str) -> None:
    """An operator who could turn the switch off, or empty the count, would be bound by nothing."""
    for role in LADDER:
        answer = call(api, "POST", path, role, **({"reason": "r"} if least == "admin" else {}))
        assert (answer.status_code == 403) == (LADDER.index(role) < LADDER.index(least)), (role, answer.text)
    assert call(api, "POST", path, "pas", reason="r").status_code == 403
    assert ask(api.app, "POST", path, json={"reason": "r"}).status_code == 401


def test_a_lease_is_taken_refused_and_settled(api: World) -> None:
    """The answers a scheduler of somebody else needs: a lease, when to ask again, and what was overdrawn."""
    leases = [call(api, "POST", "/api/guards/enforce", "operator", cost_usd="10").json()["lease"] for _ in range(3)]
    full = call(api, "POST", "/api/guards/enforce", "operator", cost_usd="10")
    assert (full.status_code, full.json()["code"]) == (429, "concurrency_limited")
    assert int(full.headers["retry-after"]) >= 1
    told = call(api, "GET", "/api/guards", "viewer").json()
    assert told["concurrency"] == {"taken": 3, "limit": 3}
    assert (told["budget"]["reserved_usd"], {one["holder"] for one in told["leases"]}) == ("30", {"http:ann"})
    done = call(api, "POST", f"/api/guards/{leases[0]}/finish", "operator", spent_usd="12.5")
    assert done.json() == {"lease": leases[0], "overrun_usd": "2.5", "ended": None}
    again = call(api, "POST", f"/api/guards/{leases[0]}/finish", "operator")
    assert (again.status_code, again.json()["code"]) == (404, "lease_not_found")
    dear = call(api, "POST", "/api/guards/enforce", "operator", cost_usd="40")
    assert (dear.status_code, dear.json()["code"]) == (409, "budget_exceeded")
    assert call(api, "POST", "/api/guards/reset", reason="rebuilt").json() == {
        "places": 2,
        "freed_usd": "20",
        "kept_runs": [],
    }
    assert audited(api, "guard.reset") == [("ann", "done")]
    late = call(api, "POST", f"/api/guards/{leases[1]}/finish", "operator", spent_usd="4").json()
    assert (late["overrun_usd"], late["ended"][:21]) == ("4", "reset by ann: rebuilt")
    assert call(api, "GET", "/api/guards", "viewer").json()["budget"]["settled_usd"] == "16.5"
    assert [outcome for _, outcome in audited(api, "guard.enforce")] == [
        "passed", "passed", "passed", "concurrency_limited", "budget_exceeded",
    ]  # fmt: skip


@pytest.mark.one_database
@pytest.mark.parametrize("cost", ["-1", "nan", "inf", "0.0000001", True, "1e99", []])
def test_what_is_no_amount_is_told_so(api: World, cost: Any) -> None:
    """A cost that is read as nothing passes every budget."""
    assert call(api, "POST", "/api/guards/enforce", cost_usd=cost).status_code == 422
    assert call(api, "GET", "/api/guards").json()["concurrency"]["taken"] == 0


def test_a_switch_is_a_decision_that_stops_starts_until_it_is_off(api: World) -> None:
    """Whoever stops a project at night must find in the morning who did, why, and that nothing began meanwhile."""
    on = call(api, "POST", "/api/killswitch/on", reason="runaway spend", scope="project", subject=42).json()
    told = {"scope": "project", "subject": "42", "on": True, "changed": True, "flag_file": False, "still_on": []}
    assert on == told
    assert not call(api, "POST", "/api/killswitch/on", reason="again", scope="project", subject=42).json()["changed"]
    [row] = call(api, "GET", "/api/killswitch", "viewer").json()["switches"]
    assert (row["subject"], row["reason"], row["by"]) == ("42", "runaway spend", "ann")
    start = ask(
        api.app, "POST", "/api/projects/42/start", json={},
        headers={**api.headers(), "Idempotency-Key": "7d9f3f0e-1111-4222-8333-444455556666"},
    )  # fmt: skip
    assert (start.status_code, start.json()["code"]) == (409, "killswitch_on")
    [left] = call(api, "POST", "/api/killswitch/off", reason="all").json()["still_on"]
    assert (left["scope"], left["subject"], left["reason"]) == ("project", "42", "runaway spend")
    off = call(api, "POST", "/api/killswitch/off", reason="found", scope="project", subject=42).json()
    assert (off["on"], off["changed"]) == (False, True)
    assert call(api, "POST", "/api/killswitch/resume", reason="go on").json() == {"runs": 0, "cards": 0}
    with api.state.registry.reading() as session:
        kept = session.execute(select(Decision.kind, Decision.decision, Decision.actor, Decision.reason)).all()
    assert [tuple(one) for one in kept] == [
        ("kill_switch", "on", "ann", "runaway spend"), ("kill_switch", "off", "ann", "found"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"scope": "project", "subject": 4711, "reason": "r"}, 404),
        ({"scope": "lane", "reason": "r"}, 400),
        ({"subject": 42, "reason": "r"}, 400),
        ({"reason": " "}, 422),
        ({}, 422),
        ({"reason": "r", "scope": "galaxy"}, 422),
        ({"reason": "r", "scop": "project"}, 422),
    ],
)
def test_a_switch_that_means_nothing_switches_nothing(api: World, body: dict[str, Any], status: int) -> None:
    """A misspelt scope must neither stop everything nor leave somebody believing that it stopped something."""
    assert call(api, "POST", "/api/killswitch/on", **body).status_code == status
    assert call(api, "GET", "/api/killswitch").json() == {
        "on": False, "flag_file": None, "registry": None, "switches": [],
    }  # fmt: skip


def test_with_the_registry_away_everything_is_stopped_by_the_flag_file(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who pulls the switch during an outage of the database must not be told to come back later."""

    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("The registry does not answer.", code="registry_away")

    data_dir = api.state.settings.data_dir
    with monkeypatch.context() as patched:
        patched.setattr(switches, "turn_on", away)
        told = call(api, "POST", "/api/killswitch/on", reason="spend").json()
        assert (told["on"], told["flag_file"]) == (True, True)
        lane = call(api, "POST", "/api/killswitch/on", reason="spend", scope="lane", subject=4200)
        assert lane.status_code == 503
    assert files.flag_reason(data_dir) == "spend (ann, over HTTP)"
    assert call(api, "GET", "/api/killswitch").json()["on"]
    assert call(api, "POST", "/api/killswitch/off", reason="back").json()["flag_file"]
    assert files.flag_reason(data_dir) is None
