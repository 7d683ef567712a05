"""Which states move, which events happen, and which messages are owed, given what was read?

Pure: everything that was read, all states and the time come in; a plan comes out, which one transaction writes. Subjects of
one rule that are told together are a group: one message lists them, and one incident is opened for them, which is resolved
when the last of them is over. Each subject has its own episode and its own events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from plms_pipeline.alerts.inputs import INPUTS
from plms_pipeline.alerts.machine import JUMP, Reading, State, Step, id_of, moved
from plms_pipeline.alerts.routing import Recipient, Routing
from plms_pipeline.alerts.rules import SEVERITIES, Rule, Severity
from plms_pipeline.notify.message import Kind, Message, lines_of

Key = tuple[str, str]
# Services that hold something open for a group: it is closed when the last of the group is over.
HOLDING: Final = ("pagerduty", "ticket")
_AT_ONCE: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class Look:
    """What a source said about one input. `untouched`: subjects that it did not look at this time."""

    readings: tuple[Reading, ...]
    at: datetime
    untouched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Quiet:
    """A silence: a rule or `*`, a subject or `*`."""

    rule: str
    subject: str

    def covers(self, state: State) -> bool:
        """Whether it silences a state."""
        return self.rule in ("*", state.rule) and self.subject in ("*", state.subject)


@dataclass(frozen=True, slots=True)
class Owed:
    """One message to one recipient. `key` is the delivery's for ever; `is_end` when the whole group is over."""

    message: Message
    recipient: Recipient
    due_at: datetime
    group_id: str
    is_end: bool = False

    @property
    def key(self) -> str:
        """Of the delivery."""
        return self.message.key


@dataclass(slots=True)
class Plan:
    """What is to be written: states that changed, steps that were taken, messages that are owed."""

    states: dict[Key, State] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.states and not self.steps and not self.owed


@dataclass(frozen=True, slots=True)
class Told:
    """Who was told of which subjects of a group; `subjects` None: of more than were listed."""

    recipient: Recipient
    subjects: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class World:
    """What a plan is made from, besides states and readings. `told`: group → who was told of it."""

    rules: Mapping[str, Rule]
    routing: Routing
    silences: Sequence[Quiet]
    now: datetime
    told: Mapping[str, Sequence[Told]] = field(default_factory=dict)

    def rule_of(self, state: State) -> Rule:
        """The rule of a state; one that is in the file no more as far as anything is known of it."""
        known = self.rules.get(state.rule)
        if known is not None:
            return known
        severity: Severity = next(one for one in SEVERITIES if one == state.severity)
        none, whatever = timedelta(0), next(iter(INPUTS.values()))
        return Rule(state.rule, "the rule is gone", whatever, ">", 0, None, none, none, severity, (), is_enabled=False)


def plan(states: Mapping[Key, State], looks: Mapping[str, Look], world: World) -> Plan:
    """The plan.

    Args:
        states: of every rule, by rule and subject; those that never moved may be missing.
        looks: input → what was read; inputs that were not read are left as they are.
    """
    made = Plan()
    present = dict(states)
    for reading, rule in _questions(states, looks, world):
        key = (rule.name, reading.subject)
        before = present.get(key, State(rule.name, reading.subject, severity=rule.severity))
        after, step = moved(before, rule, reading, world.now)
        if after is not before:
            present[key] = made.states[key] = after
        if step is not None:
            made.steps.append(step)
    _tell_new(made, present, world)
    _tell_over(made, present, world)
    _escalate(made, present, world)
    return made


def _questions(states: Mapping[Key, State], looks: Mapping[str, Look], world: World) -> Iterable[tuple[Reading, Rule]]:
    """Every reading with the rule that asks for it, and for what was open and is gone a reading that says so."""
    open_ones: dict[str, list[State]] = defaultdict(list)
    for state in states.values():
        if state.is_open or state.state == "pending":
            open_ones[state.rule].append(state)
    for name, rule in world.rules.items():
        look = looks.get(rule.input.name)
        if look is None or not rule.is_enabled:
            continue
        seen = {reading.subject for reading in look.readings}
        yield from ((reading, rule) for reading in look.readings)
        for subject in sorted({state.subject for state in open_ones[name]} - seen - look.untouched):
            yield _gone(rule.input.name, subject, look.at), rule
    for found in open_ones.values():
        for state in found:
            rule = world.rule_of(state)
            if not rule.is_enabled:
                # Nobody asks any more: what it had opened would stay open for ever.
                yield (
                    replace(_gone("", state.subject, world.now), detail="the rule is gone"),
                    replace(rule, hold=_AT_ONCE),
                )


def _gone(name: str, subject: str, at: datetime) -> Reading:
    return Reading(name, subject, None, at, is_absent=True)


def _tell_new(made: Plan, present: dict[Key, State], world: World) -> None:
    """Tell of what fires, was not told, and is not silenced: fired now, or while somebody had silenced it."""
    untold: dict[str, list[State]] = defaultdict(list)
    for key in sorted(present):
        state = present[key]
        if (
            state.state == "firing"
            and not state.is_told
            and state.rule in world.rules
            and not _is_silenced(state, world)
        ):
            untold[state.rule].append(state)
    for name, found in untold.items():
        rule = world.rules[name]
        for group in [found] if rule.is_grouped else [[one] for one in found]:
            group_id = id_of("group", *sorted(str(one.episode_id) for one in group))
            due_at = world.routing.due_at(rule.severity, world.now)
            told = [replace(one, is_told=True, told_at=due_at, group_id=group_id) for one in group]
            for one in told:
                present[one.key] = made.states[one.key] = one
            made.owed += owed(told, "fired", world, to=_routed(told, world.routing.targets_of(rule), world))
    made.steps[:] = [replace(step, state=present[step.state.key]) for step in made.steps]


