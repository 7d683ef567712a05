"""An executor that does what PAS may do, in memory: works on cards by the clock, answers late or not at all, tells too much.

It keeps the truth that the books are held against: every attempt that it took on, when it began, how it ended and what it
cost. It refuses what the protocol calls wrong, so a dispatcher that hands over a card of a run that was never announced, or a
known key with another body, is seen here.
"""

from __future__ import annotations

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
    paused_at: datetime | None = None

    @property
    def is_running(self) -> bool:
        return self.ended_at is None and not self.cancelled

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
    submissions: list[tuple[datetime, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    paused_runs: set[str] = field(default_factory=set)

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
        known = self.attempts.get(card.card_key)
        if known is None:
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
        for attempt in self.attempts.values():
            if attempt.card.run_id == run_id:
                known = newest.get(attempt.card.task_id)
                if known is None or known.card.attempt < attempt.card.attempt:
                    newest[attempt.card.task_id] = attempt
        mine = [each for each in self.attempts.values() if each.card.run_id == run_id]
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
        for attempt in self.attempts.values():
            if attempt.card.run_id == run_id and attempt.is_running:
                attempt.cancelled = True
        self._ambiguous()
        return answer

    def cancel_card(self, run_id: str, task_id: str, attempt: int = 1) -> CardAccepted:
        self._answers()
        for each in self.attempts.values():
            if each.name == (run_id, task_id, attempt):
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
        for attempt in sorted(self.attempts.values(), key=lambda each: (each.ends_at, each.name)):
            stopped = attempt.paused_at is not None or attempt.card.run_id in self.paused_runs
            if attempt.is_running and not stopped and attempt.ends_at <= self.now():
                attempt.ended_at = attempt.ends_at
                self._tell(attempt)
        if self.rng.random() < self.faults.forged:
            self.events.append(
                (self.now(), {"run_id": "run-of-nobody", "task_id": "t", "attempt": 1, "status": "succeeded"})
            )

    def running(self) -> list[Attempt]:
        """What is worked on at this moment."""
        return [each for each in self.attempts.values() if each.is_running]

    def _take(self, card: JobCard) -> None:
        for other in self.attempts.values():
            if other.card.run_id == card.run_id and other.card.task_id == card.task_id and other.is_running:
                self.problems.append(f"{card.run_id}/{card.task_id}: two attempts at once")
            if other.name == (card.run_id, card.task_id, card.attempt):
                self.problems.append(f"{card.run_id}/{card.task_id}: attempt {card.attempt} under two keys")
        now = self.now()
        took = timedelta(minutes=self.rng.uniform(1, 90))
        cost = Decimal(str(round(self.rng.lognormvariate(-2.5, 0.6), 6)))
        if self.rng.random() < self.faults.outlier:
            cost *= 20
        cap = card.budget_usd
        if cap is not None and self.rng.random() > 0.05:
            # The cap is hard, and one in twenty notices it a little late.
            cost = min(cost, cap)
        good = self.rng.random() >= self.faults.failed
        self.attempts[card.card_key] = Attempt(card, now, now + took, cost, good)
        self.submissions.append((now, card.card_key))

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
            completed_at=attempt.ended_at,
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
        for each in self.attempts.values():
            if each.name == (run_id, task_id, attempt):
                if paused and each.paused_at is None:
                    each.paused_at = self.now()
                elif not paused and each.paused_at is not None:
                    each.ends_at += self.now() - each.paused_at
                    each.paused_at = None
                return CardAccepted(pas_task_id=each.card.card_key)
        raise PasRefused("No such card", status=404, pas_code="card_not_found")

    def _answers(self) -> None:
        if self.rng.random() < self.faults.away:
            raise PasUnavailable("the executor does not answer", retry_after_s=1)

    def _ambiguous(self) -> None:
        if self.rng.random() < self.faults.ambiguous:
            raise PasUnavailable("the connection broke after the request", is_ambiguous=True)
