"""People decide in the Dagster UI: approval of projects, lanes of tasks, lanes without gates, verdicts that are let pass."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

MAX_RUNTIME_S = 300
_TAGS = {"dagster/max_runtime": str(MAX_RUNTIME_S)}
_WHY = "Why; kept for ever in the decision."


class ApproveConfig(dg.Config):
    """Which project, and under which terms."""

    project_id: int = Field(description="The project; it must have been submitted (`plms project submit`).")
    decision: Literal["approve", "reject"] = Field(description="approve: it may start; reject: back to planning.")
    reason: str = Field(description=_WHY)
    budget_usd: str = Field("", description="The budget in dollars, such as 20.00; empty: as planned.")
    breach_policy: Literal["as_planned", "pause", "ask", "kill"] = Field(
        "as_planned", description="What happens at 25 % over budget."
    )
    evidence_sha256: str = Field(
        "",
        description="Digest of the plan that you were shown (`plms project show --json`); another plan is then refused.",
    )


@dg.op(description="Approve or reject a submitted project; the metadata shows plan and decision.")
def decide_project(context: dg.OpExecutionContext, config: ApproveConfig, plms: Plms) -> None:
    """Call the action that terminal and HTTP call."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.errors import BadInput
    from plms_pipeline.registry.types import to_usd
    from plms_pipeline.runs.actions.decide_project import ApprovalTerms, approve_project, reject_project
    from plms_pipeline.runs.ids import random_id
    from plms_pipeline.runs.tables import tasks_markdown

    actor = launch_actor(context.run.tags)
    relaxed = plms.settings().auth == "disabled"
    with no_retry_for_permanent_errors():
        if config.decision == "approve":
            try:
                budget = to_usd(config.budget_usd) if config.budget_usd.strip() else None
            except ValueError as error:
                raise BadInput(str(error), code="bad_amount") from None
            terms = ApprovalTerms(
                budget_usd=budget, evidence_sha256=config.evidence_sha256 or None,
                breach_policy=None if config.breach_policy == "as_planned" else config.breach_policy,
            )  # fmt: skip
            done = approve_project(
                plms.registry(), config.project_id, clock=plms.clock(), ids=random_id, actor=actor,
                reason=config.reason, terms=terms, auth_disabled=relaxed,
            )  # fmt: skip
        else:
            done = reject_project(
                plms.registry(), config.project_id, clock=plms.clock(), ids=random_id, actor=actor,
                reason=config.reason, evidence_sha256=config.evidence_sha256 or None, auth_disabled=relaxed,
            )  # fmt: skip
    view = done.view
    context.log.info(f"project_decided project_id={view.id} status={view.status} decision_id={done.decision_id}")
    context.add_output_metadata(
        {
            "project_id": view.id,
            "status": view.status,
            "decision_id": done.decision_id,
            "decided_by": actor.name if actor.is_verified else f"{actor.name} (unverified)",
            "budget_usd": float(view.budget_cost_usd_max or 0),
            "estimated_cost_usd": float(view.estimated_cost_usd or 0),
            "plan": dg.MetadataValue.md(tasks_markdown(view.tasks)),
        }
    )


@dg.job(
    name="approve_project", tags=_TAGS,
    description="Let a submitted project spend its budget, or send it back. Another person than the requester decides.",
)  # fmt: skip
def approve_project_job() -> None:
    """One op."""
    decide_project()


class OverrideLaneConfig(dg.Config):
    """Which task belongs into which lane."""

    task_id: int = Field(description="The planned task's id (`plms project show`).")
    lane: str = Field(description="Number, name or alias of the right lane.")
    reason: str = Field(description=_WHY)


@dg.op(description="Move a planned task to another lane; the nightly classifier learns from it.")
def correct_lane(context: dg.OpExecutionContext, config: OverrideLaneConfig, plms: Plms) -> None:
    """Call the action that terminal and HTTP call."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.runs.actions.decide_lanes import override_lane
    from plms_pipeline.runs.ids import random_id

    with no_retry_for_permanent_errors():
        done = override_lane(
            plms.registry(), config.task_id, config.lane, clock=plms.clock(), ids=random_id,
            actor=launch_actor(context.run.tags), reason=config.reason, alpha=plms.settings().alpha,
        )  # fmt: skip
    told = {
        "project_id": done.project_id, "task_id": done.task.id, "predicted_lane": done.predicted_lane,
        "corrected_lane": done.corrected_lane, "decision_id": done.decision_id,
    }  # fmt: skip
    context.log.info(f"lane_overridden {' '.join(f'{name}={value}' for name, value in told.items())}")
    context.add_output_metadata({**told, "task": done.task.name})


@dg.job(
    name="override_lane", tags=_TAGS,
    description="Correct the lane of a planned task. Runs that started keep the lane that they started with.",
)  # fmt: skip
def override_lane_job() -> None:
    """One op."""
    correct_lane()


class AcceptUngatedConfig(dg.Config):
    """Which lane."""

    lane: str = Field(description="Number, name or alias of a lane without gates.")
    reason: str = Field(description=_WHY)
    accept: bool = Field(True, description="False takes an earlier acceptance back.")


@dg.op(description="Let ungated work of a lane teach the priors, or take that back.")
def accept_ungated(context: dg.OpExecutionContext, config: AcceptUngatedConfig, plms: Plms) -> None:
    """Call the action that terminal and HTTP call."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.runs.actions.decide_lanes import accept_ungated_lane
    from plms_pipeline.runs.ids import random_id

    with no_retry_for_permanent_errors():
        done = accept_ungated_lane(
            plms.registry(), config.lane, clock=plms.clock(), ids=random_id, actor=launch_actor(context.run.tags),
            reason=config.reason, accept=config.accept,
        )  # fmt: skip
    told = {
        "lane_id": done.lane_id, "lane_name": done.lane_name, "accepted": done.accepted,
        "days_marked": done.days_marked, "decision_id": done.decision_id,
    }  # fmt: skip
    context.log.info(f"lane_accepted lane_id={done.lane_id} accepted={done.accepted} days_marked={done.days_marked}")
    context.add_output_metadata(told)


