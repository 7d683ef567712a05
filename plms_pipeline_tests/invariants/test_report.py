"""Is a finding told so that a person can act on it and a program can read it?"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from plms_pipeline.invariants.report import CAP, Found, Report, Result, line, to_json, told
from plms_pipeline.invariants.rules import INVARIANTS, Invariant, Severity

AT = datetime(2026, 3, 1, 7, tzinfo=UTC)
RULE = INVARIANTS["every_run_has_a_passport"]
WEAK = INVARIANTS["every_rehearsal_covers_what_it_claims"]


def report(*results: Result, is_empty: bool = False) -> Report:
    return Report(AT, "sqlite:///x.db", full=False, results=results, is_empty=is_empty)


def test_a_line_says_how_many_of_how_many_hold() -> None:
    """`1287/1287` is what the on-call engineer looks for."""
    assert line(Result(RULE, Found(10_184), 1.0)) == "✓ every_run_has_a_passport: 10184/10184"
    assert line(Result(RULE, Found(10, 3, ("a", "b", "c")), 1.0)) == "✗ every_run_has_a_passport: 7/10"
    assert line(Result(WEAK, Found(2, 1, ("a",)), 1.0)) == "! every_rehearsal_covers_what_it_claims: 1/2"


def test_offenders_and_the_remedy_stand_below_what_does_not_hold() -> None:
    """A red line without a row to look at costs an hour."""
    lines = told(report(Result(RULE, Found(30, 25, tuple(f"run_id={i}" for i in range(CAP))), 1.0)))
    assert "    - run_id=0" in lines
    assert lines[-2] == f"    - … and {25 - CAP} more"
    assert RULE.remedy in lines[-1]


def test_a_check_that_could_not_run_counts_as_violated() -> None:
    """The original's crashed check was shown as "unknown", which nobody reads as red."""
    broken = report(Result(RULE, Found(0), 1.0, error="OperationalError: no such table: project_runs"))
    assert not broken.holds
    assert broken.violations == 1
    assert "could not be checked" in told(broken)[0]
    check = to_json(broken)["checks"][RULE.name]
    assert (check["passed"], check["violations"]) == (False, 1)
    assert "no such table" in check["errors"][0]


def test_violations_count_rows_and_not_lines() -> None:
    """The original counted its own headlines as violations."""
    document = to_json(report(Result(RULE, Found(30, 25, ("a", "b")), 1.0), Result(WEAK, Found(4), 1.0)))
    assert document["checks"][RULE.name]["violations"] == 25
    assert document["summary"] == {
        "total_checks": 2, "passed_checks": 1, "failed_checks": 1, "total_violations": 25, "status": "fail",
    }  # fmt: skip


def test_the_json_keeps_the_keys_that_readers_of_the_original_know() -> None:
    """A dashboard that reads the original's report must go on reading ours."""
    document = to_json(report(Result(RULE, Found(1), 1.0)))
    assert set(document) >= {"timestamp", "db_path", "strict_mode", "checks", "summary"}
    assert set(document["checks"][RULE.name]) >= {"name", "passed", "violations", "errors"}
    assert document["strict_mode"] is document["full"] is False
    assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize(("is_empty", "status"), [(True, "no_data"), (False, "pass")])
def test_an_empty_registry_is_not_called_proven(is_empty: bool, status: str) -> None:
    """Every sentence is true of nothing; a night without data must not look green."""
    assert to_json(report(Result(RULE, Found(0), 1.0), is_empty=is_empty))["summary"]["status"] == status


def test_no_result_at_all_proves_nothing() -> None:
    """A proof that checked no invariant is no clean proof, and must not move the marks."""
    assert not report().holds


def test_severities_are_the_two_that_dagster_shows() -> None:
    """A third word would fail when the check is yielded, in the night."""
    assert {str(each) for each in Severity} == {"ERROR", "WARN"}
    assert isinstance(RULE, Invariant)
