"""The assets in a real, ephemeral Dagster instance."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.kpis.defs import ASSETS
from plms_pipeline.kpis.files.inbox import add
from plms_pipeline.registry.engine import Registry
from plms_pipeline.resources import DOCUMENTS, Documents, Plms
from plms_pipeline.settings import Settings
from plms_pipeline_tests.kpis.conftest import Builder
from plms_pipeline_tests.kpis.test_readability import EASY, HARD


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, sqlite_registry: Registry) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))


def night() -> dg.ExecuteInProcessResult:
    return dg.materialize(ASSETS, resources={"plms": Plms(), DOCUMENTS: Documents()})


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    [found] = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in found.metadata.items()}


def document(settings: Settings, asset: str) -> dict[str, Any]:
    return dict(json.loads((settings.data_dir / "documents" / f"{asset}.json").read_text()))


def test_the_night_measures_the_inbox_and_sums_up(settings: Settings, artifact: Builder) -> None:
    """Documents for the report, numbers and tables for the UI, checks that warn and name the offenders."""
    for name, text in (("4202-easy", EASY), ("4202-hard", HARD)):
        add(artifact(name, {"generated_docs.md": text}), settings.artifacts_inbox)
    add(artifact("broken", {"x": ""}), settings.artifacts_inbox)
    result = night()
    assert result.success
    shown = metadata(result, "kpi_evaluations")
    assert (shown["evaluated"], shown["broken"], shown["passed"], shown["failed"]) == (2, 1, 1, 2)
    assert "4202-hard" in shown["artifacts"]
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert {name: each.passed for name, each in checks.items()} == {
        "every_artifact_was_evaluated": False,
        "every_artifact_passes_its_gates": False,
    }
    assert {each.severity for each in checks.values()} == {dg.AssetCheckSeverity.WARN}
    assert "broken" in str(checks["every_artifact_was_evaluated"].metadata["named"].value)
    items = document(settings, "kpi_evaluations")["artifacts"]
    assert [(item["artifact"], item["verdict"]) for item in items] == [
        ("4202-easy", "passed"), ("4202-hard", "failed"), ("broken", "failed"),
    ]  # fmt: skip
    for item in items:
        for kpi in item["kpis"]:
            assert {"name", "value", "operator", "threshold", "pass", "reason"} <= set(kpi)
    [rate] = document(settings, "kpi_pass_rates")["rows"]
    assert (rate["lane_id"], rate["kpi_name"], rate["n"], rate["pass_rate"]) == (4202, "readability", 2, 0.5)
    assert metadata(result, "kpi_pass_rates")["plot"].startswith("![pass rate per lane and KPI](data:image/png;base64,")


def test_a_second_night_is_idempotent(settings: Settings, artifact: Builder) -> None:
    """Same input, same documents but for the word `unchanged`."""
    add(artifact("4202-easy", {"generated_docs.md": EASY}), settings.artifacts_inbox)
    night()
    before, rates = document(settings, "kpi_evaluations"), document(settings, "kpi_pass_rates")
    result = night()
    assert metadata(result, "kpi_evaluations")["unchanged"] == 1
    after = document(settings, "kpi_evaluations")
    assert after["artifacts"][0]["state"] == "unchanged"
    after["artifacts"][0]["state"] = "evaluated"
    assert after["artifacts"] == before["artifacts"]
    assert document(settings, "kpi_pass_rates") == rates


def test_an_empty_inbox_is_a_quiet_night(settings: Settings) -> None:
    """A fresh installation: no plot, no rates, both checks green."""
    result = night()
    assert result.success
    assert all(each.passed for each in result.get_asset_check_evaluations())
    assert document(settings, "kpi_pass_rates") == {"rows": []}


def test_the_assets_say_what_they_are() -> None:
    """Whoever opens the asset graph finds owner, group, kinds, columns and freshness."""
    for asset in ASSETS:
        [spec] = asset.specs
        assert spec.group_name == "kpis"
        assert list(spec.owners) == ["team:plms"]
        assert spec.kinds
        assert spec.code_version
        assert spec.description
        assert spec.freshness_policy
        assert spec.metadata["dagster/column_schema"].columns


@dg.asset
def reader(kpi_evaluations: dict[str, Any], kpi_pass_rates: dict[str, Any]) -> None:
    assert kpi_evaluations["artifacts"] == []
    assert kpi_pass_rates["rows"] == []


def test_the_report_of_the_night_can_read_both_documents(settings: Settings) -> None:
    """As plain JSON objects, by the names of the assets."""
    assert dg.materialize([*ASSETS, reader], resources={"plms": Plms(), DOCUMENTS: Documents()}).success
