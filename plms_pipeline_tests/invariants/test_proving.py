"""Does the proof hold on healthy books, and does it say so when it cannot look?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.invariants.actions import books as checks
from plms_pipeline.invariants.actions import proof as proof_module
from plms_pipeline.invariants.actions.proof import Proof
from plms_pipeline.invariants.actions.proving import open_registry, prove
from plms_pipeline.invariants.report import Report
from plms_pipeline.invariants.rules import INVARIANTS
from plms_pipeline.invariants.window import FLOOR_ROWS
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectRun
from plms_pipeline.settings import Settings
from plms_pipeline_tests.invariants import healthy
from plms_pipeline_tests.invariants.conftest import Books
from plms_pipeline_tests.invariants.corruptions import Corruption, plant

SUNDAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


def checked(report: Report) -> dict[str, int]:
    return {result.invariant.name: result.found.checked for result in report.results}


def scalar(books: Books, statement: str) -> object:
    with books.registry.reading() as session:
        return session.scalar(text(statement))


def test_healthy_books_hold(books: Books) -> None:
    """A nightly alarm that rings on healthy books is switched off within a week."""
    report = prove(books.registry, books.settings, healthy.CLOCK)
    assert [f"{result.invariant.name}: {result.errors}" for result in report.failed] == []
    assert report.holds
    assert set(checked(report)) == set(INVARIANTS)


def test_a_project_that_rehearsed_before_its_baseline_is_healthy(books: Books) -> None:
    """The original joined priors to runs by project and called exactly this "poisoned": four violations."""
    kinds = "SELECT COUNT(DISTINCT run_kind) FROM project_runs r JOIN projects p ON p.id = r.project_id WHERE p.source = 'plms'"
    assert scalar(books, kinds) == 3
    assert int(str(scalar(books, "SELECT COUNT(*) FROM estimate_versions"))) > 0
    assert prove(books.registry, books.settings, healthy.CLOCK).violations == 0


def test_every_invariant_looked_at_something(sqlite_books: Books) -> None:
    """A check over nothing holds for the wrong reason, and the tests of this folder would prove nothing."""
    empty = {
        name
        for name, n in checked(prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK)).items()
        if n == 0
    }
    assert empty == set()


@pytest.mark.parametrize("full", [False, True])
def test_a_check_that_cannot_run_is_a_violation_and_silences_no_other(full: bool, books: Books) -> None:
    """The original crashed at the first surprise; here one broken table leaves the other answers."""
    with books.registry.writing() as session:
        session.execute(text("ALTER TABLE task_estimates RENAME TO task_estimates_gone"))
    plant(
        books.registry,
        books.url,
        Corruption("UPDATE project_runs SET run_kind = 'x' WHERE run_id = 'own-hotfix'", "", ""),
    )
    report = prove(books.registry, books.settings, healthy.CLOCK, full=full)
    errors = {result.invariant.name: result.errors for result in report.failed}
    assert "could not be checked" in errors["no_estimate_is_negative"][0]
    assert "could not be checked" in errors["kpi_formulas_are_valid"][0]
    assert "run_kind=x" in errors["every_run_kind_is_known"][0]
    assert "every_run_has_a_passport" not in errors


def test_a_check_with_a_bug_is_told_and_the_others_run(sqlite_books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own mistakes must look like what they are: something that was not proven."""

    def broken(_proof: Proof) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(checks.CHECKS, "kpi_formulas_are_valid", broken)
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK)
    assert [result.errors for result in report.failed] == [
        ("could not be checked: ZeroDivisionError: no reason given",)
    ]


