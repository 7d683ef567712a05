"""Dead letters in Dagster: the net behind `plms serve`, and a person's decisions."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from plms_pipeline.resources import Plms, no_retry_for_permanent_errors

EVERY_S = 30


@dg.sensor(
    name="dead_letters_due",
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="The net behind `plms serve`: retries runs, events and effects that are due, in the tick, and tells the asset "
    "dead_letters when the counts have changed. Launches nothing.",
)
def dead_letters_due(context: dg.SensorEvaluationContext, plms: Plms) -> Any:
    """One bounded round."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.letters.actions.showing import status
    from plms_pipeline.letters.defs.assets import materialization
    from plms_pipeline.runs.service.opening import Opened

    try:
        with Opened(plms.settings(), plms.registry(), plms.clock()) as world:
            done = world.retrier.tick()
            found = status(world.registry, clock=world.clock, limit=1)
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    # What is due changes by itself; the asset tells what happened.
    counts = repr((found.by_state, found.by_class, found.helped, found.over))
    events = [] if counts == context.cursor else [materialization(found)]
    why = f"backlog {found.backlog}; " + " ".join(
        f"{word} {done.count(word)}" for word in ("begun", "recovered", "postponed", "failed", "given_up")
    )
    return dg.SensorResult(skip_reason=dg.SkipReason(why), asset_events=events, cursor=counts)


class LetterConfig(dg.Config):
    """What to decide about which letter."""

    action: Literal["retry", "retry_all", "reset_retries", "mark_permanent", "quarantine"] = Field(
        "retry_all",
        description="retry: this letter now. retry_all: every letter that is due. reset_retries: let it begin anew. "
        "mark_permanent: put it aside for good. quarantine: set it apart until somebody has looked.",
    )
    letter: str = Field("", description="A letter's id or its beginning, or the run that failed; not for retry_all.")
    reason: str = Field("", description="Why; kept with the decision. Not needed for retry and retry_all.")
    transient: bool = Field(False, description="reset_retries only: what was taken for PERMANENT may be tried again.")


@dg.op(description="Decide about dead letters, or retry them now; the metadata says what became of each.")
def decide_letters(context: dg.OpExecutionContext, config: LetterConfig, plms: Plms) -> None:
    """Call the actions that the terminal calls."""
    from plms_pipeline.access.actors import launch_actor
    from plms_pipeline.letters.actions import deciding
    from plms_pipeline.letters.actions.showing import as_json
    from plms_pipeline.runs.service.opening import Opened

    with no_retry_for_permanent_errors(), Opened(plms.settings(), plms.registry(), plms.clock()) as world:
        who: dict[str, Any] = {"clock": world.clock, "actor": launch_actor(context.run.tags)}
        registry, named = world.registry, config.letter
        told: dict[str, Any] = {"action": config.action}
        if config.action in ("retry", "retry_all"):
            only = None
            if config.action == "retry":
                letter = deciding.letter_named(registry, named)
                deciding.require_retryable(letter)
                only = [letter.letter_id]
            done = world.retrier.tick(only=only, is_forced=only is not None)
            told["letters"] = {line.letter_id: f"{line.word}: {line.said}"[:300] for line in done.lines}
            world.dispatcher.tick()
        elif config.action == "reset_retries":
            told |= as_json(
                deciding.reset_retries(registry, named, reason=config.reason, is_transient=config.transient, **who)
            )
        elif config.action == "mark_permanent":
            told |= as_json(deciding.mark_permanent(registry, named, reason=config.reason, **who))
        else:
            letter = deciding.letter_named(registry, named)
            moved = deciding.quarantine(registry, name=letter.letter_id, reason=config.reason, **who)
            told["quarantined"] = moved
    context.add_output_metadata({"told": dg.MetadataValue.json(told)})


@dg.job(
    name="decide_dead_letters",
    description="Retry what failed in passing, or put it aside: the same decisions as `plms dlq`, each kept with its reason.",
    # plms/effect: a retry starts work that spends, and waits while the kill switch is on.
    tags={"dagster/max_runtime": "600", "plms/effect": "spend"},
)
def decide_dead_letters() -> None:
    """One op."""
    decide_letters()


JOBS = [decide_dead_letters]
SENSORS = [dead_letters_due]
