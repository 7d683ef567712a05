"""A project is approved, started, reviewed and let pass by somebody who never leaves the Launchpad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from plms_pipeline_tests.ui.houses import PROJECT, House, eventually

pytestmark = pytest.mark.ui


def test_a_project_is_approved_started_and_let_pass_from_the_launchpad(
    house: House, page: Any, screenshots: Path
) -> None:
    """What a person decides twice a year must be possible without a manual: forms, a button, and what came of it."""
    house.ui.sign_in(page, "approver")
    approved = house.launched(
        page, "approve_project", {"project_id": PROJECT, "decision": "approve", "reason": "within plan"},
        screenshots / "approve-launchpad.png",
    )  # fmt: skip
    assert approved["status"] == "approved"
    assert "Data-Ingest" in approved["plan"]

    house.ui.sign_in(page, "operator")
    started = house.launched(
        page, "start_project_run", {"project_id": PROJECT, "wait_s": 120}, screenshots / "start-launchpad.png"
    )
    run_id = started["run_id"]
    assert (started["status"], started["validation"]) == ("SUCCESS", "failed")
    page.screenshot(path=str(screenshots / "start-run.png"))

    asked = house.launched(
        page, "request_kpi_override", {"run_id": run_id, "reason": "six families have no run to load", "teach": False}
    )
    assert "row_count_delta" in asked["kpi_receipts"]
    assert "families" in asked["kpi_receipts"]
    house.ui.sign_in(page, "approver")
    decided = house.launched(
        page, "decide_kpi_override",
        {"run_id": run_id, "decision": "approve", "reason": "known and accepted",
         "evidence_sha256": asked["evidence_sha256"]},
        screenshots / "override-launchpad.png",
    )  # fmt: skip
    assert (decided["validation"], decided["effective_verdict"]) == ("failed", "passed")
    assert decided["project_status"] == "completed"
    page.get_by_text("decide_override").first.wait_for()
    page.screenshot(path=str(screenshots / "override-run.png"))
    told = house.plms("project", "show", str(PROJECT))
    assert told["status"] == "completed"
    launches = {run["jobName"]: run["tags"]["plms/launched_from"] for run in house.ui.runs()}
    assert launches["decide_kpi_override"] == "ui"


def test_the_session_report_of_the_run_says_that_it_was_let_pass(house: House, page: Any, screenshots: Path) -> None:
    """The report is what people read a month later: the measured verdict, and who let it pass, why."""
    [run] = [run for run in house.plms("run", "list")["runs"] if run["project_id"] == PROJECT]
    report = Path(house.environ["PLMS_REPORTS_DIR"]) / "sessions" / run["run_id"] / "session_report.md"
    eventually(lambda: "known and accepted" in report.read_text())
    assert "GATE_STATUS: overridden to pass (failed)" in report.read_text()
    house.ui.sign_in(page, "operator")
    house.ui.visit(page, "/assets/session_reports?view=overview")
    page.get_by_role("button", name="Materialize").first.click()
    seen = (
        '{ assetOrError(assetKey: {path: ["session_reports"]}) { ... on Asset { assetMaterializations(limit: 1) '
        "{ metadataEntries { label ... on MarkdownMetadataEntry { mdStr } } } } } }"
    )
    found = eventually(lambda: house.ui.graphql(seen)["assetOrError"]["assetMaterializations"], every_s=0.5)
    assert any(run["run_id"] in entry.get("mdStr", "") for entry in found[0]["metadataEntries"])
    page.get_by_text("Metadata", exact=True).first.wait_for()
    page.screenshot(path=str(screenshots / "session-reports.png"))


def test_the_api_shows_the_same_decision(house: House) -> None:
    """One book, whichever window it is read through."""
    url = f"http://127.0.0.1:{house.environ['PLMS_API_PORT']}/api/decisions?subject=run"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {house.ui.tokens['viewer']}"}, timeout=120)
    decisions = answer.raise_for_status().json()["decisions"]
    assert [one["decision"] for one in decisions] == ["approve", "request"]