def test_a_database_that_goes_away_ends_the_proof(sqlite_books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty checks that could not run would send people to forty wrong places."""
    import sqlite3

    from sqlalchemy.exc import OperationalError

    def gone(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise OperationalError("SELECT 1", {}, error)

    monkeypatch.setitem(checks.CHECKS, "kpi_formulas_are_valid", gone)
    monkeypatch.setattr("plms_pipeline.invariants.actions.proving._answers", lambda _session: False)
    with pytest.raises(PlmsError) as raised:
        prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK)
    assert raised.value.exit_code in (2, 4)


def test_a_clean_night_moves_the_marks_and_counts_stay_right(books: Books) -> None:
    """The next night counts only what came since, and must still say `n of n`."""
    first = prove(books.registry, books.settings, healthy.CLOCK, keeps_marks=True)
    assert first.holds
    assert scalar(books, "SELECT mark FROM proof_marks WHERE subject = 'table:project_runs'") == scalar(
        books, "SELECT MAX(id) FROM project_runs"
    )
    with books.registry.writing() as session:
        project = session.query(Project).filter_by(name="calculator").one()
        healthy.own_run(session, project.id, "own-late", "baseline", healthy.NOW)
    second = prove(books.registry, books.settings, healthy.CLOCK)
    assert checked(second)["every_run_has_a_passport"] == checked(first)["every_run_has_a_passport"] + 1
    assert checked(second)["every_passport_matches_its_hash"] == checked(first)["every_passport_matches_its_hash"] + 1


def test_a_broken_night_moves_no_mark(sqlite_books: Books) -> None:
    """Otherwise the next night would skip what this one found."""
    plant(
        sqlite_books.registry, sqlite_books.url,
        Corruption("UPDATE project_runs SET passport_sha256 = NULL WHERE run_id = 'own-hotfix'", "", ""),
    )  # fmt: skip
    assert not prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, keeps_marks=True).holds
    assert scalar(sqlite_books, "SELECT COUNT(*) FROM proof_marks") == 0


def test_part_of_a_proof_moves_no_mark(sqlite_books: Books) -> None:
    """One clean check says nothing about the others."""
    names = {"every_run_has_a_passport"}
    assert prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, only=names, keeps_marks=True).holds
    assert scalar(sqlite_books, "SELECT COUNT(*) FROM proof_marks") == 0


@pytest.mark.parametrize(("as_of", "full", "finds"), [(None, False, False), (None, True, True), (SUNDAY, False, True)])
def test_what_was_spoiled_behind_the_mark_is_found_by_the_weekly_proof(
    as_of: datetime | None, full: bool, finds: bool, sqlite_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark is a promise about the past that somebody may break by hand; the weekly proof trusts none."""
    assert prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, keeps_marks=True).holds
    monkeypatch.setattr("plms_pipeline.invariants.window.FLOOR_ROWS", 0)
    for function in (proof_module.first_unproven, proof_module.days_to_prove):
        monkeypatch.setitem(function.__kwdefaults__, "floor", 0)
    plant(
        sqlite_books.registry, sqlite_books.url,
        Corruption("UPDATE run_passports SET passport_json = '{}' WHERE run_id = 'own-baseline'", "", ""),
    )  # fmt: skip
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, as_of=as_of, full=full)
    assert report.full is finds
    assert ("every_passport_matches_its_hash" in {result.invariant.name for result in report.failed}) is finds


def test_a_small_registry_is_proven_whole_every_night(sqlite_books: Books) -> None:
    """Below the floor there is no behind the mark."""
    assert prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, keeps_marks=True).holds
    plant(
        sqlite_books.registry, sqlite_books.url,
        Corruption("UPDATE run_passports SET passport_json = '{}' WHERE run_id = 'own-baseline'", "", ""),
    )  # fmt: skip
    assert FLOOR_ROWS > 10_000
    assert not prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK).holds


def test_a_day_that_changed_since_its_file_was_written_is_not_called_wrong(sqlite_books: Books) -> None:
    """An import at noon is not a broken book; the night writes the day again."""
    with sqlite_books.registry.writing() as session:
        session.execute(text("UPDATE receipt_days SET changed_seq = changed_seq + 1"))
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK)
    assert report.holds, report.failed


def test_a_gate_that_failed_first_and_held_later_does_not_count_against_the_run(books: Books) -> None:
    """Every run of the healthy books failed its first measurement: fixing the work is what gates are for."""
    assert int(str(scalar(books, "SELECT COUNT(*) FROM kpi_receipts WHERE NOT pass"))) == 3
    assert prove(books.registry, books.settings, healthy.CLOCK, only={"passed_runs_have_no_failed_gate"}).holds


