"""A candidate is trained, read, decided about, promoted and rolled back by people who never leave the Dagster UI."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.market.generator import World, generate
from plms_pipeline.settings import project_root
from plms_pipeline_tests.ui.conftest import LOCATION, Ui, _plms, opened
from plms_pipeline_tests.ui.test_decisions import House

pytestmark = pytest.mark.ui

WAIT_S = 150
INDEX, SIGNAL, SMOOTHER = "sp500_daily.csv.gz", "signal.csv.gz", "smoother.yaml"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """A UI over an empty house with prices and an experiment below its data folder.

    Nothing is imported: a sensor would train on that at its own time.
    """
    root = project_root()
    assert root is not None
    data_dir = tmp_path_factory.mktemp("models") / "data"
    data_dir.mkdir()
    _plms(data_dir, "db", "upgrade")
    shutil.copyfile(root / "data" / "samples" / INDEX, data_dir / INDEX)
    write_prices(data_dir / SIGNAL, generate(World(bars=3_000, signal_to_noise=0.3), 1).raw)
    (data_dir / SMOOTHER).write_text("name: smoother\nmodel: {kind: ridge, alpha: 1000.0}\n", encoding="utf-8")
    with opened(data_dir) as found:
        yield found


def champion(ui: Ui) -> str | None:
    """The partition of the newest promotion that Dagster shows."""
    query = (
        '{ assetOrError(assetKey: {path: ["promoted_model"]}) { ... on Asset { assetMaterializations(limit: 1) '
        "{ partition } } } }"
    )
    found = ui.graphql(query)["assetOrError"].get("assetMaterializations") or []
    return found[0]["partition"] if found else None


def champion_is(ui: Ui, wanted: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while champion(ui) != wanted:
        assert time.monotonic() < deadline, f"{champion(ui)} serves, and not {wanted}"
        time.sleep(0.5)


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


@pytest.mark.timeout(600)
def test_the_life_of_a_model_happens_in_the_dagster_ui(models: Ui, page: Any, screenshots: Path) -> None:
    """What no page shows and no form admits is done by hand, past every gate."""
    house = House(models, {})
    models.sign_in(page, "operator")
    noise = house.launched(
        page, "retrain_models", {"dataset": INDEX, "reason": "an index"}, screenshots / "retrain-launchpad.png"
    )
    assert noise["action"] == "risk_review"
    page.screenshot(path=str(screenshots / "retrain-run.png"))
    wrong = "sharpe_after_costs_is_more_than_noise"
    page.goto(f"{models.url}/assets/candidate_evaluation?view=checks&checkDetail={wrong}")
    seen(page, "the lower limit of the Sharpe ratio after costs")
    page.screenshot(path=str(screenshots / "candidate-checks.png"))
    page.goto(f"{models.url}/assets/candidate_report?partition={noise['candidate']}&view=partitions")
    seen(page, "Show Markdown").click()
    seen(page, "Risk Metrics")
    page.wait_for_timeout(500)
    page.screenshot(path=str(screenshots / "candidate-report.png"))

    signal = house.launched(page, "retrain_models", {"dataset": SIGNAL, "reason": "a planted signal"})
    assert (signal["action"], signal["state"]) == ("promote", "waiting")
    page.goto(f"{models.url}/assets/promotion_recommendation?partition={signal['candidate']}&view=partitions")
    seen(page, "how_to_decide")
    page.screenshot(path=str(screenshots / "candidate-recommendation.png"))
    page.goto(f"{models.url}/locations/{LOCATION}/asset-groups/models/lineage")
    seen(page, "models")
    page.wait_for_timeout(4000)
    page.screenshot(path=str(screenshots / "candidate-lineage.png"))

    models.sign_in(page, "approver")
    assert decided(house, page, signal["candidate"], screenshots / "decide-launchpad.png")["state"] == "approved"
    # Nobody launches the promotion: the sensor finds the decision.
    champion_is(models, signal["candidate"])
    page.goto(f"{models.url}/assets/promoted_model?partition={signal['candidate']}&view=partitions")
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
