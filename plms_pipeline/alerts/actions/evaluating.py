"""What is over its threshold now, and who must hear of it?

One evaluation looks at every source that is due, with no transaction open, and then moves states, adds events and owes
messages in one transaction: an alert that fired without its message, or a message about nothing, cannot be. Any number of
evaluators may run at once, in `plms serve`, in Dagster, in both: the readings of one that was overtaken are too old to move
anything.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from plms_pipeline.alerts import planning
from plms_pipeline.alerts.looking import Asked, Sight, Source
from plms_pipeline.alerts.machine import JUMP, State
from plms_pipeline.alerts.planning import Look, Plan, World
from plms_pipeline.alerts.routing import Routing
from plms_pipeline.alerts.rules import Rule
from plms_pipeline.alerts.store import deliveries, states
from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

ACTOR: Final = "alerts"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Engine:
    """What evaluations are made with. `sources`: those that this process can look at."""

    registry: Registry
    settings: Settings
    clock: Clock
    rules: Mapping[str, Rule]
    routing: Routing
    sources: Sequence[Source]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one evaluation did: sources looked at, those that failed, events added, messages owed."""

    looked: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    fired: tuple[tuple[str, str], ...] = ()
    resolved: tuple[tuple[str, str], ...] = ()
    escalated: int = 0
    owed: int = 0

    @property
    def did_something(self) -> bool:
        """Whether anything was added."""
        return bool(self.fired or self.resolved or self.escalated or self.owed)


def evaluate(engine: Engine, *, only: Collection[str] | None = None, is_forced: bool = False) -> Evaluated:
    """Look at what is due, and write down what follows.

    Args:
        only: just these sources.
        is_forced: also those that are not due yet.

    Raises:
        Unavailable: the registry is away; the next evaluation finds what this one would have.
    """
    sights = _sights(engine, only=only, is_forced=is_forced)
    looks = {name: look for sight in sights for name, look in sight.looks().items()}
    if not sights and _planned_now(engine).is_empty:
        return Evaluated()
    with engine.registry.writing() as session:
        now = engine.clock.now()
        states.lock(session, now)
        made = _planned(session, engine, looks, now)
        new = states.add_events(session, made.steps, found_at=now, actor=ACTOR)
        states.keep(session, made.states.values())
        owed = _owe(session, made, now)
        for sight in sights:
            states.keep_check(
                session, sight.source, at=sight.at, error=sight.error, readings=len(sight.seen.readings),
                memo=sight.seen.memo,
            )  # fmt: skip
    steps = {kind: tuple(step.state.key for step in made.steps if step.kind == kind) for kind in ("fired", "resolved")}
    if made.steps:
        _log.info(
            "event=alerts_moved fired=%d resolved=%d new=%d owed=%d",
            len(steps["fired"]),
            len(steps["resolved"]),
            new,
            owed,
        )
    return Evaluated(
        tuple(sight.source for sight in sights), tuple((one.source, one.error) for one in sights if one.error),
        steps["fired"], steps["resolved"], sum(step.kind == "escalated" for step in made.steps), owed,
    )  # fmt: skip


def _sights(engine: Engine, *, only: Collection[str] | None, is_forced: bool) -> list[Sight]:
    """What the sources say that are due."""
    wanted = [source for source in engine.sources if only is None or source.name in only]
    with engine.registry.reading() as session:
        checks = states.checks(session)
    found = []
    for source in wanted:
        now, check = engine.clock.now(), checks.get(source.name)
        if check is not None and not is_forced and not _is_due(check.checked_at, source.every_s, now):
            continue
        asked = Asked(engine.registry, engine.settings, now)
        if check is not None:
            asked = replace(asked, memo=check.memo_json, last_at=check.succeeded_at)
        found.append(_look(source, asked))
    return found


def _is_due(checked_at: datetime, every_s: float, now: datetime) -> bool:
    """Whether it is time to look again; after the clock went back it is."""
    return checked_at + timedelta(seconds=every_s) <= now or checked_at > now + JUMP


def _look(source: Source, asked: Asked) -> Sight:
    try:
        return Sight(source.name, asked.now, source.look(asked))
    except PlmsError as error:
        _log.warning("event=source_failed source=%s code=%s", source.name, error.code)
        return Sight(source.name, asked.now, error=f"{error.code}: {error.message}"[:1000])
    except Exception as error:  # noqa: BLE001 - told below
        # A bug in one source must not keep the others from being heard.
        _log.exception("event=source_failed source=%s", source.name)
        return Sight(source.name, asked.now, error=f"{type(error).__name__}: {error}"[:1000])


def _planned_now(engine: Engine) -> Plan:
    """What time alone has made due: escalations, and what was silenced until now."""
    with engine.registry.reading() as session:
        return _planned(session, engine, {}, engine.clock.now())


def _planned(session: Session, engine: Engine, looks: Mapping[str, Look], now: datetime) -> Plan:
    crossing = [
        (rule.name, reading.subject)
        for rule in engine.rules.values()
        if rule.is_enabled and rule.input.name in looks
        for reading in looks[rule.input.name].readings
        if reading.value is not None and rule.is_over(reading.value)
    ]
    present = states.states(session, crossing)
    return planning.plan(present, looks, world_of(session, engine, present.values(), now))


def world_of(session: Session, engine: Engine, present: Collection[State], now: datetime) -> World:
    """What decides besides states and readings, as the books say now."""
    groups = {state.group_id for state in present if state.group_id and state.is_open}
    return World(
        engine.rules, engine.routing, states.quiet(session, now), now,
        deliveries.told(session, groups, engine.routing.channels),
    )  # fmt: skip


def _owe(session: Session, made: Plan, now: datetime) -> int:
    """Owe what the plan says, but nobody is told of the end of what he never heard of."""
    unheard = {
        (group_id, channel, recipient)
        for group_id in sorted({one.group_id for one in made.owed if one.is_end})
        for channel, recipient in deliveries.withdraw(session, group_id, now=now)
    }
    heard = [one for one in made.owed if (one.group_id, one.recipient.channel, one.recipient.address) not in unheard]
    return deliveries.owe(session, heard, now=now)
