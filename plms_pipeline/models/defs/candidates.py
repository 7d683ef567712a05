"""A candidate as assets: each a partition of its own, told again from what lies on the disk and in the registry now.

The job `retrain_models` makes candidates and tells the same assets as it goes. To materialize a partition here trains nothing:
it looks again, so that a file that was changed since shows, and the report is written anew.
"""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from plms_pipeline.models.defs.telling import CANDIDATES, GROUP, OWNERS, result, specs_of
from plms_pipeline.models.stages import names
from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

if TYPE_CHECKING:
    from plms_pipeline.models.records import Candidate

# `records.MARKET`, without what that module imports.
MARKET = "market"
KEPT = (names.CANDIDATE_MODEL, names.CANDIDATE_PREDICTIONS, names.CANDIDATE_EVALUATION, names.OPERATIONS_SUMMARY)


def _spec(asset: str, kinds: set[str], description: str, *deps: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset, deps=list(deps), group_name=GROUP, owners=OWNERS, kinds=kinds, code_version="1", description=description,
        partitions_def=CANDIDATES,
    )  # fmt: skip


def candidate_of(plms: Plms, key: str, *, family: str | None = None) -> "Candidate":
    """The candidate that a partition is of.

    Args:
        family: the only one whose files the asset can read.

    Raises:
        BadInput: the key is no id (`bad_candidate`), or the candidate is of another family (`other_family`).
        NotFound: there is no such candidate.
    """
    from plms_pipeline.errors import BadInput, NotFound
    from plms_pipeline.models.candidate_ids import candidate_id
    from plms_pipeline.models.store import candidates

    wanted = candidate_id(key)
    with plms.registry().reading() as session:
        found = candidates.find(session, wanted)
    if found is None:
        raise NotFound(f"There is no candidate {wanted}; train one with the job retrain_models.", code="no_candidate")
    if family is not None and found.family != family:
        raise BadInput(
            f"Candidate {wanted} is of the family {found.family}, and this asset tells {family}; look at "
            f"promotion_recommendation, or: plms model show {wanted}",
            code="other_family",
        )
    return found


@dg.multi_asset(
    name="look_at_candidate",
    specs=[
        _spec(
            names.CANDIDATE_MODEL, {"scikitlearn"},
            "A trained model that waits for a decision: arrays and JSON, never a pickle, with the hashes a decision binds.",
            names.FEATURE_MATRIX,
        ),
        _spec(
            names.CANDIDATE_PREDICTIONS, {"parquet"},
            "What models of this kind said of time that they had not seen, walk-forward, and what came of it after costs.",
            names.CANDIDATE_MODEL,
        ),
        _spec(
            names.CANDIDATE_EVALUATION, {"json"},
            "The verdict of the gates: each is a check below, and one that fails keeps the candidate from being promoted.",
            names.CANDIDATE_PREDICTIONS,
        ),
        _spec(
            names.OPERATIONS_SUMMARY, {"json"},
            "The figures that people sign: risk, guardrails, broken limits, how sure all of it is.",
            names.CANDIDATE_PREDICTIONS,
        ),
    ],
    check_specs=[spec for asset in KEPT for spec in specs_of(asset)],
)  # fmt: skip
def look_at_candidate(context: dg.AssetExecutionContext, plms: Plms) -> Iterator[dg.MaterializeResult[Any]]:
    """Read the folder of the candidate again and compare it with the registry."""
    from plms_pipeline.models.actions.stages import candidate_stages

    with no_retry_for_permanent_errors():
        found = candidate_of(plms, context.partition_key, family=MARKET)
        stages = candidate_stages(found, plms.settings().data_dir)
    context.log.info(f"candidate_told candidate_id={found.candidate_id} state={found.state}")
    for stage in stages:
        yield result(stage)


@dg.asset(
    partitions_def=CANDIDATES, group_name=GROUP, owners=OWNERS, kinds={"html"}, code_version="1",
    deps=[names.CANDIDATE_EVALUATION, names.OPERATIONS_SUMMARY],
    description="The report on a candidate, as a page in its folder and here as text with its pictures.",
)  # fmt: skip
def candidate_report(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult[Any]:
    """Write it anew."""
    from plms_pipeline.models.actions.stages import written_report

    with no_retry_for_permanent_errors():
        found = candidate_of(plms, context.partition_key)
        return result(written_report(found, plms.settings().data_dir))


@dg.asset(
    partitions_def=CANDIDATES, group_name=GROUP, owners=OWNERS, kinds={"sqlalchemy"}, code_version="1",
    deps=[names.CANDIDATE_EVALUATION, names.OPERATIONS_SUMMARY, names.CANDIDATE_REPORT],
    check_specs=specs_of(names.PROMOTION_RECOMMENDATION),
    description="What the decision tree says of a candidate, what is in the way now, and how a person decides. Each check is a "
    "sentence that must be true before it goes live; whoever promotes asks the registry again.",
)  # fmt: skip
def promotion_recommendation(context: dg.AssetExecutionContext, plms: Plms) -> Iterator[dg.MaterializeResult[Any]]:
    """Ask the tree, and everything that a promotion asks."""
    from plms_pipeline.models.actions.stages import recommendation

    with no_retry_for_permanent_errors():
        found = candidate_of(plms, context.partition_key)
        stage = recommendation(plms.registry(), found, plms.settings().data_dir, now=plms.clock().now())
    context.log.info(f"recommended candidate_id={found.candidate_id} action={stage.facts['action']}")
    yield result(stage)


@dg.asset(
    partitions_def=CANDIDATES, group_name=GROUP, owners=OWNERS, kinds={"sqlalchemy"}, code_version="1",
    deps=[names.PROMOTION_RECOMMENDATION],
    description="The candidate as the champion of its family: what serves, and what served before. To materialize a partition "
    "promotes a candidate that a person approved, once; anything else is refused.",
)  # fmt: skip
def promoted_model(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult[Any]:
    """Carry the decision out; doing it again changes nothing."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.models.defs.promotion import promoted

    with no_retry_for_permanent_errors():
        found = candidate_of(plms, context.partition_key)
        return result(promoted(plms, found.candidate_id, launch_actor(context.run.tags))[0])


ASSETS = [look_at_candidate, candidate_report, promotion_recommendation, promoted_model]
