"""The Dagster UI as each role sees it, on one server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.projects import project
from plms_pipeline_tests.runs.desk import Desk
from plms_pipeline_tests.ui.conftest import PAGE_TIMEOUT_MS
from plms_pipeline_tests.ui.houses import LOCATION, Ui, playground

pytestmark = pytest.mark.ui

ASSET = "kpi_pass_rates"
REFUSED = """job => fetch("/graphql", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({
  query: "mutation($e: ExecutionParams!) { launchRun(executionParams: $e) { __typename } }",
  variables: {e: {runConfigData: "{}", selector: {repositoryLocationName: "LOCATION", repositoryName: "__repository__",
    jobName: job}}}})}).then(answer => answer.json())""".replace("LOCATION", LOCATION)


def materialize(page: Any, ui: Ui) -> Any:
    ui.visit(page, f"/assets/{ASSET}")
    button = page.get_by_role("button", name="Materialize").first
    button.wait_for()
    return button


def launched(page: Any, ui: Ui, job: str, config: dict[str, Any]) -> dict[str, Any]:
    """Fill in a Launchpad, press the button, and wait for the run's end."""
    run_id = ui.launch(page, job, config)
    ui.ended(run_id)
    return next(run for run in ui.runs() if run["runId"] == run_id)


def test_who_has_not_signed_in_looks_on_and_signs_in_with_a_token(ui: Ui, page: Any, screenshots: Path) -> None:
    """The pages open for everybody; what changes something is grey, and says where to sign in."""
    button = materialize(page, ui)
    page.wait_for_timeout(1_000)
    assert button.is_disabled()
    assert page.evaluate(REFUSED, "lane_review")["code"] == "sign_in_needed"
    page.goto(f"{ui.url}/login?next=/assets/{ASSET}")
    page.screenshot(path=str(screenshots / "sign-in.png"))
    page.get_by_label("Token").fill("no.such.token")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Token").fill(ui.tokens["viewer"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**/assets/{ASSET}*")
    assert ui.tokens["viewer"] not in page.url
    assert page.evaluate("document.cookie") == ""
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("plms_session", True, "Strict")

    # A viewer sees every page and launches nothing.
    page.get_by_role("button", name="Materialize").first.wait_for()
    page.wait_for_timeout(1_000)
    assert page.get_by_role("button", name="Materialize").first.is_disabled()
    ui.visit(page, "/overview")
    page.get_by_text("Overview").first.wait_for()
    ui.visit(page, f"/locations/{LOCATION}/jobs")
    page.get_by_text("approve_project").first.wait_for()
    ui.visit(page, playground("lane_review"))
    page.wait_for_url(lambda url: "playground" not in url)
    assert page.evaluate(REFUSED, "lane_review")["code"] == "missing_scope"
    page.goto(f"{ui.url}/login")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Token").wait_for()
    assert page.context.cookies() == []


def test_an_operator_launches_and_decides_nothing_and_an_approver_decides(
    ui: Ui, prepared: Path, page: Any, screenshots: Path
) -> None:
    """The Launchpad of a job is there for who may launch it; a second person's approval counts because they signed in."""
    from playwright.sync_api import expect

    desk = Desk(Registry.open(f"sqlite:///{prepared / 'registry.db'}"))
    waiting = desk.submitted().id
    ui.sign_in(page, "operator")
    # A button is grey until the page knows what its reader may do.
    expect(materialize(page, ui)).to_be_enabled(timeout=PAGE_TIMEOUT_MS)
    run = launched(page, ui, "lane_review", {})
    assert (run["status"], run["tags"]["plms/actor"], run["tags"]["plms/actor_role"]) == (
        "SUCCESS",
        "a-operator",
        "operator",
    )
    ui.visit(page, playground("approve_project"))
    page.wait_for_url(lambda url: "playground" not in url)
    refused = page.evaluate(REFUSED, "approve_project")
    assert (refused["code"], refused["detail"]) == (
        "missing_scope", "Missing scope: approvals.write (launchRun; you are a-operator, operator).",
    )  # fmt: skip

    ui.sign_in(page, "approver")
    config = {"project_id": waiting, "decision": "approve", "reason": "within plan"}
    run = launched(page, ui, "approve_project", {"ops": {"decide_project": {"config": config}}})
    assert (run["status"], run["tags"]["plms/actor_verified"]) == ("SUCCESS", "yes")
    page.screenshot(path=str(screenshots / "approver.png"))
    assert project(desk.registry, waiting).status == "approved"
    desk.registry.close()