def test_an_imported_run_needs_no_passport_of_ours(books: Books) -> None:
    """Foreign history has none; its source, its file's hash and its verdict stand in."""
    imported = "SELECT COUNT(*) FROM project_runs WHERE source <> 'plms' AND passport_sha256 IS NULL"
    assert int(str(scalar(books, imported))) > 100


def test_many_offenders_are_all_counted(sqlite_books: Books) -> None:
    """The total is what tells an accident from a catastrophe."""
    plant(
        sqlite_books.registry, sqlite_books.url,
        Corruption("UPDATE project_runs SET run_kind = 'x' WHERE source = 'swebench'", "", ""),
    )  # fmt: skip
    for full in (False, True):
        report = prove(
            sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, full=full, only={"every_run_kind_is_known"}
        )
        spoiled = int(str(scalar(sqlite_books, "SELECT COUNT(*) FROM project_runs WHERE source = 'swebench'")))
        assert report.violations == spoiled > 100
        assert report.results[0].errors[-1] == f"… and {spoiled - 20} more"


def test_a_damaged_index_hides_nothing_from_the_weekly_proof(sqlite_books: Books) -> None:
    """The index says that nothing offends; the table says otherwise."""
    run = healthy.NOW - timedelta(hours=1)
    with sqlite_books.registry.writing() as session:
        session.execute(text("DROP INDEX vx_every_run_has_a_passport"))
        session.execute(text("CREATE INDEX vx_every_run_has_a_passport ON project_runs (id) WHERE 1 = 0"))
        project = session.query(Project).filter_by(name="calculator").one()
        session.add(ProjectRun(run_id="bare", project_id=project.id, created_at=run))
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK, full=True)
    named = {result.invariant.name: result.errors for result in report.failed}
    assert "run_id=bare" in named["every_run_has_a_passport"][0]
    assert "another predicate" in named["schema_is_at_head"][0]


def test_opening_names_the_configured_file_that_is_missing(sqlite_books: Books) -> None:
    """`plms invariants` before `plms db upgrade` must say what to type."""
    missing = replace(sqlite_books, url=sqlite_books.url + ".missing")
    with pytest.raises(Unavailable, match="plms db upgrade"):
        open_registry(missing.url, is_named=False)


def test_the_guides_own_query_agrees(books: Books) -> None:
    """People paste it from the guide; it must not say anything else than the invariant."""
    query = (
        "SELECT COUNT(*) as violation_count FROM estimate_versions WHERE run_kind NOT IN ('baseline', 'hotfix') "
        "OR validation_pass = FALSE OR write_sandbox = TRUE"
    )
    assert scalar(books, query) == 0
    spoil = "UPDATE estimate_versions SET {} WHERE id = (SELECT MAX(id) FROM estimate_versions WHERE basis = 'effort')"
    plant(books.registry, books.url, Corruption(spoil.format("run_kind = 'replay'"), "", ""))
    report = prove(books.registry, books.settings, healthy.CLOCK, only={"priors_learn_only_from_real_passed_runs"})
    assert scalar(books, query) == report.violations == 1


def test_an_empty_registry_proves_nothing(registry: Registry, settings: Settings) -> None:
    """Every sentence is true of nothing."""
    report = prove(registry, settings, healthy.CLOCK)
    assert report.is_empty
    assert [result.errors for result in report.failed] == []


def test_a_rehearsal_that_says_openly_that_it_is_partial_is_no_offence(books: Books) -> None:
    """An honest canary of a large project would end every night with exit 1, and people would learn to overlook it."""
    answer = '{"sampling_metrics":{"is_representative":false,"strata_coverage":0.5}}'
    with books.registry.writing() as session:
        session.execute(text("UPDATE project_runs SET strata_coverage = 0.5 WHERE run_id = 'own-rehearsal'"))
        session.execute(
            text("UPDATE rehearsals SET answer_json = :answer WHERE rehearsal_id = 'own-rehearsal'"), {"answer": answer}
        )
    assert prove(books.registry, books.settings, healthy.CLOCK).holds
    assert prove(books.registry, books.settings, healthy.CLOCK, full=True).holds
