"""A code location small enough to start in a second, with everything that the front door must let through."""

import time

import dagster as dg


class Forged(dg.Config):
    """A configuration that tries to say who acts."""

    actor: str = "nobody"
    seconds: float = 0.0


@dg.asset(group_name="intake", description="Rows that arrived.")
def tiny_receipts(context: dg.AssetExecutionContext, config: Forged) -> dg.MaterializeResult:
    time.sleep(config.seconds)
    return dg.MaterializeResult(metadata={"rows": 17, "actor_seen": context.run.tags.get("plms/actor", "none")})


@dg.asset(group_name="estimates", deps=[tiny_receipts], partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def tiny_priors() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"priors": 3})


@dg.asset_check(asset=tiny_receipts)
def every_row_is_counted() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.ERROR, metadata={"offenders": "row 17"})


tiny_job = dg.define_asset_job("tiny_job", selection=[tiny_receipts], tags={"dagster/max_runtime": "600"})

defs = dg.Definitions(
    assets=[tiny_receipts, tiny_priors],
    asset_checks=[every_row_is_counted],
    jobs=[tiny_job],
    executor=dg.in_process_executor,
)
