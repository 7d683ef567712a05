"""What did one look find, and what does it mean?

Reasons are a closed list with one writer. A look finds nothing, evidence, or something that cannot be read; it may also fail.
Evidence that names its obligation belongs to it, whatever the clocks say; evidence that names another one, or is older than
its obligation, is stale. Stale and unreadable evidence may still be replaced before the deadline, so it is waited on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from plms_pipeline.evidence.obligations import Pending

Reason = Literal["ok", "missing", "timeout", "redis_error", "parse_error", "stale", "dropped", "cancelled"]
# What the guide's metric counts; the others are counted on their own.
GUIDE_REASONS: Final = ("ok", "missing", "timeout", "redis_error", "parse_error")
OWN_REASONS: Final = ("stale", "dropped", "cancelled")
REASONS: Final = GUIDE_REASONS + OWN_REASONS
MAX_PROBLEM: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = Decimal(32_503_680_000)  # the year 3000: a larger number was meant in milliseconds


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look found.

    `at` is when the evidence says that it was made; it may have been up to `blur` later (a stamp in whole seconds).
    `correlation_id` is the obligation that it names, None when it names none. `is_own`: it can belong to no other obligation,
    however old it is.
    """

    kind: Literal["absent", "evidence", "malformed", "failed"]
    at: datetime | None = None
    blur: timedelta = timedelta(0)
    correlation_id: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None
    is_own: bool = False


ABSENT: Final = Sight("absent")


def failed(problem: str) -> Sight:
    """The look itself failed: of the evidence nothing is known."""
    return Sight("failed", problem=problem[:MAX_PROBLEM])


def malformed(problem: str) -> Sight:
    """Something is there, and it is no evidence."""
    return Sight("malformed", problem=problem[:MAX_PROBLEM])


def sight_of(fields: Mapping[str, str]) -> Sight:
    """What a hash of another component says; an empty one is no hash at all."""
    if not fields:
        return ABSENT
    text = fields.get("ts_epoch")
    if text is None:
        return malformed("it has no ts_epoch")
    try:
        stamp = Decimal(text.strip())
    except InvalidOperation:
        stamp = Decimal("NaN")
    if not stamp.is_finite() or not 0 <= stamp < _LATEST:
        return malformed(f"ts_epoch {text[:40]!r} is no number of seconds since 1970")
    is_whole = "." not in text
    at = _EPOCH + timedelta(microseconds=int(stamp * 1_000_000))
    blur = timedelta(seconds=1) if is_whole else timedelta(milliseconds=1)
    named = fields.get("correlation_id") or None
    return Sight("evidence", at, blur, named, dict(fields))


@dataclass(frozen=True, slots=True)
class Watched:
    """An obligation in flight: what has been seen of it so far. `first_ms` is when it was first looked for."""

    pending: Pending
    picked_ms: float
    elapsed_at_pick_ms: float
    polls: int = 0
    errors: int = 0
    first_ms: int | None = None
    last: Sight | None = None
    last_problem: str | None = None

    def elapsed_ms(self, now_ms: float) -> float:
        """Time since acceptance on a clock that never jumps."""
        return self.elapsed_at_pick_ms + now_ms - self.picked_ms


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one terminal observation of an obligation."""

    pending: Pending
    reason: Reason
    wait_ms: int
    queue_ms: int
    polls: int
    errors: int
    sight: Sight | None
    problem: str | None = None

    def row(self, *, observer_id: str, config_digest: str, at: datetime, debug_chars: int) -> dict[str, Any]:
        """The row of the observation."""
        return {
            "obligation_id": self.pending.obligation_id, "obs_point": self.pending.obs_point,
            "evidence_kind": self.pending.evidence_kind, "found": self.reason == "ok", "reason": self.reason,
            "evidence_at": self.sight.at if self.sight else None, "wait_ms": self.wait_ms, "queue_ms": self.queue_ms,
            "polls": self.polls, "errors": self.errors, "observer_id": observer_id, "config_digest": config_digest,
            "at": at, "debug_json": self._debug(debug_chars),
        }  # fmt: skip

    def _debug(self, longest: int) -> dict[str, str] | None:
        told = {"error": self.problem[:MAX_PROBLEM]} if self.problem else {}
        for key, value in sorted(self.sight.fields.items() if self.sight else ()):
            if sum(len(a) + len(b) + 6 for a, b in (*told.items(), (key, value))) > longest - 2:
                break
            told[key] = value
        return told or None


def picked(pending: Pending, *, now: datetime, now_ms: float) -> Watched:
    """Take an obligation into flight. A wall clock that was set back makes nobody wait longer than was promised."""
    waited = (now - pending.accepted_at) / timedelta(milliseconds=1)
    return Watched(pending, picked_ms=now_ms, elapsed_at_pick_ms=max(0.0, waited))


def judged(watched: Watched, sight: Sight, *, now_ms: float, max_errors: int) -> Watched | Verdict:
    """One look more: what is known now, or the end of it.

    Args:
        now_ms: when the look came back, on the clock of `Watched`.
        max_errors: so many failed looks end it as `redis_error`; they need not follow each other.
    """
    elapsed = watched.elapsed_ms(now_ms)
    is_over = elapsed >= watched.pending.wait_ms
    seen = replace(
        watched, polls=watched.polls + 1, first_ms=int(elapsed) if watched.first_ms is None else watched.first_ms
    )
    if sight.kind == "failed":
        seen = replace(seen, errors=seen.errors + 1, last_problem=sight.problem)
        if seen.errors >= max_errors:
            return _ended(seen, "redis_error", elapsed)
        # Whether the evidence is there is not known yet: without any answer there is no timeout to speak of.
        return _at_deadline(seen, elapsed) if is_over and seen.last is not None else seen
    seen = replace(seen, last=sight)
    if sight.kind == "evidence" and not _is_stale(seen.pending, sight):
        is_in_time = not is_over or (sight.at is not None and sight.at <= seen.pending.deadline_at)
        return _ended(seen, "ok" if is_in_time else _absence(seen.pending), elapsed)
    return _at_deadline(seen, elapsed) if is_over else seen


def _is_stale(pending: Pending, sight: Sight) -> bool:
    if sight.correlation_id is not None:
        return sight.correlation_id != pending.obligation_id
    if sight.is_own or not pending.wait_ms:
        # What a decision rests on is older than the decision.
        return False
    return sight.at is None or sight.at + sight.blur < pending.accepted_at


def _absence(pending: Pending) -> Reason:
    return "timeout" if pending.wait_ms else "missing"


def _at_deadline(seen: Watched, elapsed: float) -> Verdict:
    last = seen.last or ABSENT
    reason: Reason = _absence(seen.pending)
    if last.kind == "evidence":
        reason = "stale"
    elif last.kind == "malformed":
        reason = "parse_error"
    return _ended(seen, reason, elapsed)


def _ended(seen: Watched, reason: Reason, elapsed: float) -> Verdict:
    last = seen.last
    return Verdict(
        seen.pending, reason, wait_ms=max(0, int(elapsed)), queue_ms=seen.first_ms or 0, polls=seen.polls,
        errors=seen.errors, sight=last if last is not None and last.kind == "evidence" else None,
        problem=(last.problem if last is not None and reason == "parse_error" else None) or seen.last_problem,
    )  # fmt: skip


def refused(pending: Pending, reason: Literal["dropped", "cancelled"], *, waited_ms: int = 0) -> Verdict:
    """An observation that nobody will look for any more."""
    return Verdict(pending, reason, waited_ms, 0, 0, 0, None)
