"""Reports of runs that ended, and the folders that nobody owns any more, in Dagster."""

from typing import Any

import dagster as dg

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors


def _columns(*columns: tuple[str, str, str]) -> dict[str, Any]:
    found = [dg.TableColumn(name, kind, description=text) for name, kind, text in columns]
    return {"dagster/column_schema": dg.TableSchema(columns=found)}


@dg.asset(
    group_name="runs",
    owners=["team:plms"],
    kinds={"markdown", "json"},
    code_version="1",
    description="One session report per run that ended, in Markdown and JSON, with every earlier version kept; written anew "
    "when a verdict is overridden. `plms serve` writes them at once, this finds what is missing.",
    metadata=_columns(
        ("run_id", "string", "the run"),
        ("result", "string", "PASS, FAIL, WARN or SKIPPED"),
        ("cases", "string", "good tasks of all tasks"),
        ("revision", "int", "how often it was written"),
    ),
)
def session_reports(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult[Any]:
    """Write what is due and show the newest."""
    from plms_pipeline.runs.actions.closing import close_due, newest_reports
    from plms_pipeline.runs.render.session import reports_markdown

    with no_retry_for_permanent_errors():
        written = close_due(plms.registry(), settings=plms.settings(), clock=plms.clock())
        total, newest = newest_reports(plms.registry(), limit=20)
    context.log.info(f"session_reports written {len(written)} total {total}")
    results = [str(each.report["RESULT"]) for each in newest]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": total,
            "written": len(written),
            **{f"newest_{word.lower()}": results.count(word) for word in ("PASS", "FAIL", "WARN", "SKIPPED")},
            "newest": dg.MetadataValue.md(reports_markdown(newest)),
            "folder": dg.MetadataValue.path(str(plms.settings().reports_dir / "sessions")),
        }
    )


@dg.op(description="Remove run folders of no run, and what was staged after its run had ended, untouched for a day.")
def sweep_orphaned_folders(context: dg.OpExecutionContext, plms: Plms) -> None:
    """Sweep."""
    from plms_pipeline.runs.actions.closing import sweep_orphans

    with no_retry_for_permanent_errors():
        gone = sweep_orphans(plms.registry(), settings=plms.settings(), clock=plms.clock())
    context.log.info(f"swept {len(gone)}")
    context.add_output_metadata({"removed": len(gone), "folders": dg.MetadataValue.json(gone[:100])})


@dg.job(
    name="sweep_run_folders",
    description="Remove folders below $PLMS_DATA_DIR/runs that belong to nobody, a day after they were last touched.",
    tags={"dagster/max_runtime": "600"},
)
def sweep_run_folders() -> None:
    """One op."""
    sweep_orphaned_folders()


reports_job = dg.define_asset_job(
    "write_session_reports",
    selection=[session_reports],
    description="Write the session reports that are due.",
    tags={"dagster/max_runtime": "600"},
)


@dg.schedule(
    target=reports_job,
    cron_schedule="40 1 * * *",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    name="daily_session_reports",
    description="Shortly before the night: what is due by then is written, so that the night reads complete books.",
)
def daily_session_reports() -> dg.RunRequest:
    """Every day."""
    return dg.RunRequest()


@dg.schedule(
    job=sweep_run_folders,
    cron_schedule="20 3 * * *",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    name="daily_sweep",
    description="After the night.",
)
def daily_sweep() -> dg.RunRequest:
    """Every day."""
    return dg.RunRequest()


ASSETS = [session_reports]
JOBS = [sweep_run_folders, reports_job]
SCHEDULES = [daily_session_reports, daily_sweep]
