"""Is a difference between stored and rebuilt numbers found when it is real, and passed over when it is rounding?"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from plms_pipeline.estimates.actions.believing import summarise_stale_days
from plms_pipeline.estimates.actions.calibration import write_priors
from plms_pipeline.estimates.beliefs import RECEIPTS, DayFact
from plms_pipeline.estimates.summary import decode, digest, encode
from plms_pipeline.intake.actions.days import stale_days, write_receipt_days
from plms_pipeline.intake.files.days import DayFiles
from plms_pipeline.invariants.actions.proving import prove
from plms_pipeline.invariants.rebuild import body_problem, differing_facts
from plms_pipeline.registry.tables import Project, ProjectRun
from plms_pipeline_tests.invariants import healthy
from plms_pipeline_tests.invariants.conftest import Books
from plms_pipeline_tests.invariants.corruptions import Corruption, plant

BODY = {"cost_usd": {"n": 3, "n_zero": 0, "mean": 0.123456789, "quantiles": [0.1, 0.2]}, "attempts_per_task": 1.5}


@given(st.floats(1e-6, 1e9), st.floats(-3e-8, 3e-8))
def test_one_unit_of_the_ninth_digit_is_rounding_and_more_is_not(value: float, nudge: float) -> None:
    """A stricter bar would ring after every upgrade of a library, a looser one would hide an edited prior."""
    other = value * (1 + nudge)
    problem = body_problem(json.dumps({"cost_usd": {"mean": value}}), {"cost_usd": {"mean": other}})
    assert bool(problem) is not math.isclose(value, other, rel_tol=1.0001e-8)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"cost_usd": {**BODY["cost_usd"], "n": 4}}, "cost_usd.n"),  # type: ignore[dict-item]
        ({"cost_usd": {**BODY["cost_usd"], "mean": 0.2}}, "cost_usd.mean"),  # type: ignore[dict-item]
        ({"cost_usd": {**BODY["cost_usd"], "quantiles": [0.1, 0.3]}}, "cost_usd.quantiles[1]"),  # type: ignore[dict-item]
        ({"cost_usd": {**BODY["cost_usd"], "quantiles": [0.1]}}, "cost_usd.quantiles"),  # type: ignore[dict-item]
        ({"attempts_per_task": None}, "attempts_per_task"),
        ({"tokens": {"n": 1}}, "tokens"),
        ({"cost_usd": 7}, "cost_usd"),
    ],
)
def test_what_differs_in_a_prior_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    """`priors differ` sends nobody anywhere."""
    assert body_problem(json.dumps(BODY), BODY) == ""
    assert body_problem(json.dumps(BODY | change), BODY).startswith(path)


@pytest.mark.parametrize("broken", ["", "7", "[]", "null", "{", '"x"'])
def test_a_prior_that_is_no_object_is_told_and_crashes_nothing(broken: str) -> None:
    """One broken row must not hide the others."""
    assert body_problem(broken, BODY)


def facts_of(books: Books) -> list[DayFact]:
    with books.registry.reading() as session:
        rows = session.execute(
            text("SELECT day, lane_id, provider, measure, basis, n, summary, digest FROM day_summaries")
        )
        facts = [DayFact(date.fromisoformat(row[0]), *row[1:]) for row in rows]
    busiest = max(facts, key=lambda fact: (fact.measure == "cost_usd", fact.n)).day
    return [fact for fact in facts if fact.day == busiest]


def edited(fact: DayFact, alpha: float, factor: float) -> DayFact:
    summary = decode(fact.summary)
    data = encode(replace(summary, log_m2=summary.log_m2 * factor, weights=summary.weights * factor), alpha=alpha)
    return fact._replace(summary=data, digest=digest(data))


@pytest.mark.parametrize(("factor", "differs"), [(1.0, False), (1 + 1e-12, False), (1 + 1e-6, True), (2.0, True)])
def test_summaries_may_differ_in_their_last_bits_and_no_more(factor: float, differs: bool, sqlite_books: Books) -> None:
    """The sixteenth digit belongs to the processor, the sixth to whoever edited the row."""
    facts = facts_of(sqlite_books)
    victim = next(fact for fact in facts if fact.measure == "cost_usd" and fact.n > 1)
    stored = [edited(fact, 0.3, factor) if fact == victim else fact for fact in facts]
    problems = differing_facts(stored, facts)
    assert bool(problems) is differs
    if differs:
        assert victim.provider in problems[0]


def test_missing_extra_and_unhashed_summaries_are_named(sqlite_books: Books) -> None:
    """A summary that nobody made from receipts is folded into every prior."""
    facts = facts_of(sqlite_books)
    tally = next(fact for fact in facts if fact.measure == RECEIPTS)
    measure = next(fact for fact in facts if fact.measure == "cost_usd")
    assert "is missing" in differing_facts([fact for fact in facts if fact != tally], facts)[0]
    assert "no receipts behind" in differing_facts([*facts, tally._replace(provider="ghost")], facts)[0]
    assert "not those that were hashed" in differing_facts([measure._replace(digest="0" * 64)], [measure])[0]
    forged = tally._replace(summary=b'{"included":9}', digest=digest(b'{"included":9}'))
    assert "counts are not" in differing_facts([forged], [tally])[0]
    unreadable = measure._replace(summary=b"x", digest=digest(b"x"))
    assert "cannot be read" in differing_facts([unreadable], [measure])[0]


def test_a_prior_edited_together_with_its_hash_is_found_by_the_rebuild(books: Books) -> None:
    """Whoever knows the hash can forge it; nobody can forge the receipts with it."""
    with books.registry.reading() as session:
        row = session.execute(
            text(
                "SELECT id, priors_json, provider_name FROM estimate_versions WHERE basis = 'spend' ORDER BY id LIMIT 1"
            )
        ).one()
    body = json.loads(row.priors_json)
    measure = next(name for name in body if name != "attempts_per_task")
    body[measure]["quantiles"] = [value * 0.5 for value in body[measure]["quantiles"]]
    forged = json.dumps(body, sort_keys=True, separators=(",", ":"))
    sha256 = hashlib.sha256(forged.encode()).hexdigest()
    spoil = f"UPDATE estimate_versions SET priors_json = '{forged}', priors_hash = '{sha256}' WHERE id = {row.id}"
    plant(books.registry, books.url, Corruption(spoil, "", ""))
    report = prove(books.registry, books.settings, healthy.CLOCK)
    assert [result.invariant.name for result in report.failed if "constraint" not in str(result.errors)] == [
        "priors_equal_their_rebuild"
    ]
    assert row.provider_name in report.failed[0].errors[0]


def test_a_receipt_changed_in_the_book_is_found_by_the_rebuild(sqlite_books: Books) -> None:
    """Summaries and priors of that day were learnt from a number that is gone."""
    dearest = "id = (SELECT id FROM task_receipts ORDER BY cost_usd DESC LIMIT 1)"
    plant(
        sqlite_books.registry,
        sqlite_books.url,
        Corruption(f"UPDATE task_receipts SET cost_usd = 1 WHERE {dearest}", "", ""),
    )
    failed = {
        result.invariant.name for result in prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK).failed
    }
    assert failed == {"day_files_match_the_book", "day_summaries_equal_their_receipts", "priors_equal_their_rebuild"}


def test_a_late_receipt_waits_for_the_night_and_is_not_called_wrong(books: Books) -> None:
    """An import at noon makes no broken book; after the night everything is compared again."""
    with books.registry.writing() as session:
        project = session.query(Project).filter_by(name="calculator").one()
        healthy.own_run(session, project.id, "own-late", "baseline", healthy.NOW - timedelta(days=30))
    report = prove(books.registry, books.settings, healthy.CLOCK)
    assert [result.errors for result in report.failed] == []
    notes = {result.invariant.name: result.found.note for result in report.results}
    assert "1 days changed" in notes["priors_equal_their_rebuild"]
    night(books, healthy.NOW + timedelta(hours=1))
    report = prove(books.registry, books.settings, healthy.CLOCK)
    assert [result.errors for result in report.failed] == []
    assert next(r for r in report.results if r.invariant.name == "priors_equal_their_rebuild").found.checked > 0


def test_a_night_for_the_past_leaves_priors_that_its_receipts_give(sqlite_books: Books) -> None:
    """`plms nightly --date` after an import called its own night broken, and the books with it, until the night of today."""
    books = sqlite_books
    with books.registry.writing() as session:
        project = session.query(Project).filter_by(name="calculator").one()
        healthy.own_run(session, project.id, "own-late", "baseline", healthy.NOW - timedelta(days=30))
    night(books, healthy.NOW - timedelta(days=60))
    report = prove(books.registry, books.settings, healthy.CLOCK)
    assert [result.errors for result in report.failed] == []
    assert next(r for r in report.results if r.invariant.name == "priors_equal_their_rebuild").found.checked > 0


def night(books: Books, as_of: datetime) -> None:
    files = DayFiles(books.settings.data_dir)
    list(write_receipt_days(books.registry, files, stale_days(books.registry, files), clock=healthy.CLOCK))
    list(summarise_stale_days(books.registry, alpha=books.settings.alpha))
    write_priors(books.registry, as_of=as_of, alpha=books.settings.alpha, clock=healthy.CLOCK)


def test_a_prior_whose_receipts_were_all_excluded_since_is_no_offender(sqlite_books: Books) -> None:
    """Versions are append-only: what is not believed any more stays on record, and must not ring every night."""
    with sqlite_books.registry.writing() as session:
        run = session.query(ProjectRun).filter_by(run_id="own-baseline").one()
        run.validation = "failed"
        session.query(ProjectRun).filter_by(run_id="own-hotfix").one().validation = "failed"
        session.execute(
            text("UPDATE receipt_days SET changed_seq = changed_seq + 1 WHERE day = :day"), {"day": "2026-03-02"}
        )
    night(sqlite_books, healthy.NOW + timedelta(hours=1))
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK)
    assert [result.errors for result in report.failed] == []


def test_summaries_of_a_day_that_the_book_does_not_know_are_named(sqlite_books: Books) -> None:
    """They would be folded into every prior, and no receipt stands behind them."""
    columns = "lane_id, provider, measure, basis, n, summary, digest"
    with sqlite_books.registry.writing() as session:
        session.execute(
            text(
                f"INSERT INTO day_summaries (day, {columns}) SELECT '2025-02-02', {columns} FROM day_summaries LIMIT 3"
            )
        )
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK)
    errors = {result.invariant.name: result.errors for result in report.failed}
    assert "day=2025-02-02" in errors["day_summaries_equal_their_receipts"][0]
