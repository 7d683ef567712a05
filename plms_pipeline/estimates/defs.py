"""The calibration in Dagster: what teaches, its summaries, whether the intervals hold, and the priors."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from datetime import timedelta
from typing import Any

import dagster as dg

from plms_pipeline.resources import DOCUMENTS, Plms, as_of, no_retry_for_permanent_errors

_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30), warn_window=timedelta(hours=26))


def _columns(*columns: tuple[str, str, str]) -> dict[str, Any]:
    found = [dg.TableColumn(name, kind, description=text) for name, kind, text in columns]
    return {"dagster/column_schema": dg.TableSchema(columns=found)}


@dg.asset(
    io_manager_key=DOCUMENTS,
    group_name="estimates",
    owners=["team:plms"],
    freshness_policy=_FRESH,
    deps=[dg.AssetKey("receipt_days")],
    kinds={"sqlalchemy", "numpy"},
    code_version="1",
    description="Which receipts teach at the night's instant. Effort: successes that the policy includes, joined by run; "
    "spend: every real baseline or hotfix receipt. What is left out is counted once, at the first rule that says no.",
    metadata=_columns(
        ("lane_id", "int", "lane"),
        ("provider", "string", "model or service"),
        ("effort", "int", "receipts that teach what a successful task takes"),
        ("spend", "int", "receipts that teach what an attempt takes whatever its end"),
    ),
)
def calibration_dataset(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult[Any]:
    """Count what teaches and what does not."""
    from plms_pipeline.estimates.actions.calibration import calibration_dataset as dataset
    from plms_pipeline.estimates.render import dataset_markdown

    with no_retry_for_permanent_errors():
        found = dataset(
            plms.registry(), as_of=as_of(context, plms.clock()), alpha=plms.settings().alpha
        ).document()  # fmt: skip
    context.log.info("receipts=%d stale_days=%d", found["receipts"], len(found["stale_days"]))
    return dg.MaterializeResult(
        value=found,
        metadata={
            "dagster/row_count": found["receipts"],
            "days": found["days"],
            "stale_days": len(found["stale_days"]),
            **{f"included_{basis}": n for basis, n in found["included"].items()},
            **{f"excluded_{basis}": sum(rules.values()) for basis, rules in found["excluded"].items()},
            "policy": dg.MetadataValue.md(dataset_markdown(found)),
        },
    )


@dg.asset(
    io_manager_key=DOCUMENTS,
    group_name="estimates",
    owners=["team:plms"],
    freshness_policy=_FRESH,
    deps=[calibration_dataset],
    kinds={"sqlalchemy", "numba"},
    code_version="1",
    description="One small summary per (day, lane, provider, measure, basis): count, log moments, exponentially weighted mean, "
    "quantile sketch. Only days whose receipts, verdicts or method changed are summarised again.",
    metadata=_columns(
        ("day", "date", "UTC day of completion"),
        ("lane_id", "int", "lane"),
        ("provider", "string", "model or service"),
        ("measure", "string", "tokens, duration_ms, cost_usd; receipts: counts and exclusions"),
        ("basis", "string", "effort or spend"),
        ("n", "int", "receipts with a known value"),
        ("summary", "bytes", "the encoded summary"),
        ("digest", "string", "SHA-256 of the summary"),
    ),
)
def day_summaries(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult[Any]:
    """Summarise the days that changed."""
    from plms_pipeline.estimates.actions.believing import summarise_stale_days

    with no_retry_for_permanent_errors():
        days = list(summarise_stale_days(plms.registry(), alpha=plms.settings().alpha))
    facts = sum(day.facts for day in days)
    context.log.info("days=%d facts=%d", len(days), facts)
    table = "\n".join(
        f"| {day.day} | {day.included.get('effort', 0):,} | {day.included.get('spend', 0):,} | {day.facts} |"
        for day in days[-50:]
    )
    return dg.MaterializeResult(
        value={"days": [day.day.isoformat() for day in days], "facts": facts},
        metadata={
            "days": len(days),
            "facts": facts,
            "summarised": dg.MetadataValue.md(f"| day | effort | spend | facts |\n|---|---:|---:|---:|\n{table}"),
        },
    )


@dg.asset(
    io_manager_key=DOCUMENTS,
    group_name="estimates",
    owners=["team:plms"],
    freshness_policy=_FRESH,
    deps=[day_summaries],
    kinds={"numba", "sqlalchemy"},
    code_version="1",
    description="Every receipt forecast one step ahead, at its start, from what had been completed by then: coverage of the "
    "90 % interval, Winkler, CRPS, MAE and PIT per lane and provider, with the prototype as baseline. Stores the corrections "
    "of the intervals that hold from this night on. A night repeated for a past date corrects that date only, and "
    "`plms forecast` goes on quoting the newest night.",
    metadata=_columns(
        ("measure", "string", "cost_usd, duration_ms or tokens"),
        ("lane_id", "int", "lane"),
        ("provider", "string", "model or service"),
        ("n", "int", "forecasts"),
        ("coverage_90", "float", "share of outcomes with low ≤ x ≤ high"),
        ("winkler", "float", "mean interval score, in the measure's unit"),
        ("crps", "float", "mean continuous ranked probability score, in the measure's unit"),
        ("mae", "float", "mean absolute error of the median, in the measure's unit"),
    ),
)
def calibration_backtest(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult[Any]:
    """Prove the intervals, and correct those that are made from this night's day on until the next night."""
    from plms_pipeline.estimates.actions.calibration import TREES, run_backtest
    from plms_pipeline.estimates.render import calibration_markdown, calibration_png, cells_markdown, png_markdown

    with no_retry_for_permanent_errors():
        found = run_backtest(
            plms.registry(), as_of=as_of(context, plms.clock()), alpha=plms.settings().alpha
        ).document()  # fmt: skip
    metadata: dict[str, Any] = {}
    for basis, name in TREES.items():
        metadata[f"lanes_{basis}"] = dg.MetadataValue.md(calibration_markdown(found[name]))
        metadata[f"providers_{basis}"] = dg.MetadataValue.md(cells_markdown(found[name]))
        for measure, tree in found[name].items():
            for figure in ("n", "coverage_90", "winkler", "winkler_ratio", "crps", "mae"):
                value = tree["overall"].get(figure)
                if value is not None:
                    metadata[f"{basis}_{measure}_{figure}"] = value
    trees: dict[str, Any] = {basis: found[name] for basis, name in TREES.items()}
    if any(trees.values()):
        metadata["plot"] = dg.MetadataValue.md(png_markdown(calibration_png(trees), "coverage per lane, and PIT"))
    context.log.info("calibration %s", {name: sorted(found[name]) for name in TREES.values()})
    return dg.MaterializeResult(value=found, metadata=metadata)


