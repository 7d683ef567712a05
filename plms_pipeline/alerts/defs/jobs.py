"""A person's decisions about alerts in the Dagster UI: take one in hand, keep one quiet, try the channels out."""

from typing import Any, Literal
from uuid import uuid4

import dagster as dg
from pydantic import Field

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors


class AckConfig(dg.Config):
    """Which alert is in whose hand."""

    alert: str = Field(description="The alert's id or its beginning, or a rule or subject that has one alert.")
    reason: str = Field(description="Why, or what is being done; kept for ever.")
    whole_group: bool = Field(False, description="Everything that was told together with it.")


class SilenceConfig(dg.Config):
    """What is quiet for how long."""

    action: Literal["list", "silence", "unsilence"] = Field(
        "list",
        description="list: only show what is silenced. silence: keep messages back. unsilence: end a silence now.",
    )
    rule: str = Field("*", description="silence: a rule; * for all rules about a subject.")
    subject: str = Field("*", description="silence: a subject such as project:42; * for any.")
    lasts: str = Field("1h", description="silence: how long, as 30m, 2h or 1d; 30 days at most.")
    silence: str = Field("", description="unsilence: the silence's id or its beginning.")
    reason: str = Field("", description="Why; needed to silence and unsilence, kept for ever.")


class TestConfig(dg.Config):
    """Where a test message goes."""

    channel: str = Field("", description="A channel (chat, mail:owner); empty: all that are configured.")


@dg.op(description="Say that somebody has an alert in hand; nobody further is told.")
def take_in_hand(context: dg.OpExecutionContext, config: AckConfig, plms: Plms) -> None:
    """Call the action that the terminal calls."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.alerts.actions.deciding import acknowledge
    from plms_pipeline.alerts.actions.showing import alert_json

    with no_retry_for_permanent_errors(), _opened(plms) as alerts:
        acked = acknowledge(
            alerts.engine, config.alert, ids=_ids, actor=launch_actor(context.run.tags), reason=config.reason,
            is_whole_group=config.whole_group,
        )  # fmt: skip
        alerts.deliver()
    told: list[Any] = [alert_json(state) for state in acked]
    context.add_output_metadata({"acknowledged": len(told), "alerts": dg.MetadataValue.json(told)})


@dg.op(description="Keep messages back for a while, or end that; the metadata says what is silenced then.")
def keep_quiet(context: dg.OpExecutionContext, config: SilenceConfig, plms: Plms) -> None:
    """Call the actions that the terminal calls."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.alerts.actions import deciding
    from plms_pipeline.alerts.actions.showing import overview
    from plms_pipeline.alerts.spans import span_of
    from plms_pipeline.errors import BadInput

    actor = launch_actor(context.run.tags)
    with no_retry_for_permanent_errors(), _opened(plms) as alerts:
        if config.action == "silence":
            try:
                lasts = span_of(config.lasts)
            except ValueError as error:
                raise BadInput(f"lasts {config.lasts[:20]!r}: {error}.", code="bad_silence") from None
            deciding.silence(
                alerts.engine, rule=config.rule, subject=config.subject, lasts=lasts, ids=_ids, actor=actor,
                reason=config.reason,
            )  # fmt: skip
        elif config.action == "unsilence":
            deciding.unsilence(
                plms.registry(), config.silence, clock=plms.clock(), ids=_ids, actor=actor, reason=config.reason
            )
        found = overview(plms.registry(), clock=plms.clock(), limit=1)
    told: list[Any] = list(found.silences)
    context.add_output_metadata({"silences": len(told), "silenced": dg.MetadataValue.json(told)})


@dg.op(description="Send a test message; the metadata says what each service answered.")
def try_channels(context: dg.OpExecutionContext, config: TestConfig, plms: Plms) -> None:
    """Call the action that the terminal calls."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.alerts.actions.deciding import try_out
    from plms_pipeline.alerts.actions.showing import log

    with no_retry_for_permanent_errors(), _opened(plms) as alerts:
        owed = try_out(
            alerts.engine, target=config.channel or None, rule=None, ids=_ids, actor=launch_actor(context.run.tags)
        )
        alerts.deliver()
        wanted = {one.key for one in owed}
        said: list[Any] = [one for one in log(plms.registry(), limit=200) if one["delivery_key"] in wanted]
    context.add_output_metadata(
        {"sent": sum(one["state"] == "done" for one in said), "deliveries": dg.MetadataValue.json(said)}
    )


def _opened(plms: Plms) -> Any:
    from plms_pipeline.alerts.service import Alerts

    return Alerts(plms.settings(), plms.registry(), plms.clock())


def _ids() -> str:
    return str(uuid4())


# They spend nothing, so they run while the kill switch is on.
_TAGS = {"dagster/max_runtime": "300"}


@dg.job(
    name="acknowledge_alert",
    description="Take an alert in hand: escalation stops, it goes on until it is over.",
    tags=_TAGS,
)
def acknowledge_alert() -> None:
    """One op."""
    take_in_hand()


@dg.job(
    name="silence_alert", description="Keep messages about a rule or subject back for a while, or end that.", tags=_TAGS
)
def silence_alert() -> None:
    """One op."""
    keep_quiet()


@dg.job(name="test_alert_channels", description="Send a test message over one channel or all of them.", tags=_TAGS)
def test_alert_channels() -> None:
    """One op."""
    try_channels()


JOBS = [acknowledge_alert, silence_alert, test_alert_channels]
