"""The launcher's guards in the Dagster UI: look at them, and give back what nobody gives back."""

from typing import Literal

import dagster as dg
from pydantic import Field

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors


class GuardConfig(dg.Config):
    """What to do with the guards."""

    action: Literal["status", "reset"] = Field(
        "status",
        description="status: only show. reset: give back every lease of the launcher with its reservation; what was spent "
        "stays, and a run that goes on keeps its place.",
    )
    reason: str = Field("", description="Why they are reset; needed for a reset, kept in the audit log.")


@dg.op(description="Show or reset the launcher's guards; the metadata says how they stand afterwards.")
def reset_launcher_guards(context: dg.OpExecutionContext, config: GuardConfig, plms: Plms) -> None:
    """Call the actions that the terminal calls."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.portfolio.actions import guards
    from plms_pipeline.portfolio.files import flag_reason
    from plms_pipeline.portfolio.policies import launcher_policy

    settings, registry = plms.settings(), plms.registry()
    told: dict[str, object] = {}
    with no_retry_for_permanent_errors():
        if config.action == "reset":
            given = guards.reset(
                registry, clock=plms.clock(), actor=launch_actor(context.run.tags), reason=config.reason
            )
            told = {
                "places_given_back": given.places,
                "freed_usd": float(given.freed_usd),
                "runs_that_go_on": len(given.kept_runs),
            }
        found = guards.guard_status(
            registry, clock=plms.clock(), policy=launcher_policy(settings),
            flag=lambda: flag_reason(settings.data_dir),
        )  # fmt: skip
    context.add_output_metadata(
        {
            **told,
            "kill_switch": "on" if found.switch.is_on else "off",
            "places_taken": len(found.slots),
            "places": found.places,
            "tokens": found.tokens,
            "rate_per_s": found.rate_per_s,
            "account": found.account.account,
            "limit_usd": float(found.account.limit or 0),
            "settled_usd": float(found.account.settled),
            "reserved_usd": float(found.account.reserved),
        }
    )


@dg.job(
    name="reset_guards",
    description="Show the limits of what is started outside an approved project, or give back what a crash left behind.",
    # Spends nothing, so it runs while the kill switch is on.
    tags={"dagster/max_runtime": "300", "plms/exclusive": "guards"},
)
def reset_guards() -> None:
    """One op."""
    reset_launcher_guards()


JOBS = [reset_guards]
