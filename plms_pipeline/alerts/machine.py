"""What becomes of a rule's state for one subject when something is read?

    ok → pending → firing → (acked) → resolved → pending …

Pure: a state, a rule and a reading come in; the next state and at most one step come out. An *episode* begins when the
threshold is crossed and has an id that follows from rule, subject and that moment: whoever finds it, and however late,
finds the same one. A reading older than the one that moved the state last moves nothing, so evaluators may overtake each
other; a value that nobody knows moves nothing either. The sources asked `minutes_left <= 5` at every check and paged each
time.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from plms_pipeline.alerts.rules import Rule

StateName = Literal["ok", "pending", "firing", "acked", "resolved"]
StepKind = Literal["fired", "acked", "escalated", "resolved"]
OPEN: Final = ("firing", "acked")
_ALERTS: Final = uuid.UUID("7b0f5a52-9c1e-5d0a-8b57-2f4f1f0f6a11")
# A state from further in the future than this was written before the clock went back.
JUMP: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement.

    `value` None: nobody knows. `is_absent`: the subject is gone from what was read, which is as calm as can be. `since`: when
    the fact began, where its source knows that.
    """

    input: str
    subject: str
    value: float | None
    at: datetime
    detail: str = ""
    since: datetime | None = None
    project_id: int | None = None
    is_absent: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Where a rule stands for a subject; the columns of `alert_states`."""

    rule: str
    subject: str
    state: StateName = "ok"
    severity: str = "P3"
    value: float | None = None
    detail: str = ""
    project_id: int | None = None
    changed_at: datetime | None = None
    crossed_at: datetime | None = None
    fired_at: datetime | None = None
    clear_since: datetime | None = None
    resolved_at: datetime | None = None
    episode_id: str | None = None
    group_id: str | None = None
    is_told: bool = False
    told_at: datetime | None = None
    escalations: int = 0
    acked_at: datetime | None = None
    acked_by: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it fires, acknowledged or not."""
        return self.state in OPEN

    @property
    def key(self) -> tuple[str, str]:
        """Rule and subject."""
        return self.rule, self.subject


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an episode: a row of `alert_events`. `number` tells escalations apart."""

    kind: StepKind
    state: State
    at: datetime
    number: int = 0

    @property
    def event_key(self) -> str:
        """Unique: the same step of the same episode is one event, whoever takes it."""
        return f"{self.state.episode_id}:{self.kind}" + (f":{self.number}" if self.number else "")


def episode_id_of(rule: str, subject: str, crossed_at: datetime) -> str:
    """The id of the episode that began at a moment."""
    return str(uuid.uuid5(_ALERTS, f"{rule}\n{subject}\n{crossed_at.isoformat()}"))


def id_of(*parts: str) -> str:
    """An id that follows from what it is about: of a group, of a delivery."""
    return str(uuid.uuid5(_ALERTS, "\n".join(parts)))


def moved(state: State, rule: Rule, reading: Reading, now: datetime) -> tuple[State, Step | None]:
    """The state after a reading, and the step that it took.

    Args:
        now: when it is applied, which may be long after it was taken.
    """
    if _is_stale(state, reading, now) or (reading.value is None and not reading.is_absent):
        return state, None
    is_over = not reading.is_absent and reading.value is not None and rule.is_over(reading.value)
    is_clear = reading.is_absent or (reading.value is not None and rule.is_clear(reading.value))
    if state.is_open:
        return _open_moved(state, rule, reading, is_clear=is_clear)
    if state.state == "pending":
        if not is_over:
            # What must hold for a time begins anew: that it was not yet calm in between is not the same.
            return replace(state, state="ok", crossed_at=None, changed_at=reading.at), None
        return _fired_if_due(state, rule, reading)
    if not is_over:
        return state, None
    crossed_at = min(reading.since or reading.at, reading.at)
    pending = State(
        state.rule, state.subject, "pending", rule.severity, reading.value, reading.detail, reading.project_id,
        reading.at, crossed_at, resolved_at=state.resolved_at,
    )  # fmt: skip
    return _fired_if_due(pending, rule, reading)


def _fired_if_due(state: State, rule: Rule, reading: Reading) -> tuple[State, Step | None]:
    crossed_at = state.crossed_at or reading.at
    if reading.at - crossed_at < rule.for_span:
        return state, None
    fired = replace(
        state, state="firing", severity=rule.severity, value=reading.value, detail=reading.detail,
        project_id=reading.project_id, changed_at=reading.at, fired_at=reading.at,
        episode_id=episode_id_of(rule.name, state.subject, crossed_at),
    )  # fmt: skip
    return fired, Step("fired", fired, reading.at)


def _open_moved(state: State, rule: Rule, reading: Reading, *, is_clear: bool) -> tuple[State, Step | None]:
    if not is_clear:
        calm = state if state.clear_since is None else replace(state, clear_since=None, changed_at=reading.at)
        return calm, None
    since = state.clear_since or reading.at
    if reading.at - since < rule.hold:
        if state.clear_since is not None:
            return state, None
        return replace(state, clear_since=since, changed_at=reading.at), None
    value = state.value if reading.is_absent else reading.value
    over = replace(
        state, state="resolved", value=value, detail=reading.detail or state.detail, changed_at=reading.at,
        resolved_at=reading.at, clear_since=None,
    )  # fmt: skip
    return over, Step("resolved", over, reading.at)


def acknowledged(state: State, *, by: str, at: datetime) -> tuple[State, Step | None]:
    """The state once somebody has it in hand; nothing happens to one that does not fire or is acknowledged."""
    if state.state != "firing":
        return state, None
    acked = replace(state, state="acked", acked_at=at, acked_by=by)
    return acked, Step("acked", acked, at)


def _is_stale(state: State, reading: Reading, now: datetime) -> bool:
    """Whether the reading was taken before the one that moved the state last; after the clock went back none is."""
    changed_at = state.changed_at
    return changed_at is not None and reading.at < changed_at <= now + JUMP
