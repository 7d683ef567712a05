"""An executor that does what PAS may do, in memory: works on cards by the clock, answers late or not at all, tells too much.

It keeps the truth that the books are held against: every attempt that it took on, when it began, how it ended and what it
cost. It refuses what the protocol calls wrong, so a dispatcher that hands over a card of a run that was never announced, or a
known key with another body, is seen here. It may also lose what it worked on: then it knows nothing of it any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from plms_pipeline.pas.client import PasRefused, PasUnavailable
from plms_pipeline.pas.protocol import (
    CardAccepted,
    Health,
    JobCard,
    ProviderState,
    RunAccepted,
    RunAnswer,
    RunStatus,
    StartRun,
    TaskReceiptMessage,
    TaskStatus,
)

PROVIDERS = {"maker/one": "one-1", "maker/two": "two-1"}
ERRORS = ("connection reset by peer", "the request timed out", "service unavailable", "3 tests failed", None)
CAPABILITIES = ("cancel_card", "pause_task")


@dataclass
class Attempt:
    """One attempt that the executor took on."""

    card: JobCard
    began_at: datetime
    ends_at: datetime
    cost_usd: Decimal
    is_good: bool
    ended_at: datetime | None = None
    cancelled: bool = False
    is_forgotten: bool = False
    paused_at: datetime | None = None
    error: str | None = None

    @property
    def is_running(self) -> bool:
        return self.ended_at is None and not self.cancelled and not self.is_forgotten

    @property
    def name(self) -> tuple[str, str, int]:
        return self.card.run_id, self.card.task_id, self.card.attempt


@dataclass
class Faults:
    """How often what goes wrong, as fractions. All zero: calm."""

    away: float = 0.0
    ambiguous: float = 0.0
    failed: float = 0.0
    lost: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    forged: float = 0.0
    outlier: float = 0.0
    forgets: float = 0.0
    silent: float = 0.0
    # The longest task takes e to the power of this, in seconds.
    slowness: float = 4.0


@dataclass
class Executor:
    """The executor; hands `events` over to whoever delivers them, as (due at, document)."""

    now: Callable[[], datetime]
    rng: Random
    faults: Faults = field(default_factory=Faults)
    takes_whole_runs: bool = False
    runs: dict[str, StartRun] = field(default_factory=dict)
    ended_runs: set[str] = field(default_factory=set)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    events: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    paused_runs: set[str] = field(default_factory=set)
    named: dict[tuple[str, str, int], Attempt] = field(default_factory=dict)
    of_run: dict[str, list[Attempt]] = field(default_factory=dict)
    begins: Callable[[Attempt], None] = lambda _attempt: None
    _open: dict[str, Attempt] = field(default_factory=dict)

    # -- what the client offers

    def health(self) -> Health:
        self._answers()
        return Health(status="ok", capabilities=CAPABILITIES)

    def provider_state(self) -> ProviderState:
        self._answers()
        return ProviderState(providers=dict(PROVIDERS), taken_at=self.now())

    def submit_run(self, start: StartRun, cards: Sequence[JobCard] = ()) -> RunAccepted:
        self._answers()
        known = self.runs.get(start.run_id)
        if known is not None and known != start:
            self.problems.append(f"run {start.run_id} was announced twice with different words")
        self.runs.setdefault(start.run_id, start)
        self._ambiguous()
        return RunAccepted(run_id=start.run_id, duplicate=known is not None)

    def submit_card(self, card: JobCard) -> CardAccepted:
        self._answers()
        if card.run_id not in self.runs:
            raise PasRefused("Run not found", status=404, pas_code="run_not_found")
        if card.run_id in self.ended_runs:
            raise PasRefused("The run was ended", status=409, pas_code="run_ended")
        known = self.attempts.get(card.card_key)
        if known is None or known.is_forgotten:
            self._take(card)
        elif known.card != card:
            self.problems.append(f"card {card.card_key} came twice with different bodies")
        self._ambiguous()
        return CardAccepted(pas_task_id=card.card_key, duplicate=known is not None)

    def run_status(self, run_id: str) -> RunStatus | None:
        self._answers()
        if run_id not in self.runs:
            return None
        newest: dict[str, Attempt] = {}
        mine = [each for each in self.of_run.get(run_id, ()) if not each.is_forgotten]
        for attempt in mine:
            known = newest.get(attempt.card.task_id)
            if known is None or known.card.attempt < attempt.card.attempt:
                newest[attempt.card.task_id] = attempt
        good = sum(1 for each in newest.values() if each.ended_at and each.is_good)
        bad = sum(1 for each in newest.values() if (each.ended_at and not each.is_good) or each.cancelled)
        return RunStatus(
            run_id=run_id, status="cancelled" if run_id in self.ended_runs else "executing",
            tasks_total=self.runs[run_id].tasks_total, tasks_completed=good, tasks_failed=bad,
            spend_usd=sum((each.cost_usd for each in mine if each.ended_at), Decimal(0)),
            tasks=tuple(self._status(each) for each in newest.values()),
        )  # fmt: skip

    def pause(self, run_id: str, reason: str = "") -> RunAnswer:
        return self._run_word(run_id, "paused")

    def resume(self, run_id: str, reason: str = "") -> RunAnswer:
        return self._run_word(run_id, "executing")

    def terminate(self, run_id: str, reason: str = "") -> RunAnswer:
        answer = self._run_word(run_id, "cancelled")
        self.ended_runs.add(run_id)
        for attempt in self.of_run.get(run_id, ()):
            if attempt.is_running:
                attempt.cancelled = True
        self._ambiguous()
        return answer

    def cancel_card(self, run_id: str, task_id: str, attempt: int = 1) -> CardAccepted:
        self._answers()
        each = self.named.get((run_id, task_id, attempt))
        if each is not None and not each.is_forgotten:
            if each.is_running:
                each.cancelled = True
            self._ambiguous()
            return CardAccepted(pas_task_id=each.card.card_key)
        raise PasRefused("No such card", status=404, pas_code="card_not_found")

    def pause_task(self, run_id: str, task_id: str, attempt: int = 1) -> CardAccepted:
        return self._hold(run_id, task_id, attempt, paused=True)

    def resume_task(self, run_id: str, task_id: str, attempt: int = 1) -> CardAccepted:
        return self._hold(run_id, task_id, attempt, paused=False)

    def close(self) -> None:
        """As the real client has it."""

    # -- what time brings

    def work(self) -> None:
        """End what has worked long enough, and tell of it, as well as the faults let it."""
        now, chance = self.now(), self.rng.random
        for attempt in sorted(self.running(), key=lambda each: (each.ends_at, each.name)):
            stopped = attempt.paused_at is not None or attempt.card.run_id in self.paused_runs
            if not stopped and attempt.ends_at <= now:
                attempt.ended_at = attempt.ends_at
                self._tell(attempt)
            elif chance() < self.faults.forgets:
                self._forget(attempt, whole_run=chance() < 0.3)
        if chance() < self.faults.forged:
            self.events.append((now, self._forged()))

    def _forget(self, attempt: Attempt, *, whole_run: bool) -> None:
        """A worker dies with its work, or the executor with everything about a run."""
        lost = self.of_run[attempt.card.run_id] if whole_run else [attempt]
        for each in lost:
            each.is_forgotten = True
        if whole_run:
            self.runs.pop(attempt.card.run_id)

    def _forged(self) -> dict[str, Any]:
        """Something that claims to be an event, and is not true of anything."""
        said: dict[str, Any] = {"run_id": "run-of-nobody", "task_id": "t", "attempt": 1, "status": "succeeded"}
        known = list(self.of_run)
        if known and self.rng.random() < 0.6:
            said["run_id"] = known[-1]
            wrong = ({"task_id": "never"}, {"task_id": "a", "attempt": 9}, {"task_id": "a", "status": "running"})
            said |= self.rng.choice(wrong)
        return said

    def running(self) -> list[Attempt]:
        """What is worked on at this moment."""
        found = [each for each in self._open.values() if each.is_running]
        if len(found) < len(self._open):
            self._open = {each.card.card_key: each for each in found}
        return found

    def _take(self, card: JobCard) -> None:
        for other in self.of_run.get(card.run_id, ()):
            if other.is_forgotten or other.card.task_id != card.task_id:
                continue
            if other.is_running:
                self.problems.append(f"{card.run_id}/{card.task_id}: two attempts at once")
            if other.ended_at is not None and other.is_good:
                self.problems.append(f"{card.run_id}/{card.task_id}: done again after it had succeeded")
            if other.card.attempt == card.attempt:
                self.problems.append(f"{card.run_id}/{card.task_id}: attempt {card.attempt} under two keys")
        now = self.now()
        took = timedelta(seconds=math.exp(self.rng.uniform(-1.0, self.faults.slowness)))
        cost = Decimal(str(round(self.rng.lognormvariate(-2.5, 0.6), 6)))
        if self.rng.random() < self.faults.outlier:
            cost *= 20
        cap = card.budget_usd
        if cap is not None and self.rng.random() > 0.05:
            # The cap is hard, and one in twenty notices it a little late.
            cost = min(cost, cap)
        good = self.rng.random() >= self.faults.failed
        attempt = Attempt(card, now, now + took, cost, good, error=None if good else self.rng.choice(ERRORS))
        self.attempts[card.card_key] = self.named[attempt.name] = self._open[card.card_key] = attempt
        self.of_run.setdefault(card.run_id, []).append(attempt)
        self.begins(attempt)

    def _tell(self, attempt: Attempt) -> None:
        if self.rng.random() < self.faults.lost:
            return
        times = 2 if self.rng.random() < self.faults.duplicate else 1
        for _ in range(times):
            late = self.rng.random() < self.faults.late
            wait = timedelta(hours=self.rng.uniform(1, 30)) if late else timedelta(seconds=self.rng.uniform(0, 90))
            self.events.append((self.now() + wait, self._document(attempt)))

    def _document(self, attempt: Attempt) -> dict[str, Any]:
        receipt = self._receipt(attempt)
        return {
            "run_id": attempt.card.run_id, "task_id": attempt.card.task_id, "attempt": attempt.card.attempt,
            "status": receipt.status,
            "metrics": {"tokens_total": 1500, "time_ms": receipt.time_ms, "cost_usd": float(attempt.cost_usd)},
            "receipt": receipt.model_dump(mode="json"),
        }  # fmt: skip

    def _receipt(self, attempt: Attempt) -> TaskReceiptMessage:
        assert attempt.ended_at is not None
        return TaskReceiptMessage(
            task_id=attempt.card.task_id, run_id=attempt.card.run_id, attempt=attempt.card.attempt, lane=attempt.card.lane,
            provider=attempt.card.provider, tokens_in=1000, tokens_out=400, tokens_think=100,
            time_ms=int((attempt.ended_at - attempt.began_at).total_seconds() * 1000), cost_usd=attempt.cost_usd,
            status="succeeded" if attempt.is_good else "failed", started_at=attempt.began_at,
            completed_at=attempt.ended_at, error=attempt.error,
        )  # fmt: skip

    def _status(self, attempt: Attempt) -> TaskStatus:
        word = "running"
        if attempt.cancelled:
            word = "cancelled"
        elif attempt.ended_at is not None:
            word = "succeeded" if attempt.is_good else "failed"
        return TaskStatus(
            task_id=attempt.card.task_id, attempt=attempt.card.attempt, lane=attempt.card.lane, status=word,
            pas_task_id=attempt.card.card_key, receipt=self._receipt(attempt) if attempt.ended_at else None,
            last_heartbeat_at=None if self.rng.random() < self.faults.silent else self.now(),
        )  # fmt: skip

    def _run_word(self, run_id: str, word: str) -> RunAnswer:
        self._answers()
        if run_id not in self.runs:
            raise PasRefused("Run not found", status=404, pas_code="run_not_found")
        if word == "paused":
            self.paused_runs.add(run_id)
        elif run_id in self.paused_runs:
            self.paused_runs.discard(run_id)
        return RunAnswer(run_id=run_id, status=word)

    def _hold(self, run_id: str, task_id: str, attempt: int, *, paused: bool) -> CardAccepted:
        self._answers()
        each = self.named.get((run_id, task_id, attempt))
        if each is None or each.is_forgotten:
            raise PasRefused("No such card", status=404, pas_code="card_not_found")
        if paused and each.paused_at is None:
            each.paused_at = self.now()
        elif not paused and each.paused_at is not None:
            each.ends_at += self.now() - each.paused_at
            each.paused_at = None
        return CardAccepted(pas_task_id=each.card.card_key)

    def _answers(self) -> None:
        if self.rng.random() < self.faults.away:
            raise PasUnavailable("the executor does not answer", retry_after_s=1)

    def _ambiguous(self) -> None:
        if self.rng.random() < self.faults.ambiguous:
            raise PasUnavailable("the connection broke after the request", is_ambiguous=True)
