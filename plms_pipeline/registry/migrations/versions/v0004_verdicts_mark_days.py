"""A run whose verdict, override or kind changes marks the days of its receipts, whoever changes it.

An override typed as SQL, as the guide shows it, moves a run in or out of what teaches just as one that a program records
does. A trigger marks the day in both cases, so that the next night rewrites its file and summarises it again.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = "trg_project_runs_mark_days"
COLUMNS = "validation, validation_pass_override, override_teaches, run_kind, write_sandbox, passport_sha256, verdict_by"
MARK = (
    "UPDATE receipt_days SET changed_seq = changed_seq + 1 "
    "WHERE day IN (SELECT completed_on FROM task_receipts WHERE run_id = NEW.run_id);"
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {NAME} AFTER UPDATE OF {COLUMNS} ON project_runs FOR EACH ROW BEGIN {MARK} END")
        return
    op.execute(
        f"CREATE FUNCTION plms_mark_days() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {MARK} RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {NAME} AFTER UPDATE OF {COLUMNS} ON project_runs FOR EACH ROW EXECUTE FUNCTION plms_mark_days()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {NAME}")
        return
    op.execute(f"DROP TRIGGER {NAME} ON project_runs")
    op.execute("DROP FUNCTION plms_mark_days()")
