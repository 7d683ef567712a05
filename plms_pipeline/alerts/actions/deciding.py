"""What does a person decide about alerts: that he has one in hand, and what may be quiet for a while?

Each is a decision row with its reason, in the transaction of what follows from it. An acknowledged alert is told to nobody
further, but goes on until what it says is over; a silence keeps messages back, not the alert, and one that still fires when
the silence ends is told then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from plms_pipeline.access.actors import Actor
from plms_pipeline.alerts import planning
from plms_pipeline.alerts.actions.evaluating import Engine, world_of
from plms_pipeline.alerts.machine import State, acknowledged, id_of
from plms_pipeline.alerts.planning import Owed
from plms_pipeline.alerts.routing import Recipient
from plms_pipeline.alerts.store import deliveries, states
from plms_pipeline.alerts.subjects import near, slip
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.actions import decide
from plms_pipeline.decisions.rules import reason_of
from plms_pipeline.errors import BadInput, Conflict, NotFound
from plms_pipeline.notify.channels import LOG
from plms_pipeline.notify.message import Message, lines_of
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AlertSilence

LONGEST_SILENCE: Final = timedelta(days=30)
ANY: Final = "*"
MOST_SUBJECT: Final = 255
Ids = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Silenced:
    """A silence as it stands. `note` says to whoever places it what may be a slip."""

    silence_id: str
    rule: str
    subject: str
    since: datetime
    until: datetime
    reason: str
    placed_by: str
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "silence_id": self.silence_id, "rule": self.rule, "subject": self.subject, "since": self.since.isoformat(),
            "until": self.until.isoformat(), "reason": self.reason, "placed_by": self.placed_by,
            "note": self.note,
        }  # fmt: skip


def silence_of(row: AlertSilence) -> Silenced:
    """The value of a row."""
    return Silenced(row.silence_id, row.rule, row.subject, row.since, row.until, row.reason, row.placed_by)


def acknowledge(
    engine: Engine, name: str, *, ids: Ids, actor: Actor, reason: str, is_whole_group: bool = False
) -> list[State]:
    """Say that somebody has it in hand: nobody further is told.

    Args:
        name: the alert's id or its beginning; or a rule or subject that has one alert.
        is_whole_group: everything that was told with it.

    Raises:
        NotFound: there is no such alert (`alert_not_found`).
        BadInput: several are meant (`alert_ambiguous`); no reason.
        Conflict: it does not fire, or is acknowledged (`alert_not_firing`).
    """
    why = reason_of(reason)
    with engine.registry.writing() as session:
        now = engine.clock.now()
        states.lock(session, now)
        first = one_named(states.named(session, name), name)
        group = states.of_group(session, first.group_id) if first.group_id else [first]
        wanted = group if is_whole_group else [first]
        steps = [step for state in wanted if (step := acknowledged(state, by=actor.name[:255], at=now)[1]) is not None]
        if not steps:
            raise Conflict(
                f"Alert {first.episode_id} ({first.rule}, {first.subject}) is {first.state}; only one that fires can be "
                "acknowledged.", code="alert_not_firing",
            )  # fmt: skip
        acked = [step.state for step in steps]
        for state in acked:
            decide(
                session, clock_now=now, ids=ids, kind="alert_ack", subject_type="alert", subject_id=str(state.episode_id),
                decision="acknowledge", reason=why, actor=actor, payload={"rule": state.rule, "subject": state.subject},
            )  # fmt: skip
        states.add_events(session, steps, found_at=now, actor=actor.name)
        states.keep(session, acked)
        keys = {state.key for state in acked}
        still = tuple(sorted(one.subject for one in group if one.state == "firing" and one.key not in keys))
        world = world_of(session, engine, group, now)
        told = planning.told_of(acked, world.told.get(str(first.group_id), ()))
        owed = planning.owed(acked, "acked", world, to=told, still=still, actor=actor.name, reason=why)
        deliveries.owe(session, owed, now=now)
    return acked


def silence(
    engine: Engine, *, rule: str, subject: str, lasts: timedelta, ids: Ids, actor: Actor, reason: str
) -> Silenced:
    """Keep messages about a rule (`*`: all) and a subject (`*`: any) back for a while.

    Raises:
        NotFound: there is no such rule (`rule_not_found`).
        BadInput: it lasts no time or more than 30 days, would silence everything, or is about what no subject is called
            (`bad_silence`); no reason. A subject that nothing was alarmed about yet is taken, with a note.
    """
    why = reason_of(reason)
    subject = subject.strip()
    _require_subject(subject)
    if rule != ANY and rule not in engine.rules:
        raise NotFound(f"There is no rule {rule[:64]!r}; `plms alerts list --rules` shows them.", code="rule_not_found")
    if not timedelta(0) < lasts <= LONGEST_SILENCE:
        raise BadInput(
            "A silence lasts up to 30 days; what should never be told is a rule to disable.", code="bad_silence"
        )
    if (rule, subject) == (ANY, ANY):
        raise BadInput(
            "Name a rule or a subject: a silence about everything would hide what nobody expects.", code="bad_silence"
        )
    with engine.registry.writing() as session:
        now = engine.clock.now()
        note = "" if subject == ANY else _unheard(subject, states.subjects(session))
        made = Silenced(ids(), rule, subject, now, now + lasts, why, actor.name[:255], note)
        states.add_silence(
            session,
            AlertSilence(
                silence_id=made.silence_id, rule=rule, subject=made.subject, since=now, until=made.until, reason=why,
                placed_by=made.placed_by,
            ),
        )  # fmt: skip
        decide(
            session, clock_now=now, ids=ids, kind="alert_silence", subject_type="alert_silence", subject_id=made.silence_id,
            decision="silence", reason=why, actor=actor,
            payload={"rule": rule, "subject": made.subject, "until": made.until.isoformat()},
        )  # fmt: skip
    return made


def _require_subject(subject: str) -> None:
    """Refuse what no alert is about: whoever placed it would sleep, and be woken."""
    is_whole = subject == ANY or ANY not in subject
    if not is_whole or not subject.strip() or not subject.isprintable() or len(subject) > MOST_SUBJECT:
        raise BadInput(
            f"{subject[:80]!r} is no subject; name one as `plms alerts list` shows it, such as project:42, or {ANY} for any.",
            code="bad_silence",
        )
    if wrong := slip(subject):
        raise BadInput(f"{subject[:80]!r} is no subject: {wrong}", code="bad_silence")


def _unheard(subject: str, known: Collection[str]) -> str:
    """What to say of a subject that nothing was ever alarmed about: it may come, or be a slip."""
    if subject in known:
        return ""
    alike = near(subject, known)
    meant = f"; did you mean {' or '.join(alike)}?" if alike else ""
    return f"Nothing was ever alarmed about {subject}, so this holds only if something will be{meant}"


def unsilence(registry: Registry, name: str, *, clock: Clock, ids: Ids, actor: Actor, reason: str) -> Silenced:
    """End a silence now.

    Raises:
        NotFound: no silence that holds has this id or begins so (`silence_not_found`).
        BadInput: several begin so; no reason.
    """
    why = reason_of(reason)
    with registry.writing() as session:
        now = clock.now()
        found = [silence_of(row) for row in states.silence_named(session, name, now)]
        if not found:
            raise NotFound(
                f"No silence {name[:64]!r} holds; `plms alerts list` shows those that do.", code="silence_not_found"
            )
        if len(found) > 1:
            raise BadInput(f"{name[:64]!r} may mean several silences; give more of the id.", code="alert_ambiguous")
        states.lift(session, found[0].silence_id, now=now, by=actor.name)
        decide(
            session, clock_now=now, ids=ids, kind="alert_silence", subject_type="alert_silence",
            subject_id=found[0].silence_id, decision="unsilence", reason=why, actor=actor,
        )  # fmt: skip
    return found[0]


def one_named(found: list[State], name: str) -> State:
    """The one alert that is meant.

    Raises:
        NotFound, BadInput: none, or several.
    """
    if not found:
        raise NotFound(
            f"There is no alert {name[:80]!r}; `plms alerts list` shows those that are open.", code="alert_not_found"
        )
    if len(found) > 1:
        named = ", ".join(f"{str(one.episode_id)[:8]} ({one.rule}, {one.subject})" for one in found[:3])
        raise BadInput(f"{name[:80]!r} may mean {named}; give the id.", code="alert_ambiguous")
    return found[0]


def try_out(
    engine: Engine, *, target: str | None, rule: str | None, ids: Ids, actor: Actor, is_dry: bool = False
) -> list[Owed]:
    """Owe a test message to a channel (`chat`, `mail:owner`), or to wherever a rule goes; to every channel when none is named.

    Args:
        is_dry: only say what would be owed.

    Raises:
        NotFound: there is no such rule.
        BadInput: there is no such channel, or it is not configured (`channel_not_configured`).
    """
    routing, now = engine.routing, engine.clock.now()
    if rule is not None and rule not in engine.rules:
        raise NotFound(f"There is no rule {rule[:64]!r}; `plms alerts list --rules` shows them.", code="rule_not_found")
    if target is not None:
        name, _, _ = target.partition(":")
        if name not in routing.channels:
            known = ", ".join(sorted(routing.channels))
            missing = (
                "is not configured: its secret is missing" if name in routing.oncall.channels else "does not exist"
            )
            raise BadInput(f"Channel {name[:64]!r} {missing}; there are {known}.", code="channel_not_configured")
        targets = [target]
    elif rule is not None:
        targets = list(routing.targets_of(engine.rules[rule]))
    else:
        targets = [
            f"{name}:oncall" if one.kind == "smtp" else name
            for name, one in sorted(routing.channels.items())
            if name != LOG
        ]
    group_id = id_of("test", ids())
    recipients = routing.recipients(targets or [LOG], project_id=None, now=now)
    made = [_test_message(engine, recipient, rule or "test", group_id, actor, now) for recipient in recipients]
    if not is_dry:
        with engine.registry.writing() as session:
            deliveries.owe(session, made, now=now)
    return made


def _test_message(engine: Engine, recipient: Recipient, rule: str, group_id: str, actor: Actor, now: datetime) -> Owed:
    lines, _ = lines_of([("test", "this is only a test; nothing is wrong")])
    severity = engine.rules[rule].severity if rule in engine.rules else "P3"
    message = Message(
        kind="test", key=id_of(group_id, recipient.channel, recipient.address), thread=f"plms:test:{group_id}", rule=rule,
        severity=severity, title="a test message", lines=lines, at=now.isoformat(), environment=engine.routing.environment,
        actor=actor.name[:255],
    )  # fmt: skip
    return Owed(message, recipient, now, group_id)
