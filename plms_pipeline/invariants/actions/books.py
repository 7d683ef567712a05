"""The book invariants: each fetches its window, lets a pure function compare, and answers how many offend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from plms_pipeline.intake.dayfile import ROWS_KEY, day_table
from plms_pipeline.intake.store import days as intake_days
from plms_pipeline.invariants import book, files
from plms_pipeline.invariants.actions.portfolio import PORTFOLIO_CHECKS
from plms_pipeline.invariants.actions.proof import Proof
from plms_pipeline.invariants.actions.rebuilding import day_summaries_equal_their_receipts, priors_equal_their_rebuild
from plms_pipeline.invariants.actions.runs import RUN_CHECKS
from plms_pipeline.invariants.report import CAP, Found
from plms_pipeline.invariants.store import books, schema
from plms_pipeline.registry import migrate
from plms_pipeline.registry.base import Base

OVERRIDES: Final = "lane_overrides"


def formulas_are_valid(proof: Proof) -> Found:
    """Every formula of a planned task can be judged."""
    chunks = books.formulas(proof.session, above=proof.above("task_estimates"))
    return book.merged(book.invalid_formulas(chunk) for chunk in chunks)


def formulas_never_loosen(proof: Proof) -> Found:
    """No formula of a planned task asks less than its lane."""
    gates = book.lane_gates(books.active_gates(proof.session))
    chunks = books.formulas(proof.session, above=proof.above("task_estimates"))
    return book.merged(book.loosening_formulas(chunk, gates) for chunk in chunks)


def verdicts_agree(proof: Proof) -> Found:
    """`pass` of every KPI receipt is what its value says."""
    chunks = books.verdicts(proof.session, above=proof.above("kpi_receipts"))
    return book.merged(book.disagreeing(chunk) for chunk in chunks)


def passed_runs_have_no_failed_gate(proof: Proof) -> Found:
    """No run of ours passed although a blocking gate failed last."""
    return book.found(
        books.evaluated_runs(proof.session),
        [
            f"project_runs run_id={run} task_id={task}: {kpi} failed with {value}"
            for run, task, kpi, value in books.failed_gates_of_passed_runs(proof.session)
        ],
    )


def passports_match(proof: Proof) -> Found:
    """Every run of ours has the passport whose hash it carries."""
    chunks = books.passports(proof.session, above=proof.above("project_runs"))
    return book.merged(book.broken_passports(chunk) for chunk in chunks)


def priors_match_their_hash(proof: Proof) -> Found:
    """Every prior's numbers are those that were hashed."""
    chunks = books.priors(proof.session, above=proof.above("estimate_versions"))
    return book.merged(book.unhashed_priors(chunk) for chunk in chunks)


def day_files_match(proof: Proof) -> Found:
    """Each day's file is the one that was written, and holds what the book holds."""
    days = proof.days
    every = books.day_files(proof.session, chosen=days) if days else []
    expected = [each for each in every if each.is_written or each.path is not None]
    wrong = []
    for each in expected:
        problem = files.day_file_problem(each, data_dir=proof.settings.data_dir)
        if problem is None and each.is_current and each.rows_sha256 is not None:
            table = day_table(intake_days.day_rows(proof.session, each.day), each.day)
            if table.schema.metadata[ROWS_KEY].decode() != each.rows_sha256:
                problem = (
                    f"its {table.num_rows} receipts or their verdicts were changed since its file was written, unseen"
                )
        if problem is not None:
            wrong.append(f"receipt_days day={each.day}: {problem}")
    waiting = sum(not each.is_current for each in every)
    told = book.found(len(expected), wrong)
    return replace(told, note=f"{waiting} changed days wait for the night" if waiting else "")


def receipt_days_are_known(proof: Proof) -> Found:
    """Every day that has receipts has a row in the book of days."""
    return book.found(books.day_count(proof.session), books.unknown_days(proof.session))


def receipts_stand_with_their_run(proof: Proof) -> Found:
    """Receipts carry the project of their run and the lane of their task."""
    total, named = books.strays(proof.session, above=proof.above("task_receipts"))
    return Found(proof.in_window("task_receipts"), total, tuple(named))


def lane_overrides_name_known_lanes(proof: Proof) -> Found:
    """Lane overrides lead from and to registered lanes."""
    total, named = 0, list[str]()
    for reference in schema.references():
        if reference.table.name == OVERRIDES and reference.elements[0].column.table.name == "lanes":
            n, rows = schema.dangling(proof.session, reference, above=0)
            total, named = total + n, [*named, *rows]
    return Found(proof.rows_of(OVERRIDES), total, tuple(named[:CAP]))


def references_resolve(proof: Proof) -> Found:
    """Every reference of every row leads to a row."""
    checked, total, named = 0, 0, list[str]()
    for reference in schema.references():
        table = reference.table.name
        if table == OVERRIDES and reference.elements[0].column.table.name == "lanes":
            continue
        n, rows = schema.dangling(proof.session, reference, above=proof.above(table))
        checked, total, named = checked + proof.in_window(table), total + n, [*named, *rows]
    return Found(checked, total, tuple(named[:CAP]))


def check_constraints_hold(proof: Proof) -> Found:
    """No row breaks a CHECK of the schema that has no row invariant of its own."""
    above = {table.name: proof.above(table.name) for table in Base.metadata.sorted_tables}
    total, named = 0, list[str]()
    for constraint, n, rows in schema.broken_checks(proof.session, above=above):
        total, named = total + n, [*named, *(f"{row} breaks {constraint}" for row in rows)]
    checked = sum(proof.in_window(table.name) for table in Base.metadata.sorted_tables)
    return Found(checked, total, tuple(named[:CAP]))


def triggers_stand(proof: Proof) -> Found:
    """The triggers that keep the books append-only stand and refuse."""
    return book.found(len(schema.TRIGGERS), schema.broken_triggers(proof.session))


def schema_is_at_head(proof: Proof) -> Found:
    """Tables, columns, indexes and constraints are those of the models."""
    state = migrate.check(proof.registry.engine.url.render_as_string(hide_password=False))
    wrong = [*state.differences, *schema.missing_guards(proof.session)]
    return book.found(max(len(Base.metadata.tables), len(wrong)), wrong)


CHECKS: Final[dict[str, Callable[[Proof], Found]]] = {
    "kpi_formulas_are_valid": formulas_are_valid,
    "kpi_formulas_never_loosen_their_lane": formulas_never_loosen,
    "lane_overrides_name_known_lanes": lane_overrides_name_known_lanes,
    "kpi_verdicts_agree_with_their_thresholds": verdicts_agree,
    "passed_runs_have_no_failed_gate": passed_runs_have_no_failed_gate,
    "every_passport_matches_its_hash": passports_match,
    "every_prior_matches_its_hash": priors_match_their_hash,
    "priors_equal_their_rebuild": priors_equal_their_rebuild,
    "day_summaries_equal_their_receipts": day_summaries_equal_their_receipts,
    "day_files_match_the_book": day_files_match,
    "every_receipt_day_is_known": receipt_days_are_known,
    "receipts_stand_with_their_run": receipts_stand_with_their_run,
    "every_reference_resolves": references_resolve,
    "every_check_constraint_holds": check_constraints_hold,
    "append_only_triggers_stand": triggers_stand,
    "schema_is_at_head": schema_is_at_head,
    **RUN_CHECKS,
    **PORTFOLIO_CHECKS,
}
