from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.estimates.defs import ASSETS
from plms_pipeline.estimates.files import NEWEST_BACKTEST, last_backtest
from plms_pipeline.resources import AS_OF_TAG, DOCUMENTS, Documents, Plms
from plms_pipeline.settings import Settings
from plms_pipeline_tests.estimates.conftest import NOON, Book

NIGHT = "2026-02-20T07:00:00+00:00"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))


def night(as_of: str = NIGHT) -> dg.ExecuteInProcessResult:
    return dg.materialize(ASSETS, resources={"plms": Plms(), DOCUMENTS: Documents()}, tags={AS_OF_TAG: as_of})


def metadata(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(name)
    return {key: value.value for key, value in event.metadata.items()}


def test_a_night_in_dagster_learns_proves_and_shows_it(sqlite_book: Book, settings: Settings) -> None:
    """The assets as the scheduler runs them: documents for the report, numbers and a picture for people."""
    for i in range(12):
        sqlite_book.add(f"m{i % 2}", f"{1 + i % 5}.5", validation="failed" if i % 4 == 0 else "passed", at=NOON)
    result = night()
    assert result.success
    assert metadata(result, "calibration_dataset")["included_effort"] == 9
    assert metadata(result, "day_summaries")["days"] == 1
    proof = metadata(result, "calibration_backtest")
    assert proof["effort_cost_usd_n"] == 9
    assert proof["spend_cost_usd_n"] == 12
    assert "data:image/png" in proof["plot"]
    learnt = metadata(result, "priors")
    assert learnt["versions_written"] == learnt["dagster/row_count"] > 0
    document = json.loads((settings.data_dir / "documents" / "calibration_backtest.json").read_text())
    assert set(document["calibration"]["cost_usd"]) == {"overall", "lanes", "cells"}


@pytest.mark.live
def test_the_same_night_again_writes_the_same_bytes(sqlite_book: Book, settings: Settings) -> None:
    """A repeated date must be a repetition."""
    sqlite_book.add("m", "1.5", at=NOON)
    night()
    folder = settings.data_dir / "documents"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("calibration_backtest")}
    assert night().success
    assert {name: (folder / name).read_bytes() for name in before} == before


@pytest.mark.live
def test_a_night_repeated_for_a_past_date_does_not_become_last_night(sqlite_book: Book, settings: Settings) -> None:
    """`plms nightly --date` for an old report made every forecast quote the coverage of that old night."""
    for days in range(6):
        sqlite_book.add("m", "1.5", at=NOON + timedelta(days=days))
    night()
    assert last_backtest(settings.data_dir)["calibration"]["cost_usd"]["overall"]["n"] == 6
    past = night("2026-02-04T07:00:00+00:00")
    assert past.success
    # The night of the past date hands its own figures to its own report, and appends no version.
    assert metadata(past, "calibration_backtest")["effort_cost_usd_n"] == 3
    assert past.output_for_node("calibration_backtest")["calibration"]["cost_usd"]["overall"]["n"] == 3
    assert metadata(past, "priors")["versions_written"] == 0
    assert last_backtest(settings.data_dir)["as_of"] == NIGHT
    night("2026-02-21T07:00:00+00:00")
    assert last_backtest(settings.data_dir)["as_of"] == "2026-02-21T07:00:00+00:00"


@pytest.mark.parametrize("text", ["{broken", "[1]", '{"as_of": "yesterday"}'])
def test_a_damaged_newest_document_is_replaced(sqlite_book: Book, settings: Settings, text: str) -> None:
    """A file that cannot be read must not keep the next night's figures out for ever."""
    sqlite_book.add("m", "1.5", at=NOON)
    folder = settings.data_dir / "documents"
    folder.mkdir(parents=True)
    (folder / NEWEST_BACKTEST).write_text(text)
    night()
    assert last_backtest(settings.data_dir)["as_of"] == NIGHT


def test_every_asset_says_what_it_is() -> None:
    """The catalogue is what people read first."""
    for asset in ASSETS:
        (spec,) = asset.specs
        assert spec.description
        assert spec.owners == ["team:plms"]
        assert spec.group_name == "estimates"
        assert spec.kinds
        assert spec.code_version
        assert "dagster/column_schema" in spec.metadata
