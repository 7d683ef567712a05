"""A candidate is trained, read, decided about, promoted and rolled back by people who never leave the Dagster UI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plms_pipeline_tests.ui.houses import INDEX, LOCATION, SIGNAL, SMOOTHER, House, Ui, eventually

pytestmark = pytest.mark.ui


def champion(ui: Ui) -> str | None:
    """The partition of the newest promotion that Dagster shows."""
    query = (
        '{ assetOrError(assetKey: {path: ["promoted_model"]}) { ... on Asset { assetMaterializations(limit: 1) '
        "{ partition } } } }"
    )
    found = ui.graphql(query)["assetOrError"].get("assetMaterializations") or []
    return found[0]["partition"] if found else None


def champion_is(ui: Ui, wanted: str) -> None:
    eventually(lambda: champion(ui) == wanted, every_s=0.5)


def seen(page: Any, text: str) -> Any:
    """Wait until a text can be read; Dagster's pages also hold copies of it that only measure its length."""
    found = page.get_by_text(text).filter(visible=True).first
    found.wait_for()
    return found


def decided(house: House, page: Any, candidate: str, shot: Path | None = None) -> dict[str, str]:
    """What the Launchpad's form says, filled in by the risk lead."""
    form = {
        "candidate": candidate,
        "decision": "approve",
        "role": "risk_lead",
        "rationale": "out of sample, after costs",
    }
    return house.launched(page, "decide_candidate", form, shot)


def test_the_life_of_a_model_happens_in_the_dagster_ui(house: House, page: Any, screenshots: Path) -> None:
    """What no page shows and no form admits is done by hand, past every gate."""
    models = house.ui
    models.sign_in(page, "operator")
    noise = house.launched(
        page, "retrain_models", {"dataset": INDEX, "reason": "an index"}, screenshots / "retrain-launchpad.png"
    )
    assert noise["action"] == "risk_review"
    page.screenshot(path=str(screenshots / "retrain-run.png"))
    wrong = "sharpe_after_costs_is_more_than_noise"
    models.visit(page, f"/assets/candidate_evaluation?view=checks&checkDetail={wrong}")
    seen(page, "the lower limit of the Sharpe ratio after costs")
    page.screenshot(path=str(screenshots / "candidate-checks.png"))
    models.visit(page, f"/assets/candidate_report?partition={noise['candidate']}&view=partitions")
    seen(page, "Show Markdown").click()
    seen(page, "Risk Metrics")
    page.screenshot(path=str(screenshots / "candidate-report.png"))

    signal = house.launched(page, "retrain_models", {"dataset": SIGNAL, "reason": "a planted signal"})
    assert (signal["action"], signal["state"]) == ("promote", "waiting")
    models.visit(page, f"/assets/promotion_recommendation?partition={signal['candidate']}&view=partitions")
    seen(page, "how_to_decide")
    page.screenshot(path=str(screenshots / "candidate-recommendation.png"))
    models.visit(page, f"/locations/{LOCATION}/asset-groups/models/lineage")
    seen(page, "candidate_report")
    # The colours of its boxes come a moment after their names.
    page.wait_for_timeout(1500)
    page.screenshot(path=str(screenshots / "candidate-lineage.png"))

    models.sign_in(page, "approver")
    assert decided(house, page, signal["candidate"], screenshots / "decide-launchpad.png")["state"] == "approved"
    # Nobody launches the promotion: the sensor finds the decision.
    champion_is(models, signal["candidate"])
    models.visit(page, f"/assets/promoted_model?partition={signal['candidate']}&view=partitions")
    seen(page, "promoted_by")
    page.screenshot(path=str(screenshots / "promoted-model.png"))

    models.sign_in(page, "operator")
    smoother = house.launched(page, "retrain_models", {"dataset": SIGNAL, "experiment_file": SMOOTHER})
    models.sign_in(page, "approver")
    assert decided(house, page, smoother["candidate"])["state"] == "approved"
    promoted = house.launched(page, "promote_candidate", {"candidate": smoother["candidate"]})
    assert promoted["candidate"] == smoother["candidate"]
    back = house.launched(page, "rollback_champion", {"reason": "as a test"}, screenshots / "rollback-launchpad.png")
    assert (back["kind"], back["candidate"]) == ("rollback", signal["candidate"])
    champion_is(models, signal["candidate"])
    actors = {(run["jobName"], run["tags"]["plms/actor"]) for run in models.runs()}
    assert {("retrain_models", "a-operator"), ("decide_candidate", "a-approver")} <= actors
