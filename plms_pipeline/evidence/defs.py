"""Late evidence in Dagster: how much comes in time, whether its books add up, and the net behind the observer."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from datetime import timedelta
from typing import Any

import dagster as dg

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

EVERY_S = 30
# An observer ends what it can within the wait; what is this much later, nobody ended.
GRACE = timedelta(seconds=10)
MOST = 200
BACK = timedelta(days=7)


@dg.asset(
    group_name="evidence",
    owners=["team:plms"],
    kinds={"sqlalchemy"},
    code_version="1",
    check_specs=[
        dg.AssetCheckSpec(
            "every_obligation_is_accounted_for",
            asset="late_evidence",
            description="Accepted = ended + pending, each end with its one observation, nothing overdue, nothing in a spool.",
        )
    ],
    description="Evidence that was owed in the last seven days: provider snapshots after submission, KPI receipts and heat "
    "after completion. How much of each came in time, and which wait that asks for.",
)
def late_evidence(context: dg.AssetExecutionContext, plms: Plms) -> Any:
    """Count the books of late evidence, and say how much came in time."""
    from plms_pipeline.evidence.service.review import review

    with no_retry_for_permanent_errors():
        found = review(plms.settings(), plms.registry(), plms.clock(), back=BACK)
    context.log.info("accepted=%d pending=%d", found.facts.accepted, found.facts.pending)
    broken = {each.name: "; ".join(each.problems) for each in found.findings if not each.holds}
    yield dg.MaterializeResult(
        metadata={
            "accepted": found.facts.accepted,
            "pending": found.facts.pending,
            "observations": found.facts.observations,
            **{f"{each.evidence_kind}_coverage": each.ratio for each in found.coverage if each.ratio is not None},
            **{
                f"{each.evidence_kind}_proposed_wait_ms": each.proposed_wait_ms
                for each in found.coverage
                if each.proposed_wait_ms is not None
            },
            "advice": dg.MetadataValue.json({each.evidence_kind: each.advice for each in found.coverage}),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=not broken,
                check_name="every_obligation_is_accounted_for",
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={"asked": len(found.findings), "broken": dg.MetadataValue.json(broken)},
            )
        ],
    )


review_evidence = dg.define_asset_job(
    "review_evidence",
    selection=[late_evidence],
    description="Count the books of late evidence, and how much of it came in time. Changes nothing; safe at any time.",
    tags={"dagster/max_runtime": "600"},
)


@dg.op(description="Send five synthetic obligations through, one for each thing that evidence can be.")
def prove_observation(context: dg.OpExecutionContext, plms: Plms) -> None:
    """Fail when one of them comes out otherwise than it must."""
    from plms_pipeline.evidence.service.golden import run_golden

    with no_retry_for_permanent_errors():
        found = run_golden(plms.settings(), plms.registry(), plms.clock())
    broken = {each.name: "; ".join(each.problems) for each in found.findings if not each.holds}
    for each in found.findings:
        context.log.info(f"{each.name}: {'; '.join(each.problems) or each.detail or 'holds'}")
    if broken:
        raise dg.Failure(
            "Evidence is not observed as it must be.",
            metadata={"broken": dg.MetadataValue.json(broken)},
            allow_retries=False,
        )


@dg.job(
    description="The golden run: five synthetic obligations go the way of all others, and must end as ok, timeout, stale, "
    "stale and parse_error. Fails when one does not. Leaves five observations of the kind `golden`.",
    tags={"dagster/max_runtime": "300"},
)
def verify_golden() -> None:
    """One op."""
    prove_observation()


@dg.sensor(
    name="overdue_evidence",
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    target=review_evidence,
    description="The net behind the observer of `plms serve`: looks once for evidence whose deadline passed and that nobody "
    "ended, and ends it. Launches nothing.",
)
def overdue_evidence(context: dg.SensorEvaluationContext, plms: Plms) -> Any:
    """One bounded look."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.evidence.service.review import end_overdue

    try:
        ended = end_overdue(plms.settings(), plms.registry(), plms.clock(), grace=GRACE, limit=MOST)
        context.update_cursor(plms.clock().now().isoformat())
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if not ended:
        return dg.SkipReason("Nothing is overdue.")
    said = ", ".join(f"{reason} {count}" for reason, count in sorted(ended.items()))
    return dg.SkipReason(f"Nobody had ended what was overdue: {said}. Does `plms serve` run?")


ASSETS = [late_evidence]
JOBS = [review_evidence, verify_golden]
SENSORS = [overdue_evidence]
