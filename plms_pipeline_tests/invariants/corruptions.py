"""Every way in which a test spoils the books: the SQL, the invariant that must find it, and how it must name the row.

`forbidden` says that the database itself refuses the statement while its constraints and triggers stand; to plant it they
are switched off, the way somebody with the rights would do it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import text

from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.invariants.corruptions_portfolio import SPOILED_PORTFOLIO
from plms_pipeline_tests.invariants.corruptions_runs import SPOILED

A_RECEIPT = "id = (SELECT MIN(id) FROM task_receipts)"
AN_EFFORT_PRIOR = "id = (SELECT MAX(id) FROM estimate_versions WHERE basis = 'effort')"
RUN = "run_id=own-"


@dataclass(frozen=True)
class Corruption:
    """One spoiled row."""

    sql: str
    invariant: str
    names: str
    forbidden: bool = False

    @property
    def label(self) -> str:
        return f"{self.invariant}-{self.sql.split(' SET ')[-1][:40]}"


def _run(change: str, invariant: str, *, kind: str = "hotfix", forbidden: bool = False) -> Corruption:
    sql = f"UPDATE project_runs SET {change} WHERE run_id = 'own-{kind}'"
    return Corruption(sql, invariant, f"{RUN}{kind}", forbidden)


def _receipt(change: str, invariant: str, names: str = "task_receipts run_id=") -> Corruption:
    return Corruption(f"UPDATE task_receipts SET {change} WHERE {A_RECEIPT}", invariant, names, forbidden=True)


def _day(change: str, invariant: str, names: str = "receipt_days day=", *, forbidden: bool = False) -> Corruption:
    return Corruption(f"{change} WHERE day = (SELECT MIN(day) FROM receipt_days)", invariant, names, forbidden)


def _plan(change: str, invariant: str, names: str) -> Corruption:
    return Corruption(f"UPDATE {change}", invariant, names, forbidden=True)


def _project(change: str, invariant: str, names: str = "name=calculator") -> Corruption:
    return _plan(f"projects SET {change} WHERE name = 'calculator'", invariant, names)


def _kpi(place: int, change: str, invariant: str, names: str = "") -> Corruption:
    evaluation = f"own-hotfix-{place}"
    sql = f"kpi_receipts SET {change} WHERE evaluation_id = '{evaluation}'"
    return _plan(sql, invariant, names or f"evaluation_id={evaluation}")


def _prior(change: str, invariant: str, names: str = "estimate_versions id=") -> Corruption:
    sql = f"UPDATE estimate_versions SET {change} WHERE {AN_EFFORT_PRIOR}"
    return Corruption(sql, invariant, names, forbidden=True)


def _summary(change: str, invariant: str, *, forbidden: bool = False) -> Corruption:
    where = "day = (SELECT MAX(day) FROM day_summaries) AND measure = 'cost_usd' AND basis = 'spend'"
    return Corruption(f"UPDATE day_summaries SET {change} WHERE {where}", invariant, "day_summaries day=", forbidden)


def _formula(formula: str, invariant: str = "kpi_formulas_are_valid") -> Corruption:
    return Corruption(f"UPDATE task_estimates SET kpi_formula = '{formula}'", invariant, "task_estimates id=1")


RUNS = (
    _run("passport_sha256 = NULL", "every_run_has_a_passport", kind="baseline"),
    _run("status = 'DONE'", "every_run_state_is_known", kind="baseline", forbidden=True),
    _run("validation = 'good'", "every_run_state_is_known", kind="rehearsal", forbidden=True),
    _run("write_sandbox = TRUE", "no_baseline_runs_in_the_sandbox", kind="baseline", forbidden=True),
    _run("completed_at = '2020-01-01 00:00:00.000000'", "no_run_ends_before_it_starts", forbidden=True),
    _run("completed_at = NULL", "a_run_has_an_end_exactly_when_it_ended", forbidden=True),
    _run("validation_pass_override = TRUE", "every_override_is_explained", forbidden=True),
    _run(
        "validation_pass_override = TRUE, override_reason = ' ', overridden_by = 'x', overridden_at = completed_at",
        "every_override_is_explained",
    ),
    _run("verdict_by = NULL", "every_verdict_names_its_judge"),
    _run("provider_matrix_json = '{}'", "every_real_run_has_a_provider_snapshot"),
    _run("provider_matrix_json = ''", "every_real_run_has_a_provider_snapshot"),
    _run("provider_matrix_json = NULL", "every_real_run_has_a_provider_snapshot"),
    _run("rehearsal_pct = 5", "run_shares_lie_between_0_and_1", kind="rehearsal", forbidden=True),
    _run("run_kind = 'INVALID_KIND'", "every_run_kind_is_known", kind="rehearsal", forbidden=True),
    Corruption(
        "UPDATE project_runs SET source_file_sha256 = NULL "
        "WHERE id = (SELECT MIN(id) FROM project_runs WHERE source = 'swebench')",
        "every_run_has_a_passport", "source=swebench",
    ),
    Corruption(
        "UPDATE run_passports SET passport_json = '{}' WHERE run_id = 'own-hotfix'", "every_passport_matches_its_hash",
        f"{RUN}hotfix",
    ),
    Corruption("DELETE FROM run_passports WHERE run_id = 'own-hotfix'", "every_passport_matches_its_hash", f"{RUN}hotfix"),
    Corruption(
        "UPDATE run_tasks SET status = '?' WHERE run_id = 'own-hotfix'", "every_task_state_is_known", f"{RUN}hotfix",
        forbidden=True,
    ),
    Corruption(
        "UPDATE run_tasks SET started_at = '2026-01-02 00:00:00.000000', completed_at = '2026-01-01 00:00:00.000000' "
        "WHERE run_id = 'own-hotfix'",
        "no_task_ends_before_it_starts", f"{RUN}hotfix",
    ),
)  # fmt: skip

RECEIPTS = (
    _receipt("cost_usd = -1", "no_receipt_measures_less_than_nothing"),
    _receipt("duration_ms = -1", "no_receipt_measures_less_than_nothing"),
    _receipt("tokens = -1", "no_receipt_measures_less_than_nothing"),
    _receipt("started_at = '2099-01-01 00:00:00.000000'", "no_receipt_ends_before_it_starts"),
    _receipt("status = 'MAYBE'", "every_receipt_says_how_it_ended"),
    _receipt("attempt = 0", "attempts_count_from_one"),
    _receipt("test_pass_rate = 1.5", "receipt_shares_lie_in_their_range"),
    _receipt("tokens = 10, tokens_input = 20", "token_parts_fit_into_their_total"),
    _receipt("completed_on = '2025-01-01'", "every_receipt_lies_on_its_utc_day"),
    _receipt("api_calls = 7777", "day_files_match_the_book", "receipt_days day="),
    _receipt("project_id = (SELECT MAX(id) FROM projects)", "receipts_stand_with_their_run"),
    _receipt("lane_id = 6101", "receipts_stand_with_their_run"),
    _receipt("run_id = 'nobody'", "every_reference_resolves", "run_id=nobody"),
    _day("DELETE FROM receipt_days", "every_receipt_day_is_known", "task_receipts completed_on="),
    _day("UPDATE receipt_days SET written_seq = 99", "nothing_stands_ahead_of_the_book", forbidden=True),
    _day("UPDATE receipt_days SET n_receipts = 1000", "day_files_match_the_book"),
)  # fmt: skip

PRIORS = (
    _prior("run_kind = 'rehearsal'", "priors_learn_only_from_real_passed_runs"),
    _prior("validation_pass = FALSE", "priors_learn_only_from_real_passed_runs"),
    _prior("write_sandbox = TRUE", "priors_learn_only_from_real_passed_runs"),
    _prior("n_observations = 0", "every_prior_rests_on_receipts"),
    _prior("cost_usd_mean = -1", "no_prior_is_negative"),
    _prior("cost_usd_stddev = 7", "every_prior_matches_its_hash"),
    _prior("priors_json = '{}'", "every_prior_matches_its_hash"),
    _prior("provider_name = 'ghost'", "priors_equal_their_rebuild", names="provider_name=ghost"),
    _summary("n = -1", "no_summary_counts_below_zero", forbidden=True),
    _summary("n = 99", "day_summaries_equal_their_receipts"),
)

PLANS = (
    _formula("[1,2]"),
    _formula("broken"),
    _formula('{"code_tests":{">=":0.9}}'),
    _formula('{"test_pass_rate":{"=>":0.9}}'),
    _formula('{"test_pass_rate":{">=":0.5}}', "kpi_formulas_never_loosen_their_lane"),
    _plan("task_estimates SET estimated_cost_usd = -1", "no_estimate_is_negative", "task_estimates id=1"),
    _plan("lane_overrides SET corrected_lane = 4200", "every_lane_override_changes_the_lane", "lane_overrides id=1"),
    _plan("lane_overrides SET predicted_lane = 9998", "lane_overrides_name_known_lanes", "predicted_lane=9998"),
    _plan("lane_overrides SET corrected_lane = 9999", "lane_overrides_name_known_lanes", "corrected_lane=9999"),
    _project("budget_cost_usd_max = -1", "no_project_has_negative_money"),
    _project("status = 'paused'", "every_project_state_is_known"),
    _project("breach_policy = 'shrug'", "every_check_constraint_holds", "ck_projects_breach_policy_is_known"),
)

KPIS = (
    _kpi(0, "pass = TRUE", "kpi_verdicts_agree_with_their_thresholds"),
    _kpi(0, "kpi_threshold = '7'", "kpi_verdicts_agree_with_their_thresholds"),
    _kpi(1, "kpi_value = NULL", "every_unmeasured_kpi_fails_with_a_reason"),
    _kpi(1, "pass = FALSE, kpi_value = 0.1", "passed_runs_have_no_failed_gate", f"{RUN}hotfix"),
)

NAMELESS = Corruption(
    "UPDATE project_runs SET run_id = '' WHERE run_id = 'own-hotfix'", "every_run_has_an_id", "project_runs id="
)

# In this order all can be planted into one database, one after the other: none hides what a later one needs.
ALL = (
    *PRIORS,
    *(Corruption(*each) for each in (*SPOILED, *SPOILED_PORTFOLIO)),
    *RUNS,
    *RECEIPTS,
    *PLANS,
    *KPIS,
    NAMELESS,
)


def plant(registry: Registry, url: str, corruption: Corruption) -> None:
    """Spoil the row with everything switched off that would refuse it; triggers stand again afterwards."""
    if registry.dialect == "sqlite":
        _plant_sqlite(url.removeprefix("sqlite:///"), corruption.sql)
    else:
        _plant_postgres(registry, corruption.sql)


def _plant_sqlite(path: str, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF")
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        assert connection.execute(sql).rowcount >= 1
        for _, definition in triggers:
            connection.execute(definition)
        connection.commit()


def _plant_postgres(registry: Registry, sql: str) -> None:
    table = sql.split()[2 if sql.startswith("DELETE") else 1]
    with registry.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        checks = connection.scalars(
            text("SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = CAST(:table AS regclass)"),
            {"table": table},
        ).all()
        for name in checks:
            connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
        assert connection.exec_driver_sql(sql).rowcount >= 1