def _tell_over(made: Plan, present: Mapping[Key, State], world: World) -> None:
    """Tell that something is over to whoever was told of it, whatever the routes say by now."""
    over: dict[str, list[State]] = defaultdict(list)
    for step in made.steps:
        if step.kind == "resolved" and step.state.is_told and step.state.group_id:
            over[step.state.group_id].append(step.state)
    open_ones = [one for one in present.values() if one.is_open and one.group_id in over]
    for group_id, ended in over.items():
        still = tuple(sorted(one.subject for one in open_ones if one.group_id == group_id))
        made.owed += owed(ended, "resolved", world, to=told_of(ended, world.told.get(group_id, ())), still=still)


def _escalate(made: Plan, present: dict[Key, State], world: World) -> None:
    """Tell the next ones of what nobody has acknowledged in time."""
    late: dict[tuple[str, str, int], list[State]] = defaultdict(list)
    oncall = world.routing.oncall
    for key in sorted(present):
        state = present[key]
        if state.state != "firing" or not state.is_told or state.told_at is None or state.group_id is None:
            continue
        due_at = world.routing.due_at(state.severity, world.now)
        if state.told_at > due_at + JUMP:
            # Told before the clock went back: the time to answer begins anew.
            present[key] = made.states[key] = replace(state, told_at=due_at)
            continue
        waits = oncall.answer_within(state.severity) * (state.escalations + 1)
        if world.now - state.told_at < waits or _is_silenced(state, world):
            continue
        if oncall.next_targets(state.severity, state.escalations):
            late[state.rule, state.group_id, state.escalations].append(state)
    for (_, _, level), found in late.items():
        told = [replace(one, escalations=level + 1) for one in found]
        for one in told:
            present[one.key] = made.states[one.key] = one
            made.steps.append(Step("escalated", one, world.now, level + 1))
        targets = oncall.next_targets(found[0].severity, level)
        made.owed += owed(told, "escalated", world, to=_routed(told, targets, world), level=level + 1)


def _is_silenced(state: State, world: World) -> bool:
    return any(silence.covers(state) for silence in world.silences)


Listed = Mapping[Recipient, Sequence[State]]


def _routed(states: Iterable[State], targets: Iterable[str], world: World) -> Listed:
    """Recipient → what concerns him: mail to owners tells each of his own projects only."""
    found: dict[Recipient, list[State]] = defaultdict(list)
    targets = list(targets)
    for state in states:
        for recipient in world.routing.recipients(targets, project_id=state.project_id, now=world.now):
            found[recipient].append(state)
    return found


def told_of(states: Sequence[State], told: Iterable[Told]) -> Listed:
    """Recipient → those of the states that he was told of."""
    found: dict[Recipient, list[State]] = defaultdict(list)
    for one in told:
        known = found[one.recipient]
        known += [each for each in states if one.subjects is None or each.subject in one.subjects if each not in known]
    return {recipient: about for recipient, about in found.items() if about}


def owed(
    states: Sequence[State], kind: Kind, world: World, *, to: Listed, level: int = 0, still: tuple[str, ...] = (),
    actor: str = "", reason: str = "",
) -> list[Owed]:  # fmt: skip
    """The messages about states of one group, one per recipient."""
    found = []
    rule, group_id = world.rule_of(states[0]), states[0].group_id or str(states[0].episode_id)
    routing, due_at = world.routing, world.routing.due_at(states[0].severity, world.now)
    for recipient, about in to.items():
        if kind in ("resolved", "acked") and still and recipient.kind in HOLDING:
            continue
        lines, more = lines_of([(one.subject, _told(rule, one)) for one in about])
        # The first message about a group is one; of its subjects some may be over before others.
        which = sorted(str(one.episode_id) for one in about) if kind in ("resolved", "acked") else []
        message = Message(
            kind=kind, key=id_of(group_id, kind, str(level), recipient.channel, recipient.address, *which),
            thread=f"plms:{rule.name}:{group_id}", rule=rule.name, severity=states[0].severity, title=rule.title, lines=lines,
            more=more, at=world.now.isoformat(), environment=routing.environment, runbook=routing.runbook(rule.name),
            on_call=routing.oncall.on_call(world.now), actor=actor, reason=reason, level=level, still=still,
        )  # fmt: skip
        found.append(Owed(message, recipient, due_at, group_id, is_end=kind == "resolved" and not still))
    return found


def _told(rule: Rule, state: State) -> str:
    """What was measured, the rule, and the fact behind it."""
    value = "" if state.value is None or not rule.is_enabled else rule.input.shown(state.value)
    parts = [part for part in (value, state.detail) if part]
    condition = rule.condition if rule.is_enabled else rule.title
    since = f" since {state.crossed_at:%Y-%m-%d %H:%M} UTC" if state.crossed_at else ""
    return f"{'; '.join(parts)} ({condition}{since})"
