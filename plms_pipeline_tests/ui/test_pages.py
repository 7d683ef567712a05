"""What a person sees in the Dagster UI after one night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plms_pipeline_tests.ui.houses import LOCATION, Ui

pytestmark = pytest.mark.ui

GROUPS = (
    "intake",
    "estimates",
    "kpis",
    "evidence",
    "letters",
    "models",
    "portfolio",
    "runs",
    "invariants",
    "monitoring",
)
NIGHT = "nightly_books"
FAILED_CHECK = "every_artifact_passes_its_gates"


def test_the_asset_graph_shows_our_groups(ui: Ui, page: Any, screenshots: Path) -> None:
    """The graph is the first thing that a new colleague opens."""
    nodes = ui.graphql("{ assetNodes { groupName description } }")["assetNodes"]
    assert {node["groupName"] for node in nodes} == set(GROUPS)
    assert all(node["description"] for node in nodes)
    ui.visit(page, "/asset-groups")
    for group in GROUPS:
        page.get_by_text(group, exact=True).first.wait_for()
    page.screenshot(path=str(screenshots / "asset-groups.png"))
    for group, asset in (("estimates", "priors"), ("kpis", "kpi_evaluations")):
        ui.visit(page, f"/locations/{LOCATION}/asset-groups/{group}/lineage")
        page.get_by_text(asset, exact=True).first.wait_for()
        # The states of the nodes are fetched in batches after their names.
        page.wait_for_timeout(1500)
        page.screenshot(path=str(screenshots / f"asset-graph-{group}.png"))


def test_an_asset_shows_what_it_wrote(ui: Ui, page: Any, screenshots: Path) -> None:
    """Counts and tables are the reason to open the page instead of a log."""
    materialized = ui.graphql(
        '{ assetOrError(assetKey: {path: ["priors"]}) { ... on Asset { assetMaterializations(limit: 1) '
        "{ metadataEntries { label } } } } }"
    )["assetOrError"]["assetMaterializations"]
    # Dagster shows its own entries (row count, columns) in places of their own.
    entries = [entry["label"] for entry in materialized[0]["metadataEntries"]]
    labels = [label for label in entries if not label.startswith("dagster/")]
    assert labels
    ui.visit(page, "/assets/priors?view=overview")
    page.get_by_text("Metadata", exact=True).first.wait_for()
    for label in labels:
        page.get_by_text(label, exact=True).first.wait_for()
    page.screenshot(path=str(screenshots / "asset-overview.png"))
    page.get_by_text(labels[-1], exact=True).first.scroll_into_view_if_needed()
    page.screenshot(path=str(screenshots / "asset-metadata.png"))


def test_a_failed_check_is_seen_as_failed_and_names_the_offender(ui: Ui, page: Any, screenshots: Path) -> None:
    """A gate that does not hold must not look like one that was not measured."""
    checks = ui.graphql(
        '{ assetNodeOrError(assetKey: {path: ["kpi_evaluations"]}) { ... on AssetNode { assetChecksOrError { ... on '
        "AssetChecks { checks { name executionForLatestMaterialization { status evaluation { success } } } } } } } }"
    )["assetNodeOrError"]["assetChecksOrError"]["checks"]
    verdicts = {check["name"]: check["executionForLatestMaterialization"]["evaluation"]["success"] for check in checks}
    assert verdicts[FAILED_CHECK] is False
    ui.visit(page, f"/assets/kpi_evaluations?view=checks&checkDetail={FAILED_CHECK}")
    page.get_by_text("Latest execution", exact=True).first.wait_for()
    page.get_by_text("Failed", exact=True).first.wait_for()
    page.screenshot(path=str(screenshots / "failed-check.png"))


def test_the_night_has_a_schedule_that_runs(ui: Ui, page: Any, screenshots: Path) -> None:
    """A schedule that is stopped looks exactly like a quiet night. Only the backup is off: where to is not known yet."""
    schedules = ui.graphql(
        f'{{ schedulesOrError(repositorySelector: {{repositoryLocationName: "{LOCATION}", repositoryName: '
        '"__repository__"}) { ... on Schedules { results { name executionTimezone scheduleState { status } } } } }'
    )["schedulesOrError"]["results"]
    assert {schedule["executionTimezone"] for schedule in schedules} == {"America/New_York"}
    stopped = {schedule["name"] for schedule in schedules if schedule["scheduleState"]["status"] != "RUNNING"}
    assert stopped == {"daily_backup"}
    assert NIGHT in {schedule["name"] for schedule in schedules}
    ui.visit(page, "/automation")
    page.get_by_text(NIGHT, exact=True).first.wait_for()
    page.get_by_text("At 02:00 AM").first.wait_for()
    page.screenshot(path=str(screenshots / "automation.png"))
