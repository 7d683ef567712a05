"""Do the sentences, their predicates, their indexes and the schema's constraints say the same?"""

from __future__ import annotations

import re

import pytest
from sqlalchemy import CheckConstraint, text

from plms_pipeline.invariants.actions.books import CHECKS
from plms_pipeline.invariants.actions.proving import prove
from plms_pipeline.invariants.rules import BOOK_INVARIANTS, INVARIANTS, ROW_INVARIANTS
from plms_pipeline.invariants.store.rows import _statement, all_at_once, indexed_sql, offenders, tally_sql, told
from plms_pipeline.registry.base import Base
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.migrations.versions import v0003_violations, v0006_corners
from plms_pipeline.registry.violations import VIOLATIONS
from plms_pipeline_tests.invariants import healthy
from plms_pipeline_tests.invariants.conftest import Books
from plms_pipeline_tests.invariants.corruptions import ALL, plant


def test_every_row_invariant_has_one_predicate_and_every_predicate_one_sentence() -> None:
    """A predicate without a sentence is proven by nobody; a sentence without a predicate crashes the night."""
    assert sorted(each.name for each in ROW_INVARIANTS) == sorted(VIOLATIONS)


def test_every_book_invariant_has_its_check() -> None:
    """A sentence that nobody can check would be told as violated every night."""
    assert sorted(each.name for each in BOOK_INVARIANTS) == sorted(CHECKS)


def test_names_are_sentences_and_texts_help() -> None:
    """The name is the asset check's title; the remedy is what somebody reads at three in the morning."""
    for each in INVARIANTS.values():
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+){2,}", each.name), each.name
        assert len(each.name) <= 60
        assert len(each.offence) > 20
        assert len(each.remedy) > 20


def test_columns_that_name_a_row_exist() -> None:
    """A misspelt column would be found on the first night with an offender, as a check that could not run."""
    for each in ROW_INVARIANTS:
        columns = Base.metadata.tables[VIOLATIONS[each.name].table].c
        assert set(each.shows) <= {column.name for column in columns}, each.name


def test_forbidding_constraints_exist() -> None:
    """`forbidden_by` takes a constraint out of the general check; a misspelt one would be checked twice, a stale one never."""
    for each in VIOLATIONS.values():
        names = {c.name for c in Base.metadata.tables[each.table].constraints if isinstance(c, CheckConstraint)}
        assert {f"ck_{each.table}_{name}" for name in each.forbidden_by} <= names, each.name


def test_the_migration_builds_the_indexes_that_the_rules_ask_for() -> None:
    """Alembic compares columns, not predicates: an index on last year's predicate would pass `plms db check`."""
    made = (*v0003_violations.INDEXES, *v0006_corners.INDEXES)
    built = {name: (table, predicate, on_sqlite) for name, table, _, predicate, on_sqlite in made}
    del built[v0006_corners.DROPPED[0]]
    assert built == {each.index: (each.table, each.predicate, each.sqlite) for each in VIOLATIONS.values()}


def plans(books: Books, *, trust_index: bool) -> dict[str, str]:
    """How SQLite would answer each row invariant."""
    found = {}
    with books.registry.reading() as session:
        for name, violation in VIOLATIONS.items():
            statement = _statement(session, violation, INVARIANTS[name].shows, trust_index=trust_index)
            sql = str(statement.compile(session.get_bind(), compile_kwargs={"literal_binds": True}))
            found[name] = " ".join(str(row[3]) for row in session.execute(text("EXPLAIN QUERY PLAN " + sql)))
    return found


def test_a_proof_reads_only_the_index_of_the_offenders(sqlite_books: Books) -> None:
    """Without its index a rule reads the whole table: a million rows instead of an empty page."""
    found = plans(sqlite_books, trust_index=True)
    assert {name: plan for name, plan in found.items() if f"INDEX {VIOLATIONS[name].index}" not in plan} == {}


