"""What a run's books lacked in the corners: indexes for what is asked all the time, the forecast of a whole project, claims of
rehearsals judged where they are made, and tasks whose verdict teaches on its own.

The calibration policy asks more of a receipt than before: that its own attempt succeeded, and its own task's verdict. Days on
which that can make a difference are summarised again by the next night, and until then on the spot.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from plms_pipeline.registry.migrations.attic import Attic
from plms_pipeline.registry.migrations.versions import v0003_violations, v0004_verdicts_mark_days
from plms_pipeline.registry.types import Json, UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TRIGGER = "trg_run_tasks_mark_days"
MARK = (
    "UPDATE receipt_days SET changed_seq = changed_seq + 1 "
    "WHERE day IN (SELECT completed_on FROM task_receipts WHERE run_id = NEW.run_id AND task_id = NEW.task_id);"
)
# As in 0003: (index, table, key columns, predicate, predicate on SQLite where its functions have other names).
INDEXES: tuple[tuple[str, str, tuple[str, ...], str, str | None], ...] = (
    (
        "vx_every_ended_rehearsal_says_what_it_covers",
        "project_runs",
        ("id",),
        "run_kind = 'rehearsal' AND source = 'plms' AND status = 'SUCCESS' AND strata_coverage IS NULL",
        None,
    ),
    (
        "vx_every_rehearsal_covers_what_it_claims",
        "rehearsals",
        ("rehearsal_id",),
        """strpos(answer_json, '"is_representative"' || chr(58) || 'true') > 0 AND strpos(answer_json, '"strata_coverage"' || chr(58) || '1.0') = 0""",
        """instr(answer_json, '"is_representative"' || char(58) || 'true') > 0 AND instr(answer_json, '"strata_coverage"' || char(58) || '1.0') = 0""",
    ),
)
# It called every honest partial rehearsal an offence.
DROPPED = next(each for each in v0003_violations.INDEXES if each[0] == "vx_every_rehearsal_covers_its_strata")
# Runs of ours, whose attempts and tasks are told apart now, and attempts that failed at a task that another one ended well.
SUMMARISE_AGAIN = """
UPDATE receipt_days SET summarised_seq = 0 WHERE day IN (
    SELECT r.completed_on FROM project_runs p JOIN task_receipts r ON r.run_id = p.run_id WHERE p.source = 'plms'
    UNION
    SELECT r.completed_on FROM task_receipts r
      JOIN run_tasks t ON t.run_id = r.run_id AND t.task_id = r.task_id
     WHERE r.status = 'FAIL' AND t.status = 'SUCCESS'
)
"""


def upgrade() -> None:
    attic = Attic()
    op.create_index("ix_project_runs_source_status", "project_runs", ["source", "status"])
    op.create_index(
        "ix_estimate_versions_newest",
        "estimate_versions",
        ["project_id", "lane_id", "provider_name", "basis", "id"],
    )
    attic.create_table(
        "project_forecasts",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("forecast_json", Json(), nullable=False),
        sa.Column("estimated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_forecasts_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_forecasts")),
    )
    op.drop_index(DROPPED[0], table_name=DROPPED[1])
    for index in INDEXES:
        _create(*index)
    _mark_days()
    op.execute(SUMMARISE_AGAIN)


def downgrade() -> None:
    op.execute(SUMMARISE_AGAIN)
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {TRIGGER}")
    else:
        op.execute(f"DROP TRIGGER {TRIGGER} ON run_tasks")
        op.execute("DROP FUNCTION plms_mark_days_of_task()")
        _function("plms_mark_days", v0004_verdicts_mark_days.MARK, in_order=False)
    for name, table, *_ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
    _create(*DROPPED)
    Attic().retire("project_forecasts")
    op.drop_index("ix_estimate_versions_newest", table_name="estimate_versions")
    op.drop_index("ix_project_runs_source_status", table_name="project_runs")


def _create(name: str, table: str, columns: tuple[str, ...], predicate: str, on_sqlite: str | None) -> None:
    op.create_index(
        name,
        table,
        list(columns),
        sqlite_where=sa.text(on_sqlite or predicate),
        postgresql_where=sa.text(predicate),
    )


def _mark_days() -> None:
    """A task's verdict teaches like its run's (migration 0004): whoever changes it marks the days of its receipts.

    On PostgreSQL both take the days in order, as imports do: two that take two days the other way round wait for each other.
    """
    changed = "OLD.validation <> NEW.validation"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {TRIGGER} AFTER UPDATE OF validation ON run_tasks FOR EACH ROW WHEN {changed} "
            f"BEGIN {MARK} END"
        )
        return
    _function("plms_mark_days", v0004_verdicts_mark_days.MARK, in_order=True)
    _function("plms_mark_days_of_task", MARK, in_order=True)
    op.execute(
        f"CREATE TRIGGER {TRIGGER} AFTER UPDATE OF validation ON run_tasks FOR EACH ROW WHEN ({changed}) "
        "EXECUTE FUNCTION plms_mark_days_of_task()"
    )


def _function(name: str, mark: str, *, in_order: bool) -> None:
    days = mark[mark.index("WHERE ") : mark.rindex(";")]
    first = f"PERFORM 1 FROM receipt_days {days} ORDER BY day FOR UPDATE; " if in_order else ""
    op.execute(
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {first}{mark} RETURN NULL; END $$"
    )
