"""How does a stage become what Dagster shows?

An asset that is materialized in its own run answers with a result; a job or sensor that did the work itself tells the same as
events of the same asset and, for a candidate, of its partition. One stage, two forms, the same figures.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from plms_pipeline.models.stages.names import PROMOTION_RECOMMENDATION, CheckName, checks_of

if TYPE_CHECKING:
    from plms_pipeline.models.stages.stage import Check, Stage

GROUP = "models"
OWNERS = ["team:plms"]
CANDIDATES = dg.DynamicPartitionsDefinition(name="model_candidates")
HOLDS = " While this is not so, the candidate does not go live (promotion_recommendation)."
# A picture in Markdown beyond this makes the page slow.
LONGEST_TEXT = 400_000


def specs_of(asset: str) -> list[dg.AssetCheckSpec]:
    """The checks of an asset.

    In a run only the promotion waits for its checks: a report or a recommendation that waited for the gates, too, could not be
    read by whoever wants to know why they did not pass.
    """
    return [
        dg.AssetCheckSpec(
            one.name, asset=asset, description=one.description + (HOLDS if one.is_blocking else ""),
            blocking=asset == PROMOTION_RECOMMENDATION,
            metadata={"blocks_promotion": one.is_blocking},
        )
        for one in checks_of(asset)
    ]  # fmt: skip


def result(stage: "Stage", value: Any = None) -> dg.MaterializeResult[Any]:
    """The stage as the result of an asset of the same name."""
    known = {one.name: one for one in checks_of(stage.asset)}
    told = [
        dg.AssetCheckResult(
            check_name=one.name, asset_key=stage.asset, passed=one.passed, severity=_severity(known[one.name]),
            description=one.why or None, metadata=_check_metadata(one, known[one.name]),
        )
        for one in stage.checks
    ]  # fmt: skip
    more = {} if value is None else {"value": value}
    return dg.MaterializeResult(asset_key=stage.asset, metadata=metadata(stage), check_results=told, **more)


def events(stage: "Stage", partition: str | None = None) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """The stage as events, for whoever did the work without materializing the asset.

    Args:
        partition: the candidate, of an asset that has one.
    """
    yield dg.AssetMaterialization(stage.asset, metadata=metadata(stage), partition=partition)
    known = {one.name: one for one in checks_of(stage.asset)}
    for one in stage.checks:
        facts = _check_metadata(one, known[one.name]) | ({"candidate": partition} if partition else {})
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(stage.asset), check_name=one.name, passed=one.passed, metadata=facts,
            severity=_severity(known[one.name]), description=one.why or None, blocking=False,
        )  # fmt: skip


def metadata(stage: "Stage") -> dict[str, Any]:
    """Facts as numbers and text, texts as Markdown, paths as paths; what is unknown says so."""
    facts = {name: "unknown" if value is None else value for name, value in stage.facts.items()}
    return {
        **facts,
        **{name: dg.MetadataValue.path(path) for name, path in stage.paths.items()},
        **{name: dg.MetadataValue.md(text[:LONGEST_TEXT]) for name, text in stage.texts.items()},
    }


def _check_metadata(check: "Check", named: CheckName) -> dict[str, Any]:
    facts = {name: "unknown" if value is None else value for name, value in check.facts.items()}
    return {**facts, "blocks_promotion": named.is_blocking, **({"why": check.why} if check.why else {})}


def _severity(named: CheckName) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.WARN if named.is_warning else dg.AssetCheckSeverity.ERROR
