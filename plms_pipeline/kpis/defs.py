"""The KPI domain in Dagster: what lies in the inbox is measured, and what came out is summed up."""

from datetime import timedelta
from typing import Any

import dagster as dg

from plms_pipeline.kpis.vocabulary import VALIDATORS_VERSION
from plms_pipeline.resources import DOCUMENTS, Plms, no_retry_for_permanent_errors

# Without it Dagster takes a MaterializeResult for the promise of no value.
_DOCUMENT = dg.PythonObjectDagsterType(
    dict, name="KpiDocument", description="A JSON object for the report of the night."
)
_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30), warn_window=timedelta(hours=26))
_EVALUATED = "every_artifact_was_evaluated"
_PASSES = "every_artifact_passes_its_gates"


def _columns(*columns: tuple[str, str, str]) -> dict[str, Any]:
    found = [dg.TableColumn(name, kind, description=text) for name, kind, text in columns]
    return {"dagster/column_schema": dg.TableSchema(columns=found)}


@dg.asset(
    io_manager_key=DOCUMENTS,
    dagster_type=_DOCUMENT,
    group_name="kpis",
    owners=["team:plms"],
    kinds={"pytest", "ruff", "json"},
    code_version=VALIDATORS_VERSION,
    freshness_policy=_FRESH,
    description="Every artifact in $PLMS_DATA_DIR/artifacts/inbox, measured against the gates of its lane. Unchanged ones are "
    "not measured again; a broken one fails with its reason and does not stop the others.",
    metadata=_columns(
        ("artifact", "string", "name of the folder"),
        ("lane_id", "int", "the lane whose gates apply; null when it is not known"),
        ("state", "string", "evaluated, unchanged, broken or postponed"),
        ("verdict", "string", "passed, failed or ungated"),
        ("reason", "string", "the gates that do not hold, and why"),
        ("kpis", "list", "name, value (null: not measured), operator, threshold, pass, reason"),
        ("evaluation_id", "string", "the rows of kpi_receipts and the folder of the logs"),
    ),
    check_specs=[
        dg.AssetCheckSpec(
            _EVALUATED,
            asset="kpi_evaluations",
            description="No artifact of the inbox is broken, and the time sufficed.",
        ),
        dg.AssetCheckSpec(
            _PASSES,
            asset="kpi_evaluations",
            description="The blocking gates of every artifact hold; names those that do not.",
        ),
    ],
)
def kpi_evaluations(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks Dagster takes no alias
    """Evaluate the inbox."""
    import time
    from uuid import uuid4

    from plms_pipeline.kpis.actions.inbox import evaluate_inbox
    from plms_pipeline.kpis.actions.world import world_of
    from plms_pipeline.kpis.render import items_markdown

    with no_retry_for_permanent_errors():
        world = world_of(
            registry=plms.registry(), settings=plms.settings(), clock=plms.clock(),
            new_id=lambda: str(uuid4()), elapsed=time.monotonic, sleep=time.sleep,
        )  # fmt: skip
        items = evaluate_inbox(world)
    states = {
        state: sum(item.state == state for item in items) for state in ("evaluated", "unchanged", "broken", "postponed")
    }
    verdicts = {verdict: sum(item.verdict == verdict for item in items) for verdict in ("passed", "failed", "ungated")}
    context.log.info(
        "kpi_evaluations %s", " ".join(f"{name}={count}" for name, count in {**states, **verdicts}.items())
    )
    return dg.MaterializeResult(
        value={"artifacts": [item.as_json() for item in items], "states": states, "verdicts": verdicts},
        metadata={
            "dagster/row_count": len(items),
            **states,
            **verdicts,
            "artifacts": dg.MetadataValue.md(items_markdown(items)),
            "inbox": dg.MetadataValue.path(str(plms.settings().artifacts_inbox)),
        },
        check_results=[
            _check(
                _EVALUATED, [f"{each.name}: {each.reason}" for each in items if each.state in ("broken", "postponed")]
            ),
            _check(_PASSES, [f"{each.name}: {each.reason}" for each in items if each.verdict == "failed"]),
        ],
    )


def _check(name: str, offenders: list[str]) -> dg.AssetCheckResult:
    # A warning: bad work is a fact that the pipeline found out, not a fault of the pipeline.
    return dg.AssetCheckResult(
        check_name=name,
        passed=not offenders,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"offenders": len(offenders), "named": dg.MetadataValue.json(offenders[:100])},
    )


@dg.asset(
    deps=[kpi_evaluations],
    io_manager_key=DOCUMENTS,
    dagster_type=_DOCUMENT,
    group_name="kpis",
    owners=["team:plms"],
    kinds={"sqlalchemy", "json"},
    code_version="1",
    freshness_policy=_FRESH,
    description="Per lane and KPI: how many evaluations, how many passed, and the newest of them.",
    metadata=_columns(
        ("lane_id", "int", "the lane"),
        ("lane_name", "string", "its name"),
        ("kpi_name", "string", "the KPI"),
        ("n", "int", "evaluations"),
        ("passed", "int", "evaluations whose gate held"),
        ("measured", "int", "evaluations that had a value at all"),
        ("pass_rate", "float", "passed / n, in [0, 1]"),
        ("mean_value", "float", "mean of the measured values; null when there is none"),
        ("last_value", "float", "the newest value; null when it was not measured"),
        ("last_pass", "bool", "whether the newest held"),
        ("last_at", "timestamp", "when the newest was measured, UTC"),
    ),
)
def kpi_pass_rates(plms: Plms) -> dg.MaterializeResult[Any]:
    """Sum up `kpi_receipts`."""
    from plms_pipeline.kpis.actions.rates import pass_rates, rows_of
    from plms_pipeline.kpis.render import png_markdown, rates_markdown, rates_png

    with no_retry_for_permanent_errors():
        rates = pass_rates(plms.registry())
    total = sum(each.n for each in rates)
    metadata: dict[str, Any] = {
        "dagster/row_count": len(rates),
        "measurements": total,
        "rates": dg.MetadataValue.md(rates_markdown(rates)),
    }
    if total:
        metadata["pass_rate"] = sum(each.passed for each in rates) / total
        metadata["plot"] = dg.MetadataValue.md(png_markdown(rates_png(rates), "pass rate per lane and KPI"))
    return dg.MaterializeResult(value={"rows": rows_of(rates)}, metadata=metadata)


ASSETS = [kpi_evaluations, kpi_pass_rates]
