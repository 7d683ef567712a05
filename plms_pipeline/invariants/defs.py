"""The proof in Dagster: the asset `invariants_report`, and every invariant as an asset check on what it speaks about."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from plms_pipeline.invariants.rules import BOOK_INVARIANTS, INVARIANTS, REPORT, ROW_INVARIANTS, Invariant
from plms_pipeline.resources import DOCUMENTS, Plms, as_of, no_retry_for_permanent_errors

_GROUP = "invariants"
_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30), warn_window=timedelta(hours=26))
_COLUMNS = dg.TableSchema(
    columns=[
        dg.TableColumn(name, kind, description=text)
        for name, kind, text in (
            ("name", "string", "the sentence that must be true"),
            ("about", "string", "the asset that it speaks about"),
            ("severity", "string", "ERROR: the books are wrong; WARN: they are right but weak"),
            ("checked", "int", "rows looked at"),
            ("violations", "int", "rows that offend; 1 when it could not be checked"),
            ("errors", "list", "the first offenders by name, or why it could not be checked"),
        )
    ]
)


def _spec(invariant: Invariant, **options: Any) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        invariant.name,
        asset=invariant.about,
        description=f"Violated by {invariant.offence}. Remedy: {invariant.remedy}",
        metadata={"kind": invariant.kind, "severity": str(invariant.severity)},
        **options,
    )


def check_result(name: str, check: dict[str, Any]) -> dg.AssetCheckResult:
    """One invariant of a report (`report.to_json`) as Dagster shows it: verdict, severity, who offends, what to do."""
    errors = check["errors"]
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=check["about"],
        passed=check["passed"],
        severity=dg.AssetCheckSeverity[check["severity"]],
        description=None if check["passed"] else f"{check['offence']}: {errors[0]}",
        metadata={
            "checked": check["checked"],
            "violations": check["violations"],
            "offenders": dg.MetadataValue.md("\n".join(f"- `{error}`" for error in errors) or "none"),
            "remedy": check["remedy"],
            "duration_ms": check["duration_ms"],
        },
    )


_OWN = [each for each in INVARIANTS.values() if each.about == REPORT]
_OTHERS = [each for each in INVARIANTS.values() if each.about != REPORT]


@dg.asset(
    name=REPORT,
    group_name=_GROUP,
    owners=["team:plms"],
    kinds={"sql", "json"},
    code_version="1",
    deps=["receipt_days", "day_summaries", "priors", "kpi_evaluations"],
    check_specs=[_spec(each) for each in _OWN],
    io_manager_key=DOCUMENTS,
    freshness_policy=_FRESH,
    metadata={"dagster/column_schema": _COLUMNS},
    description=(
        f"The proof of the books: {len(ROW_INVARIANTS)} row invariants over every row, {len(BOOK_INVARIANTS)} book invariants "
        "over what changed since the last clean night (everything on Sundays). A broken invariant fails its check, never the "
        "night."
    ),
)
def invariants_report(context: dg.AssetExecutionContext, plms: Plms) -> Iterator[dg.Output[Any] | dg.AssetCheckResult]:
    """Prove everything, hand the report on, show the invariants that no other asset answers for."""
    from plms_pipeline.invariants.actions.proving import prove
    from plms_pipeline.invariants.report import to_json

    with no_retry_for_permanent_errors():
        instant = as_of(context, plms.clock())
        report = prove(plms.registry(), plms.settings(), plms.clock(), as_of=instant, keeps_marks=True)
    document = to_json(report)
    yield dg.Output(
        document,
        metadata={
            "dagster/row_count": document["summary"]["total_checks"],
            "invariants": document["summary"]["total_checks"],
            "failed": document["summary"]["failed_checks"],
            "violations": document["summary"]["total_violations"],
            "status": document["summary"]["status"],
            "full": report.full,
            "lines": dg.MetadataValue.md(_table(document)),
        },
    )
    for each in _OWN:
        yield check_result(each.name, document["checks"][each.name])


def _table(document: dict[str, Any]) -> str:
    lines = ["| invariant | holds | of | offenders |", "|---|---:|---:|---|"]
    for name, check in document["checks"].items():
        offenders = "; ".join(check["errors"][:3])
        lines.append(f"| {name} | {check['checked'] - check['violations']} | {check['checked']} | {offenders} |")
    return "\n".join(lines)


@dg.multi_asset_check(
    name="book_checks",
    specs=[_spec(each, additional_deps=[REPORT]) for each in _OTHERS],
    can_subset=True,
    description="The invariants that speak about other assets, each shown on the asset that it judges.",
)
def book_checks(context: dg.AssetCheckExecutionContext, plms: Plms) -> Iterator[dg.AssetCheckResult]:
    """Show what tonight's proof said about other assets; prove just these when there was none (one asset by hand)."""
    from plms_pipeline.invariants.actions.showing import checks_of

    wanted = {key.name for key in context.selected_asset_check_keys}
    with no_retry_for_permanent_errors():
        instant = as_of(context, plms.clock())
        found = checks_of(plms.registry(), plms.settings(), plms.clock(), as_of=instant, names=wanted)
    for name in sorted(wanted):
        yield check_result(name, found[name])


ASSETS = [invariants_report]
CHECKS = [book_checks]