def test_on_postgresql_too_a_proof_reads_only_the_index_of_the_offenders(postgres_books: Books) -> None:
    """The planner must see that the question implies the index; with a small table it would rather read the table."""
    with postgres_books.registry.reading() as session:
        for switch in ("enable_seqscan", "enable_sort"):
            session.execute(text(f"SET LOCAL {switch} = off"))
        for name, violation in VIOLATIONS.items():
            statement = _statement(session, violation, INVARIANTS[name].shows, trust_index=True)
            alone = str(statement.compile(session.get_bind(), compile_kwargs={"literal_binds": True})).replace(
                "%%", "%"
            )
            for sql in (alone, indexed_sql(violation, INVARIANTS[name].shows)):
                plan = " ".join(row[0] for row in session.execute(text("EXPLAIN " + sql)))
                assert violation.index in plan, plan


def test_the_weekly_proof_trusts_no_index(sqlite_books: Books) -> None:
    """A damaged index hides its rows from everyone who reads through it."""
    found = plans(sqlite_books, trust_index=False)
    assert {name: plan for name, plan in found.items() if "INDEX vx_" in plan} == {}


def test_all_row_invariants_together_read_only_their_indexes(sqlite_books: Books) -> None:
    """SQLite preferred other indexes for two of them, and the proof of a million runs took a hundred times as long."""
    names = sorted(VIOLATIONS)
    with sqlite_books.registry.reading() as session:
        plan = " ".join(str(row[-1]) for row in session.execute(text("EXPLAIN QUERY PLAN " + tally_sql(names))))
    assert [name for name in names if VIOLATIONS[name].index not in plan] == []


def test_healthy_books_have_no_offender_at_once(books: Books) -> None:
    """A name that is missing here is asked again on its own, which costs the night its speed."""
    with books.registry.reading() as session:
        found = all_at_once(session, list(ROW_INVARIANTS))
        assert all_at_once(session, []) == {}
    assert {name: list(rows) for name, rows in found.items()} == {each.name: [] for each in ROW_INVARIANTS}


@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_asked_at_once_is_what_is_asked_one_by_one(postgres_books: Books, read_only: bool) -> None:
    """The fast way writes its own SQL: other offenders or other totals than the slow way would be a wrong proof."""
    for corruption in ALL:
        if corruption.invariant in VIOLATIONS:
            plant(postgres_books.registry, postgres_books.url, corruption)
    registry = Registry.open(postgres_books.url, read_only=read_only)
    with registry.reading() as session:
        at_once = all_at_once(session, list(ROW_INVARIANTS))
        for each in ROW_INVARIANTS:
            assert told(each, at_once[each.name], checked=7) == offenders(session, each, checked=7), each.name
    registry.close()
    assert sum(1 for rows in at_once.values() if rows) > 20


def test_on_postgresql_too_a_missing_column_silences_no_other(postgres_books: Books) -> None:
    """One message, one error: the others must then be asked on their own."""
    with postgres_books.registry.writing() as session:
        session.execute(text("ALTER TABLE day_summaries RENAME COLUMN n TO m"))
        session.execute(text("UPDATE project_runs SET passport_sha256 = NULL WHERE run_id = 'own-hotfix'"))
    names = {"no_summary_counts_below_zero", "every_run_has_a_passport", "every_run_has_an_id"}
    report = prove(postgres_books.registry, postgres_books.settings, healthy.CLOCK, only=names)
    assert {result.invariant.name for result in report.failed} == names - {"every_run_has_an_id"}


def test_a_missing_index_costs_time_and_no_answer(sqlite_books: Books) -> None:
    """The proof must not depend on what it also has to prove."""
    with sqlite_books.registry.writing() as session:
        session.execute(text("DROP INDEX vx_every_run_has_a_passport"))
        session.execute(text("UPDATE project_runs SET passport_sha256 = NULL WHERE run_id = 'own-hotfix'"))
    report = prove(sqlite_books.registry, sqlite_books.settings, healthy.CLOCK)
    assert {result.invariant.name for result in report.failed} == {
        "every_run_has_a_passport", "every_passport_matches_its_hash", "schema_is_at_head",
    }  # fmt: skip
