"""What do the steps of one tick of the dispatcher share?

The world as it was handed in, the result as it grows, and what is done when the executor is away or refuses for good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, PlmsError, VerdictNo
from plms_pipeline.evidence.obligations import EvidenceConfig
from plms_pipeline.pas.client import PasClient
from plms_pipeline.pas.protocol import JobCard, problem_of
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.dispatching import staging_path, wait_s
from plms_pipeline.runs.letters.store import effect_failed
from plms_pipeline.runs.store import dispatch as store
from plms_pipeline.runs.store import outbox, words
from plms_pipeline.runs.store.dispatch import Card, RunFacts
from plms_pipeline.runs.store.outbox import Effect
from plms_pipeline.runs.store.transitions import move_task

M = TypeVar("M", bound=BaseModel)
DISPATCHER = "dispatcher"
LEASE = timedelta(seconds=60)

Stopped = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """What one tick did. `away` is why the executor could not be reached, `stopped` the reason of the kill switch."""

    announced: int = 0
    submitted: int = 0
    refused: int = 0
    skipped: int = 0
    snapshots: int = 0
    paused: int = 0
    resumed: int = 0
    waiting: int = 0
    touched_runs: frozenset[str] = field(default_factory=frozenset)
    away: str | None = None
    stopped: str | None = None

    @property
    def did_something(self) -> bool:
        """Whether anything moved, so that another tick may find more."""
        return bool(
            self.announced
            or self.submitted
            or self.refused
            or self.skipped
            or self.snapshots
            or self.paused
            or self.resumed
        )


@dataclass(slots=True)
class Tick:
    """What the steps of one tick share."""

    registry: Registry
    clock: Clock
    pas: PasClient
    holder: str
    data_dir: str
    stopped: Stopped
    evidence: EvidenceConfig | None = None
    result: DispatchResult = field(default_factory=DispatchResult)

    def count(self, *, run_id: str | None = None, **steps: int) -> None:
        """Add to the result."""
        touched = self.result.touched_runs | ({run_id} if run_id else set())
        counted = {name: getattr(self.result, name) + step for name, step in steps.items()}
        self.result = replace(self.result, touched_runs=frozenset(touched), **counted)

    def away(self, why: str) -> None:
        """The executor cannot be reached: this tick asks no more of it."""
        self.result = replace(self.result, away=why)

    def may_go_on(self) -> bool:
        """Whether the kill switch is off and the executor answers."""
        if self.result.stopped is None:
            self.result = replace(self.result, stopped=self.stopped())
        return self.result.stopped is None and self.result.away is None


def give_up(tick: Tick, effect: Effect, error: str, *, is_owed: bool = True) -> None:
    """The effect will never happen; unless it `is_owed` to nobody, a dead letter keeps it."""
    now = tick.clock.now()
    with tick.registry.writing() as session:
        outbox.failed(session, effect.id, now=now, error=error)
        if is_owed:
            effect_failed(session, effect.id, error=error, now=now, actor=DISPATCHER)


def try_later(tick: Tick, effect: Effect, error: PlmsError) -> None:
    """The executor is away: the effect is due again, and this tick asks no more of it."""
    wait = wait_s(effect.attempts, error.retry_after_s)
    with tick.registry.writing() as session:
        now = tick.clock.now()
        if not outbox.later(session, effect.id, due_at=now + timedelta(seconds=wait), error=error.message):
            words.withdrawn(session, effect, now=now)
    tick.result = replace(tick.result, away=error.message)


def skip(session: Session, key: str, run_id: str, task_id: str, reason: str, now: datetime) -> bool:
    """A task that will never be handed over: SKIPPED, and so is its card CANCELLED."""
    if not store.card_cancelled(session, key, now=now, error=reason):
        return False
    move_task(session, run_id, task_id, expected="QUEUED", new="SKIPPED", at=now, actor=DISPATCHER, reason=reason)
    return True


class Unsendable(VerdictNo):
    """What we would say is no message of the protocol: no executor could take it, however often it is sent."""

    default_code = "unsendable"


def sendable(shape: type[M], fields: Mapping[str, object]) -> M:
    """A message of the protocol.

    Raises:
        Unsendable: the fields are none; the message names the first that is wrong.
    """
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        raise Unsendable(f"the executor's protocol has no such message ({problem_of(error)})") from None


def message(tick: Tick, card: Card, run: RunFacts) -> JobCard:
    """A card as the executor takes it.

    Raises:
        Unsendable: a name in it is none that the protocol or a path may hold.
    """
    command = card.payload.get("command")
    try:
        staging = f"{tick.data_dir.rstrip('/')}/{staging_path(card.run_id, card.task_id, card.attempt)}"
    except BadInput as error:
        raise Unsendable(error.message) from None
    fields = {
        "card_key": card.card_key, "run_id": run.executor_id or card.run_id, "task_id": card.task_id,
        "attempt": card.attempt, "project_id": card.project_id, "lane": card.lane_id, "provider": card.provider,
        "provider_version": run.provider_matrix.get(card.provider),
        "priority": card.priority, "deps": card.depends_on, "budget_usd": card.budget_usd,
        "payload": {
            "command": None if command is None else tuple(command), "artifacts_dir": staging,
            "task_kind": card.payload.get("task_kind"), "complexity": card.payload.get("complexity"),
        },
    }  # fmt: skip
    return sendable(JobCard, fields)
