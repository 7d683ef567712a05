"""Money and risk as assets: what the page and the terminal tell, for whoever looks in the Dagster UI."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from plms_pipeline.resources import DOCUMENTS, Plms, no_retry_for_permanent_errors

_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=4), warn_window=timedelta(hours=2))


def _told(
    description: str, check_specs: Sequence[dg.AssetCheckSpec] = ()
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """A view of the books: a document that is stale when the hour's schedule missed it."""
    return dg.asset(
        io_manager_key=DOCUMENTS, group_name="runs", owners=["team:plms"], freshness_policy=_FRESH, kinds={"sqlalchemy"},
        code_version="1", description=description, check_specs=check_specs,
    )  # fmt: skip


@_told(
    description="How long the budget of every project under way lasts and what it will have cost, with 90 % intervals: the "
    "shortest first. Spent and reserved are the ledger's.",
    check_specs=[
        dg.AssetCheckSpec(
            "every_status_follows_from_its_numbers", asset="budget_runway",
            description="No project is told ok that its own numbers call critical.",
        )
    ],
)  # fmt: skip
def budget_runway(context: dg.AssetExecutionContext, plms: Plms) -> Iterator[dg.Output[Any] | dg.AssetCheckResult]:
    """Tell every runway."""
    from plms_pipeline.runs.actions.portfolio_views import contradictions, runways
    from plms_pipeline.runs.render.money import runway_markdown, runway_plot

    with no_retry_for_permanent_errors():
        found = runways(plms.registry(), clock=plms.clock())
    wrong = contradictions(found)
    context.log.info("projects=%d critical=%d", len(found), sum(one["status"] == "critical" for one in found))
    yield dg.Output(
        found,
        metadata={
            "dagster/row_count": len(found),
            **{status: sum(one["status"] == status for one in found) for status in ("ok", "warning", "critical")},
            "spent_usd": round(sum(one["budget"]["usd_spent"] for one in found), 6),
            "runways": dg.MetadataValue.md(runway_markdown(found)),
            **({"plot": dg.MetadataValue.md(runway_plot(found))} if found else {}),
        },
    )
    yield dg.AssetCheckResult(
        check_name="every_status_follows_from_its_numbers", passed=not wrong,
        metadata={"offenders": dg.MetadataValue.json(wrong)},
    )  # fmt: skip


@_told(
    description="Estimation, execution and validation risk of each lane of every project under way; unknown below three "
    "observations.",
)
def risk_heatmap(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult[Any]:
    """Tell every risk."""
    from plms_pipeline.runs.actions.portfolio_views import heatmaps
    from plms_pipeline.runs.render.money import heatmap_markdown

    with no_retry_for_permanent_errors():
        found = heatmaps(plms.registry())
    cells = [lane for one in found for lane in one["lanes"]]
    high = sum("high" in (lane["estimation_risk"], lane["execution_risk"], lane["validation_risk"]) for lane in cells)
    context.log.info("projects=%d lanes=%d high=%d", len(found), len(cells), high)
    return dg.MaterializeResult(
        value=found,
        metadata={
            "dagster/row_count": len(cells), "projects": len(found), "high": high,
            "heatmap": dg.MetadataValue.md(heatmap_markdown(found)),
        },
    )  # fmt: skip


@_told(
    description="How far the tokens of each lane lay from their estimates in the last ten projects, and where that goes "
    "(least squares; below three projects: stable).",
)
def estimation_drift(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult[Any]:
    """Tell every lane's drift."""
    from plms_pipeline.runs.actions.portfolio_views import drifts
    from plms_pipeline.runs.render.money import drift_markdown

    with no_retry_for_permanent_errors():
        found = drifts(plms.registry())
    degrading = sum(one["trend"] == "degrading" for one in found)
    context.log.info("lanes=%d degrading=%d", len(found), degrading)
    return dg.MaterializeResult(
        value=found,
        metadata={
            "dagster/row_count": len(found), "degrading": degrading,
            "drift": dg.MetadataValue.md(drift_markdown(found)),
        },
    )  # fmt: skip


ASSETS = [budget_runway, risk_heatmap, estimation_drift]

tell_money_and_risk = dg.define_asset_job(
    name="tell_money_and_risk",
    selection=dg.AssetSelection.assets("budget_runway", "risk_heatmap", "estimation_drift"),
    description="Shows runways, risks and drift as they are now; changes nothing.",
    tags={"dagster/max_runtime": "300", "plms/exclusive": "money_and_risk"},
)


@dg.schedule(
    name="hourly_money_and_risk",
    job=tell_money_and_risk,
    cron_schedule="17 * * * *",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Once an hour; between two of them the page, the terminal and the history tell what changed.",
)
def hourly_money_and_risk(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run an hour."""
    return dg.RunRequest(run_key=None, tags={"plms/at": context.scheduled_execution_time.isoformat()})


JOBS = [tell_money_and_risk]
SCHEDULES = [hourly_money_and_risk]
