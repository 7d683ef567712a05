"""People decide about candidates in the Launchpad; what they decided is carried out by a job, an asset or a sensor.

All of them call the actions that the terminal and HTTP call. Dagster is never asked whether something was approved: a
check result or a materialization can be reported by hand, a row with its hashes cannot.
"""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from plms_pipeline.models.defs.telling import CANDIDATES, events, metadata
from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

if TYPE_CHECKING:
    from plms_pipeline.access.actors import Actor
    from plms_pipeline.models.actions.deciding import Places
    from plms_pipeline.models.stages.stage import Stage

# They spend nothing, so they run while the kill switch is on; a rollback must.
_TAGS = {"dagster/max_runtime": "600", "plms/exclusive": "promotion"}
_WHY = "Why; kept for ever in the decision."
Family = Literal["market", "estimates"]


class DecideConfig(dg.Config):
    """The form of a decision. Nothing is preset that could let a model go live."""

    candidate: str = Field(description="The candidate's id: the partition of promotion_recommendation.")
    decision: Literal["approve", "approve_with_caps", "request_retrain", "reject", "halt"] = Field(
        description="approve, approve_with_caps: it goes live. request_retrain, reject: it never does. halt: nothing of its "
        "family does until a person lifts that.",
    )
    role: Literal[
        "risk_lead", "data_engineering", "trading_supervision", "portfolio_manager", "ml_engineer", "compliance"
    ] = Field(description="In which role you decide; only the risk_lead signs what goes live.")
    rationale: str = Field(description=_WHY)
    reviewer: str = Field(
        "",
        description="Who decides is whoever is signed in. A name that is given here must be that one.",
    )
    max_gross_exposure: float | None = Field(None, description="approve_with_caps: a multiple of the capital base.")
    max_net_exposure: float | None = Field(None, description="approve_with_caps: a multiple of the capital base.")
    max_turnover: float | None = Field(
        None, description="approve_with_caps: a multiple of the capital base per moment."
    )
    max_symbol_exposure: float | None = Field(None, description="approve_with_caps: a multiple of the capital base.")
    evidence_sha256: str = Field(
        "", description="SHA-256 of the operations summary that you read; another summary is then refused."
    )


class PromoteConfig(dg.Config):
    """What is to be carried out."""

    candidate: str = Field("", description="An approved candidate; empty: each that a person approved.")


class RollbackConfig(dg.Config):
    """What is to come back."""

    family: Family = Field("market", description="The family of models.")
    to: str = Field("", description="A candidate that served once; empty: the one before the present one.")
    reason: str = Field(description=_WHY)


def places(plms: Plms) -> "Places":
    """Where candidates lie, and where people read."""
    from plms_pipeline.models.actions.deciding import Places

    settings = plms.settings()
    return Places(settings.data_dir, settings.reports_dir)


def new_id() -> str:
    """A random id."""
    from uuid import uuid4

    return str(uuid4())


def champion_told(plms: Plms, family: str) -> "Stage":
    """The champion of a family as it stands.

    Raises:
        NoData: nothing was ever promoted.
    """
    from plms_pipeline.errors import NoData
    from plms_pipeline.models.stages.champion import champion_stage
    from plms_pipeline.models.store import champions

    with plms.registry().reading() as session:
        history = champions.history(session, family)
    if not history:
        raise NoData(f"Nothing of {family} was ever promoted.", code="no_champion")
    return champion_stage(history[0], history)


def promoted(plms: Plms, candidate: str, actor: "Actor") -> tuple["Stage", bool]:
    """Promote an approved candidate; the champion as it stands then, and whether it is one only now.

    Raises:
        Conflict: it was not approved, or something is in the way.
    """
    from plms_pipeline.models.actions.promotion import promote

    settings = plms.settings()
    done = promote(
        plms.registry(), root=settings.data_dir, candidate_id=candidate, actor=actor, clock=plms.clock(), ids=new_id,
        key=settings.approval_key,
    )  # fmt: skip
    return champion_told(plms, done.champion.family), done.is_new


