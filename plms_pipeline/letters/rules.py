"""What becomes of a letter when its work fails again, and when is it due?

Pure: a letter and what happened come in, the letter as it must stand comes out. The sources counted a retry before it was
launched and let each failed retry add a second entry with count zero, so that nothing was ever given up; here a retry that
fails comes back to the letter that it was made for, and the third one ends it.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from plms_pipeline.letters.reasons import TRANSIENT, ErrorClass, classify, cleaned, fingerprint

Kind = Literal["run", "task", "event", "effect", "job", "delivery"]
State = Literal["ready", "processing", "done", "permanent", "quarantined"]
# The actor of what is begun anew by nobody's hand.
RETRIER: Final = "dead_letters"
READY: Final = "ready"
PROCESSING: Final = "processing"
DONE: Final = "done"
STOPPED: Final = "permanent"
QUARANTINED: Final = "quarantined"
# States in which work is still owed.
OPEN: Final = (READY, PROCESSING)
_LETTERS: Final = uuid.UUID("0d6a1c1e-52f4-5b8e-8a1a-6f1f0c6de7a2")


@dataclass(frozen=True, slots=True)
class Policy:
    """How often, and how long to wait: seconds, doubling from the first to the longest wait."""

    max_attempts: int = 3
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0


POLICY: Final = Policy()


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure as it is told.

    `subject_id` names the work for ever (of a run that was retried: the first run), `run_id` what failed now. `error_class`
    None: the reason says it. `is_final`: it is put aside whatever its class, because nobody waits for it or no retry exists.
    """

    kind: Kind
    subject_id: str
    reason: str
    error_class: ErrorClass | None = None
    project_id: int | None = None
    run_id: str | None = None
    lane_id: int | None = None
    payload: Any = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter as it stands. `lease_expires_at` is None while nobody holds it, also while its retry is under way."""

    letter_id: str
    kind: Kind
    subject_id: str
    error_class: str
    reason: str
    fingerprint: str
    attempts: int
    max_attempts: int
    state: str
    next_due_at: datetime | None
    first_failed_at: datetime
    last_failed_at: datetime
    last_actor: str
    project_id: int | None = None
    run_id: str | None = None
    lane_id: int | None = None
    lease_holder: str | None = None
    lease_expires_at: datetime | None = None
    payload: Any = None
    ended_at: datetime | None = None

    @property
    def is_spent(self) -> bool:
        """Whether all its retries were begun."""
        return self.attempts >= self.max_attempts

    @property
    def has_run_under_way(self) -> bool:
        """Whether a run was started as its retry, and its end has not been told."""
        return self.kind == "run" and self.state == PROCESSING and self.lease_expires_at is None

    @property
    def retry_key(self) -> str:
        """A UUID that names the retry of what failed last: whoever takes over from a dead process starts no second one.

        Not of the count: that begins anew when a person resets it, and what was begun under a count would be taken for it.
        """
        return str(uuid.uuid5(_LETTERS, f"{self.letter_id}:{self.run_id or self.subject_id}"))


def letter_id_of(kind: str, subject_id: str) -> str:
    """The id of the one letter about a subject."""
    return str(uuid.uuid5(_LETTERS, f"{kind}:{subject_id}"))


def wait_s(attempt: int, chance: float, policy: Policy = POLICY) -> float:
    """Seconds to wait before retry number `attempt` (from 1): exponential with full jitter, bounded by the policy.

    Args:
        chance: in [0, 1).
    """
    # The exponent is bounded before it is used: 2 ** 5000 is no float.
    doubled = policy.first_wait_s * 2.0 ** min(max(attempt - 1, 0), 64)
    return chance * min(policy.longest_wait_s, doubled)


def chance_of(letter_id: str, attempt: int) -> float:
    """The jitter of one retry, in [0, 1): differs between letters and retries, and is the same when it is asked again."""
    digest = hashlib.sha256(f"{letter_id}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def due_at(letter_id: str, attempts: int, now: datetime, policy: Policy = POLICY) -> datetime:
    """When a letter whose retries so far were `attempts` is due."""
    number = attempts + 1
    return now + timedelta(seconds=wait_s(number, chance_of(letter_id, number), policy))


def opened(failure: Failure, *, now: datetime, actor: str, policy: Policy = POLICY) -> Letter:
    """The letter of a subject that failed for the first time."""
    reason = cleaned(failure.reason)
    letter_id = letter_id_of(failure.kind, failure.subject_id)
    letter = Letter(
        letter_id=letter_id, kind=failure.kind, subject_id=failure.subject_id,
        error_class=failure.error_class or classify(reason).error_class, reason=reason,
        fingerprint=fingerprint(failure.kind, reason), attempts=0, max_attempts=policy.max_attempts, state=READY,
        next_due_at=None, first_failed_at=now, last_failed_at=now, last_actor=actor[:255], project_id=failure.project_id,
        run_id=failure.run_id, lane_id=failure.lane_id, payload=failure.payload,
    )  # fmt: skip
    return _judged(letter, is_final=failure.is_final, now=now, policy=policy)


def failed_again(letter: Letter, failure: Failure, *, now: datetime, actor: str, policy: Policy = POLICY) -> Letter:
    """A letter after another failure of its subject.

    Told twice is told once: a letter that waits for its retry only learns the newest reason, and news of another run than the
    one that is under way change nothing. What a person put aside stays aside. A subject that had recovered and fails anew
    begins anew.
    """
    if _is_old_news(letter, failure):
        return letter
    reason = cleaned(failure.reason)
    told = replace(
        letter, reason=reason, fingerprint=fingerprint(letter.kind, reason),
        error_class=failure.error_class or classify(reason).error_class, last_failed_at=now, last_actor=actor[:255],
        run_id=failure.run_id or letter.run_id, lane_id=failure.lane_id or letter.lane_id,
        payload=letter.payload if failure.payload is None else failure.payload,
    )  # fmt: skip
    if letter.state in (STOPPED, QUARANTINED):
        # Only the newest failure is told; the class that somebody decided stays.
        return replace(told, error_class=letter.error_class)
    if letter.state == DONE:
        told = replace(told, attempts=0, first_failed_at=now)
    elif letter.state == READY and told.error_class == TRANSIENT and not failure.is_final:
        return told
    return _judged(told, is_final=failure.is_final, now=now, policy=policy)


def _is_old_news(letter: Letter, failure: Failure) -> bool:
    """Whether the failure is one that the present retry was made for, or an earlier one."""
    if letter.state != PROCESSING or failure.run_id is None:
        return False
    is_begun = letter.lease_holder is None
    return (failure.run_id != letter.run_id) if is_begun else (failure.run_id == letter.run_id)


def _judged(letter: Letter, *, is_final: bool, now: datetime, policy: Policy) -> Letter:
    free = replace(letter, lease_holder=None, lease_expires_at=None)
    if is_final or letter.error_class != TRANSIENT or letter.is_spent:
        return replace(free, state=STOPPED, next_due_at=None, ended_at=now)
    return replace(free, state=READY, next_due_at=due_at(letter.letter_id, letter.attempts, now, policy), ended_at=None)