@dg.asset(
    io_manager_key=DOCUMENTS,
    group_name="estimates",
    owners=["team:plms"],
    freshness_policy=_FRESH,
    kinds={"sqlalchemy", "numba"},
    code_version="1",
    description="What is believed per (lane, provider), per provider, per lane and overall, on both bases, as append-only "
    "versions in `estimate_versions`: a version is written only when its numbers differ. The intervals shown carry this "
    "night's correction; the stored quantiles do not. A night repeated for a past date shows what was believed then and "
    "writes a version only where none of a later night exists: beliefs do not move backwards.",
    metadata=_columns(
        ("lane_id", "int", "lane; null: over all lanes"),
        ("provider", "string", "model or service; *: one never seen"),
        ("basis", "string", "effort or spend"),
        ("n", "int", "receipts behind it"),
        ("attempts_per_task", "float", "on the spend basis"),
        ("cost_usd", "object", "n, mean, median, low, high, correction"),
        ("duration_ms", "object", "n, mean, median, low, high, correction"),
        ("tokens", "object", "n, mean, median, low, high, correction"),
    ),
)
def priors(
    context: dg.AssetExecutionContext, plms: Plms, calibration_backtest: dict[str, Any]
) -> dg.MaterializeResult[Any]:
    """Write the versions whose numbers are new; a past date's are shown, and written only where nothing later is held."""
    from plms_pipeline.estimates.actions.calibration import write_priors
    from plms_pipeline.estimates.render import png_markdown, priors_markdown, priors_png

    with no_retry_for_permanent_errors():
        found = write_priors(
            plms.registry(), as_of=as_of(context, plms.clock()), alpha=plms.settings().alpha, clock=plms.clock(),
            errors=calibration_backtest,
        ).document()  # fmt: skip
    rows = found["priors"]
    metadata: dict[str, Any] = {
        "dagster/row_count": len(rows),
        "versions_written": found["versions_written"],
        "versions_unchanged": found["versions_unchanged"],
        "priors": dg.MetadataValue.md(priors_markdown(rows)),
    }
    if rows:
        metadata["plot"] = dg.MetadataValue.md(png_markdown(priors_png(rows), "cost intervals"))
    context.log.info("priors=%d written=%d", len(rows), found["versions_written"])
    return dg.MaterializeResult(value=found, metadata=metadata)


ASSETS = [calibration_dataset, day_summaries, calibration_backtest, priors]