@dg.job(
    name="accept_ungated_lane", tags=_TAGS,
    description="Let the work of a lane without gates teach the priors; its days are summarised again by the next night.",
)  # fmt: skip
def accept_ungated_lane_job() -> None:
    """One op."""
    accept_ungated()


class RequestOverrideConfig(dg.Config):
    """Which verdict should be let pass."""

    run_id: str = Field(description="The run; it ended SUCCESS with a failed gate.")
    reason: str = Field(description=_WHY)
    teach: bool = Field(False, description="Whether the run is to teach the priors if it is let pass.")


@dg.op(description="Ask that a failed verdict be let pass; the metadata shows what the gates measured.")
def ask_for_override(context: dg.OpExecutionContext, config: RequestOverrideConfig, plms: Plms) -> None:
    """Call the action that terminal and HTTP call."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.runs.actions.decide_verdict import request_kpi_override
    from plms_pipeline.runs.files.kpi_logs import log_reader
    from plms_pipeline.runs.ids import random_id

    settings = plms.settings()
    with no_retry_for_permanent_errors():
        done = request_kpi_override(
            plms.registry(), config.run_id, clock=plms.clock(), ids=random_id, actor=launch_actor(context.run.tags),
            reason=config.reason, teach=config.teach, read_log=log_reader(settings.data_dir),
            auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
    context.log.info(f"override_requested run_id={config.run_id} decision_id={done.decision_id}")
    context.add_output_metadata(_override_metadata(done))


@dg.job(
    name="request_kpi_override", tags=_TAGS,
    description="The project's owner asks that a failed verdict be let pass. Somebody else decides (decide_kpi_override).",
)  # fmt: skip
def request_kpi_override_job() -> None:
    """One op."""
    ask_for_override()


class DecideOverrideConfig(dg.Config):
    """What to do with a request."""

    run_id: str = Field(description="The run whose verdict somebody asked to let pass.")
    decision: Literal["approve", "reject"] = Field(description="approve: let it pass; reject: it stays failed.")
    reason: str = Field(description=_WHY)
    evidence_sha256: str = Field(
        "", description="Digest of the gates that the request showed; if they changed since, the decision is refused."
    )
    teach: bool = Field(True, description="False: let it pass, but do not learn from it. Never more than was asked.")


@dg.op(description="Let a failed verdict pass, or not; the metadata shows KPI receipts and logs.")
def decide_override(context: dg.OpExecutionContext, config: DecideOverrideConfig, plms: Plms) -> None:
    """Call the action that terminal and HTTP call."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.runs.actions.decide_verdict import decide_kpi_override
    from plms_pipeline.runs.files.kpi_logs import log_reader
    from plms_pipeline.runs.ids import random_id

    settings = plms.settings()
    with no_retry_for_permanent_errors():
        done = decide_kpi_override(
            plms.registry(), config.run_id, clock=plms.clock(), ids=random_id, actor=launch_actor(context.run.tags),
            approve=config.decision == "approve", reason=config.reason, teach=config.teach,
            evidence_sha256=config.evidence_sha256 or None, read_log=log_reader(settings.data_dir),
            auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
    context.log.info(f"override_decided run_id={config.run_id} decision={done.decision} decision_id={done.decision_id}")
    context.add_output_metadata(_override_metadata(done))


@dg.job(
    name="decide_kpi_override", tags=_TAGS,
    description="Decide about an override that the owner asked for. The measured verdict stays; the decision stands beside it.",
)  # fmt: skip
def decide_kpi_override_job() -> None:
    """One op."""
    decide_override()


def _override_metadata(done: Any) -> dict[str, Any]:
    from plms_pipeline.runs.tables import kpis_markdown, log_markdown

    case = done.case
    return {
        "run_id": case.run.run_id,
        "project_id": case.run.project_id,
        "project_status": case.project_status,
        "decision": done.decision,
        "decision_id": done.decision_id,
        "validation": case.run.validation,
        "effective_verdict": case.run.effective,
        "teaches": bool(case.run.override_teaches),
        "evidence_sha256": case.evidence_sha256,
        "kpi_receipts": dg.MetadataValue.md(kpis_markdown(case.kpis)),
        **{f"log {name}": dg.MetadataValue.md(log_markdown(text)) for name, text in list(case.logs.items())[:20]},
    }


JOBS = [
    approve_project_job,
    override_lane_job,
    accept_ungated_lane_job,
    request_kpi_override_job,
    decide_kpi_override_job,
]
