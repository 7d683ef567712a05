"""The door's look-ups and its audit log."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.roles import ROLES
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline.web.demands import Facts, KnownRun, Question
from plms_pipeline.web.door.service import guarded, looking_up, noting
from plms_pipeline.web.guard import Event
from plms_pipeline_tests.web.asgi import ask
from plms_pipeline_tests.web.doors import ALLOWED, HOST, JSON, OURS
from plms_pipeline_tests.web.outcomes import document_of
from plms_pipeline_tests.web.test_guard import Behind

pytestmark = pytest.mark.one_database
ADA = Principal("ada", ROLES["operator"], is_verified=True, role="operator")


class History:
    """Dagster's, with one of each."""

    def run(self, run_id: str) -> tuple[str, dict[str, str]] | None:
        return ("nightly", {"a": "b"}) if run_id == "r" else None

    def backfill_job(self, backfill_id: str) -> str | None:
        return "purge" if backfill_id == "b" else None

    def job_tags(self, job: str) -> dict[str, str]:
        return {"plms/exclusive": job}


def test_what_is_not_found_is_not_known() -> None:
    """And so counts as the strictest."""
    question = Question(frozenset({"r", "x"}), frozenset({"b", "y"}), frozenset({"nightly"}))
    facts = asyncio.run(looking_up(History())(question))  # type: ignore[arg-type]  # what it asks of it
    assert facts == Facts(
        {"r": KnownRun("nightly", {"a": "b"})}, {"b": "purge"}, {"nightly": {"plms/exclusive": "nightly"}}
    )


def test_who_was_refused_and_who_changed_what_stands_in_the_audit_log(
    sqlite_registry: Registry, clock: FrozenClock
) -> None:
    """An auditor asks for both."""
    note = noting(sqlite_registry, clock)
    asyncio.run(note(Event(ADA, "launchRun", "let_through", None, "10.0.0.1")))
    asyncio.run(note(Event(None, "ui GET /runs", "host_not_allowed", 403, None)))
    with sqlite_registry.reading() as session:
        rows = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [(row.actor, row.action, row.subject, row.outcome) for row in rows] == [
        ("ada", "ui.mutation", "launchRun", "let_through"),
        ("anonymous", "http.refused", "ui GET /runs", "host_not_allowed"),
    ]


def test_without_a_registry_the_ui_works_and_the_log_has_it(
    settings: Settings, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    """`plms ui` is opened before `plms db upgrade`; looking must not make an empty registry either."""
    registry = Registry.open(settings.database_url)
    with caplog.at_level(logging.WARNING):
        asyncio.run(noting(registry, clock)(Event(ADA, "launchRun", "let_through", None, None)))
    assert "event=not_audited subject='launchRun'" in caplog.text
    assert not (settings.data_dir / "registry.db").exists()
    registry.close()


def door(settings: Settings, registry: Registry, clock: FrozenClock, behind: Any, **changes: str) -> Any:
    webserver: Any = SimpleNamespace(app=behind, history=History())
    environ = {"PLMS_DATA_DIR": str(settings.data_dir), "PLMS_REPORTS_DIR": str(settings.reports_dir), **changes}
    return guarded(webserver, load_settings(environ), registry, ALLOWED, clock)


def test_the_settings_decide_who_comes_in(sqlite_registry: Registry, settings: Settings, clock: FrozenClock) -> None:
    """Without keys, with nobody signing in, and behind a proxy."""
    behind = Behind()
    launch = document_of("launchRun", {"executionParams": {"selector": {"jobName": "nightly"}}})
    asked = ("POST", "/graphql", [HOST, JSON, OURS], launch)
    plain = door(settings, sqlite_registry, clock, behind)
    assert ask(plain, *asked).code == "sign_in_needed"
    assert ask(plain, "GET", "/runs", [HOST]).status == 200
    shut = door(settings, sqlite_registry, clock, behind, PLMS_UI_NAMELESS="refuse")
    assert ask(shut, "GET", "/runs", [HOST]).code == "sign_in_needed"
    everybody = door(settings, sqlite_registry, clock, behind, PLMS_AUTH="disabled")
    assert ask(everybody, *asked).status == 200
    assert behind.headers["x-plms-actor-verified"] == "no"
    proxy = {"PLMS_PROXY_USER_HEADER": "X-User", "PLMS_PROXY_ADDRESSES": "10.0.0.7", "PLMS_PROXY_ROLES": "*=operator"}
    proxied = door(settings, sqlite_registry, clock, behind, **proxy)
    named = ("POST", "/graphql", [HOST, JSON, OURS, ("x-user", "ada")], launch)
    assert ask(proxied, *named, peer="10.0.0.7").status == 200
    assert (behind.headers["x-plms-actor"], behind.headers["x-plms-actor-verified"]) == ("ada", "yes")
    assert ask(proxied, *named, peer="10.0.0.8").code == "proxy_not_trusted"
    with pytest.raises(BadInput, match="PLMS_AUTH=disabled"):
        door(settings, sqlite_registry, clock, behind, PLMS_AUTH="disabled", **proxy)