@dg.op(out=dg.Out(dg.Nothing), description="Record a person's decision about a candidate; the metadata is the record.")
def decide_about_candidate(
    context: dg.OpExecutionContext, config: DecideConfig, plms: Plms
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]]:
    """Call the action that terminal and HTTP call."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.models.actions.deciding import decide_candidate
    from plms_pipeline.models.actions.stages import recommendation
    from plms_pipeline.models.candidate_ids import candidate_id
    from plms_pipeline.models.stages.reviewing import caps_given, require_reviewer

    settings, actor = plms.settings(), launch_actor(context.run.tags)
    with no_retry_for_permanent_errors():
        require_reviewer(config.reviewer, actor.name)
        done = decide_candidate(
            plms.registry(), candidate_id=candidate_id(config.candidate), decision=config.decision,
            reason=config.rationale, actor=actor, role=config.role, places=places(plms), clock=plms.clock(), ids=new_id,
            caps=caps_given(config.model_dump()), evidence_sha256=config.evidence_sha256.strip() or None,
            key=settings.approval_key, auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
        found = done.candidate
        context.instance.add_dynamic_partitions(str(CANDIDATES.name), [found.candidate_id])
        told = recommendation(plms.registry(), found, settings.data_dir, now=plms.clock().now())
    context.log.info(
        f"candidate_decided candidate_id={found.candidate_id} state={found.state} decision_id={done.decision_id}"
    )
    yield from events(told, found.candidate_id)
    yield dg.Output(
        None,
        metadata={
            "candidate": found.candidate_id, "state": found.state, "decision_id": done.decision_id,
            "decided_by": actor.name if actor.is_verified else f"{actor.name} (unverified)",
            "next": "The sensor decision_recorded promotes it." if found.state == "approved" else "Nothing goes live.",
            "record": dg.MetadataValue.json(dict(done.record)),
        },
    )  # fmt: skip


@dg.op(out=dg.Out(dg.Nothing), description="Promote what a person approved; the metadata says what serves then.")
def promote_approved(
    context: dg.OpExecutionContext, config: PromoteConfig, plms: Plms
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]]:
    """Carry decisions out, the oldest first."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.models.candidate_ids import candidate_id

    actor, told, new = launch_actor(context.run.tags), None, 0
    with no_retry_for_permanent_errors():
        wanted = [candidate_id(config.candidate)] if config.candidate.strip() else approved_ids(plms)
        for one in wanted:
            told, is_new = promoted(plms, one, actor)
            new += is_new
            context.instance.add_dynamic_partitions(str(CANDIDATES.name), [one])
            yield from events(told, one)
    yield dg.Output(None, metadata={"promoted": new, **({} if told is None else metadata(told))})


def approved_ids(plms: Plms) -> list[str]:
    """Candidates that a person approved and nobody promoted, the oldest decision first."""
    from plms_pipeline.models.stages.reviewing import in_order
    from plms_pipeline.models.store import candidates

    with plms.registry().reading() as session:
        return in_order(candidates.approved(session))


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Bring back the champion before the present one; the metadata says what serves then.",
)
def roll_back(
    context: dg.OpExecutionContext, config: RollbackConfig, plms: Plms
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]]:
    """Call the action that the terminal calls."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.models.actions.promotion import rollback
    from plms_pipeline.models.candidate_ids import candidate_id

    with no_retry_for_permanent_errors():
        done = rollback(
            plms.registry(), places=places(plms), family=config.family, reason=config.reason,
            actor=launch_actor(context.run.tags), clock=plms.clock(), ids=new_id,
            to=candidate_id(config.to) if config.to.strip() else None,
        )  # fmt: skip
        told = champion_told(plms, config.family)
    context.log.info(f"champion_rolled_back family={config.family} candidate_id={done.champion.candidate_id}")
    context.instance.add_dynamic_partitions(str(CANDIDATES.name), [done.champion.candidate_id])
    for warning in done.warnings:
        context.log.warning(warning)
    yield from events(told, done.champion.candidate_id)
    warned = {"warnings": " ".join(done.warnings)} if done.warnings else {}
    yield dg.Output(None, metadata={**metadata(told), **warned})


@dg.job(
    name="decide_candidate", tags=_TAGS,
    description="Approve, approve with caps, send back, reject or halt a candidate. Not by whoever launched its training; what "
    "goes live is signed by the risk lead. How to fill this in stands at the asset promotion_recommendation.",
)  # fmt: skip
def decide_candidate_job() -> None:
    """One op."""
    decide_about_candidate()


@dg.job(
    name="promote_candidate", tags=_TAGS,
    description="Promote approved candidates now. The sensor decision_recorded does so within seconds; this is by hand.",
)  # fmt: skip
def promote_candidate_job() -> None:
    """One op."""
    promote_approved()


@dg.job(
    name="rollback_champion", tags=_TAGS,
    description="Bring back the model that served before the present one. It was approved once, so one person is enough.",
)  # fmt: skip
def rollback_champion_job() -> None:
    """One op."""
    roll_back()


JOBS: list[Any] = [decide_candidate_job, promote_candidate_job, rollback_champion_job]
