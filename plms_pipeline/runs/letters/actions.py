"""How is a failed run, event or effect begun anew, and how does its letter learn what came of it?

A run that failed stays failed: its retry is a new run, started by the action behind every other start (same checks, same
guards, same budget), QUEUED, linked to the run that it repeats. The start and the letter's word that a retry is under way are
one transaction, so that a retrier that dies in between has either started nothing, or a run that the letter knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.store import record
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict, PlmsError, Unavailable
from plms_pipeline.intake.store.inbox import again_id, event_of
from plms_pipeline.letters import store as letters
from plms_pipeline.letters.actions.retrying import Handler, Tried, Word
from plms_pipeline.letters.rules import RETRIER, Failure, Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.start import POLICY, StartPolicy, start_run
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.letters import store
from plms_pipeline.runs.passport import PassportWorld
from plms_pipeline.runs.starting import StartRequest

ACTOR: Final = Actor(RETRIER, is_verified=True)
# Refusals that end by themselves: the retry waits and is not counted.
PASSING: Final = frozenset(
    {
        "killswitch_on", "project_held", "idempotency_in_progress", "passport_incomplete", "rate_limited",
        "concurrency_limited", "lane_held",
    }
)  # fmt: skip


class _Overtaken(Exception):
    """Somebody else has decided about the letter: nothing may be started for it."""


@dataclass(frozen=True, slots=True)
class Retries:
    """What retries reach the world through.

    Args:
        world: code, interpreter and providers now.
        stopped: the reason of the kill switch, or None.
    """

    registry: Registry
    clock: Clock
    ids: NewId
    world: Callable[[], PassportWorld]
    stopped: Callable[[], str | None]
    policy: StartPolicy = POLICY

    def handlers(self) -> dict[str, Handler]:
        """Kind of letter → how its work is begun anew."""
        return {"run": self.retry_run, "event": self.retry_event, "effect": self.retry_effect}

    def retry_run(self, letter: Letter) -> Tried:
        """Start the run anew that a letter is about."""
        newest = letter.run_id or letter.subject_id
        with self.registry.reading() as session:
            facts = store.run_facts(session, newest)
            newer = None if facts is None else store.newer_work(session, facts)
        if facts is None:
            return Tried("given_up", f"there is no run {newest} that was started here")
        if not facts.is_work:
            # Its sample, its sandbox and who waits for its answer belong to what asked for it.
            return Tried("given_up", f"stopped: a {facts.run_kind} is asked for anew where it was asked for")
        if facts.status in store.OPEN:
            return Tried("postponed", f"run {newest} is {facts.status}", newest)
        if facts.project_status == "completed" or facts.status == "SUCCESS":
            return Tried("recovered", f"project {facts.project_id} is {facts.project_status}", newest)
        if facts.project_status == "cancelled":
            return Tried("given_up", f"stopped by the end of project {facts.project_id}, which was cancelled")
        if newer is not None:
            run_id, status = newer
            word: Word = "postponed" if status in store.OPEN else "recovered"
            return Tried(word, f"run {run_id}, started since then, is {status}", run_id)
        return self._start(letter, facts)

    def retry_event(self, letter: Letter) -> Tried:
        """Settle a refused event once more: as another event with the same facts."""
        event_id = event_of(letter)
        new_id = again_id(letter.letter_id, event_id)
        with self.registry.writing() as session:
            if not letters.begun(session, letter, payload={**(letter.payload or {}), "event_id": new_id}):
                return Tried("overtaken", "somebody else has decided about it meanwhile")
            store.event_again(session, event_id, new_id, actor=RETRIER)
        return Tried("begun", f"it waits as event {new_id}, retry {letter.attempts} of {letter.max_attempts}")

    def retry_effect(self, letter: Letter) -> Tried:
        """Let a failed effect be done again."""
        with self.registry.writing() as session:
            if not letters.begun(session, letter):
                return Tried("overtaken", "somebody else has decided about it meanwhile")
            # If it is not failed any more, or gone, `learn` says what came of it.
            store.effect_again(session, letter.subject_id, now=self.clock.now())
        return Tried("begun", f"it is due again, retry {letter.attempts} of {letter.max_attempts}")

    def _start(self, letter: Letter, facts: store.RunFacts) -> Tried:
        def beside(session: Session, run_id: str, now: datetime) -> None:
            if not letters.begun(session, letter, run_id=run_id):
                raise _Overtaken
            record(
                session, at=now, actor=ACTOR, action="run.retry", subject=f"run:{run_id}", outcome="done",
                details={"parent_run_id": facts.run_id, "letter_id": letter.letter_id, "attempt": letter.attempts},
            )  # fmt: skip

        request = StartRequest(
            facts.project_id, letter.retry_key, run_kind=facts.run_kind, write_sandbox=facts.write_sandbox,
            body={"retry_of": letter.subject_id, "attempt": letter.attempts}, path=f"/api/runs/{letter.subject_id}/retry",
            parent_run_id=facts.run_id, relation="retry",
        )  # fmt: skip
        try:
            answer = start_run(
                self.registry, clock=self.clock, ids=self.ids, actor=ACTOR, request=request, world=self.world(),
                stopped=self.stopped(), policy=self.policy, beside=beside,
            )  # fmt: skip
        except _Overtaken:
            return Tried("overtaken", "somebody else has decided about it meanwhile")
        except Unavailable:
            raise
        except PlmsError as error:
            return Tried("postponed" if _passes(error) else "given_up", f"{error.code}: {error.message}")
        if answer.replayed:
            # The retry of this run was begun before; if the letter is still ours it is told which run that is.
            with self.registry.writing() as session:
                if not letters.begun(session, letter, run_id=answer.run_id):
                    return Tried("overtaken", "somebody else has decided about it meanwhile")
        return Tried("begun", f"run {answer.run_id}, retry {letter.attempts} of {letter.max_attempts}", answer.run_id)


def runs_of(registry: Registry, letter: Letter) -> list[tuple[str, str]]:
    """(run, status) of a letter about a run, from the first to the newest retry."""
    with registry.reading() as session:
        return store.chain_of(session, letter)


def require_here(letter: Letter) -> None:
    """Refuse to retry here what only Dagster or the alert engine can.

    Raises:
        Conflict: it is a Dagster job (`retried_by_dagster`) or a message (`retried_by_alerts`).
    """
    if letter.kind == "delivery":
        raise Conflict(
            f"Letter {letter.letter_id} is a message that nobody took: once it is reset, whoever evaluates alerts sends it "
            "again (`plms serve`, the sensor alert_rules_crossed).", code="retried_by_alerts",
        )  # fmt: skip
    if letter.kind == "job":
        raise Conflict(
            f"Letter {letter.letter_id} is a Dagster job: the daemon launches it again when it is due, and anybody in the "
            "UI.", code="retried_by_dagster",
        )  # fmt: skip


def asked_by(registry: Registry, letter: Letter, *, clock: Clock, actor: Actor) -> None:
    """Write down who asked for a retry now: the run itself is started by the retrier."""
    with registry.writing() as session:
        record(
            session, at=clock.now(), actor=actor, action="letter.retry", subject=f"letter:{letter.letter_id}",
            outcome="asked", details={"kind": letter.kind, "subject": letter.subject_id[:255], "attempts": letter.attempts},
        )  # fmt: skip


def learn(registry: Registry, *, clock: Clock) -> int:
    """Tell letters whose retry is under way what came of it; how many have ended their wait.

    A run that fails tells its letter in its own transaction; here is found what nobody told: events and effects that are
    through by now, and work that is gone from the books.
    """
    kinds = ("run", "event", "effect")
    with registry.reading() as session:
        waiting = letters.under_way(session, kinds)
        if not waiting:
            return 0
        runs = store.ended_runs(session, [one.run_id or one.subject_id for one in waiting if one.kind == "run"])
        events = store.event_states(session, [event_of(one) for one in waiting if one.kind == "event"])
        effects = store.effect_states(session, [one.subject_id for one in waiting if one.kind == "effect"])
    learnt = 0
    for letter in waiting:
        if letter.kind == "run":
            status = runs.get(letter.run_id or letter.subject_id)
            end = None if status is None else ("done" if status == "SUCCESS" else "failed", f"run ended {status}")
        else:
            gone = ("gone", "it is gone")
            known = (
                events.get(event_of(letter), gone) if letter.kind == "event" else effects.get(letter.subject_id, gone)
            )
            end = None if known[0] == "pending" else known
        if end is not None:
            learnt += _learn(registry, clock.now(), letter, *end)
    return learnt


def _learn(registry: Registry, now: datetime, letter: Letter, state: str, said: str) -> int:
    with registry.writing() as session:
        known = letters.of_subject(session, letter.kind, letter.subject_id)
        if known is None or (known.state, known.attempts, known.lease_expires_at) != (
            "processing",
            letter.attempts,
            None,
        ):
            return 0
        if state in ("done", "settled", "ignored"):
            letters.recover(session, letter.letter_id, now=now, actor=RETRIER)
        else:
            failure = Failure(
                kind=letter.kind, subject_id=letter.subject_id, reason=said or state, run_id=letter.run_id,
                is_final=state == "gone",
            )  # fmt: skip
            letters.put(session, failure, now=now, actor=RETRIER)
    return 1


def _passes(error: PlmsError) -> bool:
    return error.code in PASSING or error.retry_after_s is not None
