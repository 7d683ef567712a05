"""The night in Dagster: the report asset, the job `nightly` and its schedule."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from typing import Any, Self

import dagster as dg
from pydantic import PrivateAttr

from plms_pipeline.monitoring.night import CRON, ZONE, night_of
from plms_pipeline.resources import AS_OF_TAG, Plms, as_of, no_retry_for_permanent_errors

NIGHTLY_ASSETS = (
    "receipt_days", "calibration_dataset", "day_summaries", "priors", "calibration_backtest", "kpi_evaluations",
    "kpi_pass_rates", "late_evidence", "lane_classifier", "invariants_report", "nightly_report",
)  # fmt: skip
MAX_RUNTIME_S = 3600


class NightLease(dg.ConfigurableResource[Any]):
    """The right to run the night. Dagster takes it before the first step and gives it back after the last one."""

    plms: dg.ResourceDependency[Plms]
    _holder: str = PrivateAttr(default="")

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:  # noqa: ARG002 - Dagster's signature
        """Hold the lease for as long as the run lasts.

        Raises:
            Failure: another night is running (the message says who and since when), or the report could not be written.
        """
        from plms_pipeline.monitoring.files import require_writable
        from plms_pipeline.monitoring.service import night_lease

        with no_retry_for_permanent_errors(), night_lease(self.plms.registry(), self.plms.clock()) as lease:
            require_writable(self.plms.settings().reports_dir)
            self._holder = lease.holder
            yield self

    @property
    def holder(self) -> str:
        """Host, pid and start time of the process that holds the lease."""
        return self._holder


@dg.asset(
    group_name="monitoring",
    owners=["team:plms"],
    kinds={"html", "json"},
    code_version="1",
    freshness_policy=dg.FreshnessPolicy.cron(
        deadline_cron="0 4 * * *", lower_bound_delta=timedelta(hours=3), timezone=ZONE
    ),
    description="The report of the night: `reports/nightly/<date>/index.html` for people, `summary.json` for programs.",
)
def nightly_report(
    context: dg.AssetExecutionContext,
    plms: Plms,
    night_lease: NightLease,
    receipt_days: dict[str, Any],
    calibration_dataset: dict[str, Any],
    priors: dict[str, Any],
    calibration_backtest: dict[str, Any],
    kpi_evaluations: dict[str, Any],
    kpi_pass_rates: dict[str, Any],
    invariants_report: dict[str, Any],
) -> dg.MaterializeResult[Any]:
    """Compose the documents of the night into one page and one JSON file."""
    from plms_pipeline.monitoring.actions import write_report
    from plms_pipeline.monitoring.summary import Documents

    with no_retry_for_permanent_errors():
        documents = Documents(
            receipt_days=receipt_days, calibration_dataset=calibration_dataset, priors=priors,
            calibration_backtest=calibration_backtest, kpi_evaluations=kpi_evaluations, kpi_pass_rates=kpi_pass_rates,
            invariants_report=invariants_report,
        )  # fmt: skip
        now = plms.clock().now()
        report = write_report(
            plms.registry(), plms.settings(), as_of=as_of(context, plms.clock()), documents=documents, ran_at=now
        )
    context.log.info(f"night_written date={report.night} verdict={report.verdict} holder={night_lease.holder}")
    return dg.MaterializeResult(
        metadata={
            "date": str(report.night),
            "verdict": report.verdict,
            "report": dg.MetadataValue.path(str(report.page)),
            "summary": dg.MetadataValue.path(str(report.summary)),
            "headline": dg.MetadataValue.md(report.headline_markdown),
            **{name: dg.MetadataValue.float(value) for name, value in report.figures.items()},
        }
    )


nightly = dg.define_asset_job(
    "nightly",
    # `receipts` is rewritten by `receipt_days`, day by day, `alerts` by whoever evaluates; their checks belong to the night all
    # the same.
    selection=dg.AssetSelection.assets(*NIGHTLY_ASSETS) | dg.AssetSelection.checks_for_assets("receipts", "alerts"),
    description="The night: rewrite changed days, recalibrate, evaluate artifacts, prove the books, write the report.",
    # One at a time in the queue as well: dagster.yaml limits each value of plms/exclusive to one run.
    tags={"dagster/max_runtime": str(MAX_RUNTIME_S), "plms/exclusive": "nightly"},
    op_retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
)


@dg.schedule(
    name="nightly_books",
    job=nightly,
    cron_schedule=CRON,
    execution_timezone=ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 02:00 in New York, once, also on the two nights when the clocks change.",
)
def nightly_books(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run per night; its instant is the scheduled time, however late the daemon comes."""
    at = context.scheduled_execution_time.astimezone(UTC)
    return dg.RunRequest(run_key=str(night_of(at)), tags={AS_OF_TAG: at.isoformat()})


ASSETS = [nightly_report]
JOBS = [nightly]
SCHEDULES = [nightly_books]


def resources() -> dict[str, Any]:
    """What only this domain's assets need."""
    return {"night_lease": NightLease(plms=Plms())}
