"""Does the Dagster UI show each invariant on the asset that it speaks about, and does a broken one spare the night?"""

from __future__ import annotations

import json
import shutil
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from plms_pipeline.invariants.defs import book_checks, invariants_report
from plms_pipeline.invariants.rules import INVARIANTS, REPORT
from plms_pipeline.resources import AS_OF_TAG, Documents, Plms
from plms_pipeline_tests.invariants import healthy
from plms_pipeline_tests.invariants.conftest import Books

AS_OF = healthy.NOW.isoformat()
OTHERS = sorted({each.about for each in INVARIANTS.values()} - {REPORT})


def upstream(name: str) -> Any:
    """An asset of another domain, reduced to its key."""

    @dg.asset(name=name)
    def stand_in() -> None:
        """Nothing."""

    return stand_in


@dg.asset(deps=[REPORT])
def after_the_proof() -> None:
    """What the night does next."""


@pytest.fixture
def home(sqlite_books: Books, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Books:
    """The healthy books where the resource finds them."""
    data = tmp_path / "data"
    shutil.copytree(sqlite_books.settings.data_dir, data, ignore=shutil.ignore_patterns("registry.db*"))
    monkeypatch.setenv("PLMS_DATA_DIR", str(data))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("PLMS_DATABASE_URL", sqlite_books.url)
    return sqlite_books


def run(selection: Any = None, tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
    definitions = dg.Definitions(
        assets=[*map(upstream, OTHERS), invariants_report, after_the_proof],
        asset_checks=[book_checks],
        jobs=[dg.define_asset_job("proof", selection=selection or dg.AssetSelection.all())],
        resources={"plms": Plms(), "documents": Documents()},
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("proof").execute_in_process(
            instance=instance, tags={AS_OF_TAG: AS_OF} if tags is None else tags, raise_on_error=False
        )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def test_every_invariant_is_one_check_on_what_it_speaks_about(home: Books) -> None:
    """Whoever opens `priors` in the UI must see there whether the priors are right."""
    result = run()
    assert result.success
    found = checks(result)
    assert {name: each.asset_key.to_user_string() for name, each in found.items()} == {
        each.name: each.about for each in INVARIANTS.values()
    }
    assert len(result.get_asset_check_evaluations()) == len(INVARIANTS)
    assert [name for name, each in found.items() if not each.passed] == []


def test_a_broken_invariant_fails_its_check_and_not_the_night(home: Books) -> None:
    """The report of a night with broken books is the one that must be written."""
    with home.registry.writing() as session:
        session.execute(text("UPDATE project_runs SET passport_sha256 = NULL WHERE run_id = 'own-hotfix'"))
        session.execute(text("UPDATE project_runs SET strata_coverage = 0.5 WHERE run_id = 'own-rehearsal'"))
    result = run()
    assert result.success
    assert dg.AssetKey("after_the_proof") in {event.asset_key for event in result.get_asset_materialization_events()}
    found = checks(result)
    broken = found["every_run_has_a_passport"]
    assert not broken.passed
    assert broken.severity == dg.AssetCheckSeverity.ERROR
    assert "run_id=own-hotfix" in str(broken.metadata["offenders"].value)
    assert broken.metadata["violations"].value == 1
    assert found["every_rehearsal_covers_what_it_claims"].severity == dg.AssetCheckSeverity.WARN


def test_the_report_is_handed_on_as_a_document(home: Books) -> None:
    """The nightly report shows what the checks showed."""
    result = run()
    document = result.output_for_node(REPORT)
    assert document["summary"]["status"] == "pass"
    assert document["timestamp"] == AS_OF
    assert json.loads(json.dumps(document)) == document


def test_a_clean_night_moves_the_marks(home: Books) -> None:
    """The next night proves what came since."""
    assert run().success
    with home.registry.reading() as session:
        assert session.scalar(text("SELECT COUNT(*) FROM proof_marks WHERE subject LIKE 'table:%'")) > 0


def test_the_night_proves_once(home: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks on other assets show what the report proved; proving twice would double the longest step."""
    from plms_pipeline.invariants.actions import showing

    monkeypatch.setattr(showing, "prove", lambda *_args, **_kwargs: pytest.fail("proven twice"))
    result = run()
    assert result.success
    assert len(checks(result)) == len(INVARIANTS)


def test_one_asset_by_hand_is_proven_there_and_then(home: Books) -> None:
    """A document of another night says nothing about the priors of now."""
    assert run().success
    with home.registry.writing() as session:
        session.execute(text("DROP TRIGGER trg_estimate_versions_no_update"))
        session.execute(text("UPDATE estimate_versions SET priors_json = '{}'"))
    result = run(selection=dg.AssetSelection.assets("priors"), tags={})
    assert result.success
    found = checks(result)
    assert set(found) == {each.name for each in INVARIANTS.values() if each.about == "priors"}
    assert not found["every_prior_matches_its_hash"].passed
    assert found["every_prior_rests_on_receipts"].passed
