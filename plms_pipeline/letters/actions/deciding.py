"""What does a person decide about dead letters?

Each decision is one transaction with its audit entry, letter by letter: a bulk decision that is interrupted has decided about
some letters and is repeated. The reason is kept with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.store import record
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Conflict, NoData, NotFound
from plms_pipeline.letters import store
from plms_pipeline.letters.reasons import POLICY, TRANSIENT, cleaned
from plms_pipeline.letters.rules import DONE, OPEN, PROCESSING, STOPPED, Letter
from plms_pipeline.registry.engine import Registry

KEPT_DAYS: Final = 7
Change = Callable[[Session, str, datetime], bool]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a clean removed, or would remove (`is_dry`)."""

    removed: int
    ended_before: datetime
    is_dry: bool


def letter_named(registry: Registry, name: str) -> Letter:
    """The letter that a person means by its id or the run that failed, by the beginning of either, or by the event or effect.

    Raises:
        NotFound: there is none (`letter_not_found`).
        BadInput: several begin so (`letter_ambiguous`).
    """
    with registry.reading() as session:
        found = store.matching(session, name)
    if not found:
        raise NotFound(
            f"There is no dead letter {name[:80]!r}; `plms dlq status --state all` shows those that exist.",
            code="letter_not_found",
        )
    if len(found) > 1:
        named = ", ".join(letter.letter_id for letter in found[:3])
        raise BadInput(f"{name[:80]!r} may mean {named}; give more of the id.", code="letter_ambiguous")
    return found[0]


def require_retryable(letter: Letter) -> None:
    """Refuse a retry that must not or cannot be.

    Raises:
        Conflict: the class never retries (`never_retried`), its retries are used up (`retries_used_up`), or it is not waiting.
    """
    known = f"Letter {letter.letter_id} ({letter.kind} {letter.subject_id[:80]})"
    again = f"`plms dlq reset-retries {letter.letter_id[:8]} --reason …`"
    if letter.error_class == POLICY:
        raise Conflict(f"{known} broke a policy, and that is never retried.", code="never_retried")
    if letter.error_class != TRANSIENT:
        raise Conflict(
            f"{known} is {letter.error_class} and never retried; if that is wrong, {again[:-1]} --transient` says so.",
            code="never_retried",
        )
    if letter.state in (STOPPED, "quarantined"):
        raise Conflict(f"{known} was put aside ({letter.state}); {again} brings it back.", code="letter_put_aside")
    if letter.state == PROCESSING:
        raise Conflict(f"The retry of {known} is under way.", code="retry_under_way")
    if letter.state == DONE:
        raise Conflict(f"{known} is done; nothing is owed.", code="letter_done")


def mark_permanent(registry: Registry, name: str, *, clock: Clock, actor: Actor, reason: str) -> Letter:
    """Put a letter aside for good.

    A retry that is only claimed starts nothing any more; one that has its run by now is cancelled first.

    Raises:
        NotFound, BadInput: as `letter_named`; `reason_missing`.
        Conflict: it is permanent or done already (`letter_ended`), or its retry has a run that goes on (`retry_under_way`).
    """
    letter = letter_named(registry, name)

    def change(session: Session, letter_id: str, now: datetime) -> bool:
        known = store.of_subject(session, letter.kind, letter.subject_id)
        if known is not None and known.has_run_under_way:
            raise Conflict(
                f"The retry of letter {letter_id} is under way: run {known.run_id}, which would go on and spend. "
                f"`plms run cancel {known.run_id} --reason …` ends it; mark the letter then, unless that has put it aside.",
                code="retry_under_way",
            )
        return store.stop(session, letter_id, now=now, actor=actor.name)

    if not _decide(registry, [letter], change, clock=clock, actor=actor, action="letter.stop", reason=reason):
        raise Conflict(f"Letter {letter.letter_id} is {letter.state} already.", code="letter_ended")
    return letter_named(registry, letter.letter_id)


def reset_retries(
    registry: Registry, name: str, *, clock: Clock, actor: Actor, reason: str, is_transient: bool = False
) -> Letter:
    """Let a letter begin anew, due now, with all its retries.

    Args:
        is_transient: the person says that what was taken for permanent may be tried again.

    Raises:
        NotFound, BadInput: as `letter_named`; `reason_missing`.
        Conflict: its class never retries (`never_retried`), its retry is under way, or it is done (`letter_not_resettable`).
    """
    letter = letter_named(registry, name)
    if letter.error_class == POLICY or (letter.error_class != TRANSIENT and not is_transient):
        require_retryable(letter)

    def change(session: Session, letter_id: str, now: datetime) -> bool:
        return store.reset(session, letter_id, now=now, actor=actor.name)

    if not _decide(registry, [letter], change, clock=clock, actor=actor, action="letter.reset", reason=reason):
        raise Conflict(
            f"Letter {letter.letter_id} is {letter.state}: only what waits or was put aside begins anew.",
            code="letter_not_resettable",
        )
    return letter_named(registry, letter.letter_id)


def quarantine(
    registry: Registry,
    *,
    clock: Clock,
    actor: Actor,
    reason: str,
    name: str | None = None,
    fingerprint: str | None = None,
) -> list[str]:
    """Set letters apart until a person has looked: one, those of one cause, or the whole backlog; their ids.

    Raises:
        NotFound, BadInput: as `letter_named`; `reason_missing`.
        NoData: no letter has this fingerprint (`fingerprint_not_found`).
        Conflict: nothing is owed for the letter that was named (`letter_not_owed`).
    """
    if name is not None:
        letters: Sequence[Letter] = [letter_named(registry, name)]
    else:
        with registry.reading() as session:
            letters = store.listed(session, states=OPEN, fingerprint=fingerprint, limit=None)
            is_unknown = not letters and fingerprint and not store.listed(session, fingerprint=fingerprint, limit=1)
        if is_unknown:
            raise NoData(
                f"No dead letter has the fingerprint {str(fingerprint)[:64]!r}; `plms dlq status` shows those that exist.",
                code="fingerprint_not_found",
            )

    def change(session: Session, letter_id: str, now: datetime) -> bool:
        return store.quarantine(session, letter_id, now=now, actor=actor.name)

    moved = _decide(registry, letters, change, clock=clock, actor=actor, action="letter.quarantine", reason=reason)
    if name is not None and not moved:
        raise Conflict(
            f"Letter {letters[0].letter_id} is {letters[0].state}: only what is owed is set apart.",
            code="letter_not_owed",
        )
    return moved


def clean(registry: Registry, *, clock: Clock, actor: Actor, days: int = KEPT_DAYS, is_dry: bool = False) -> Cleaned:
    """Remove letters that have been done for so many days; what is owed, put aside or permanent is never touched.

    Raises:
        BadInput: a negative number of days, or one that reaches back before the calendar.
    """
    if days < 0:
        raise BadInput("Give the days to keep as a number from 0 on.", code="bad_days")
    now = clock.now()
    try:
        before = now - timedelta(days=days)
    except OverflowError:
        raise BadInput(
            f"{days} days ago is before the calendar begins; give the days to keep as a number from 0 to 36,500.",
            code="bad_days",
        ) from None
    if is_dry:
        with registry.reading() as session:
            return Cleaned(store.count_done(session, ended_before=before), before, is_dry=True)
    with registry.writing() as session:
        removed = store.clean(session, ended_before=before)
        if removed:
            record(
                session, at=now, actor=actor, action="letter.clean", subject="letters", outcome="done",
                details={"removed": removed, "days": days},
            )  # fmt: skip
    return Cleaned(removed, before, is_dry=False)


def _decide(
    registry: Registry,
    letters: Sequence[Letter],
    change: Change,
    *,
    clock: Clock,
    actor: Actor,
    action: str,
    reason: str,
) -> list[str]:
    if not reason.strip():
        raise BadInput("Say why: the reason is kept with the decision.", code="reason_missing")
    changed = []
    for letter in letters:
        now = clock.now()
        with registry.writing() as session:
            if not change(session, letter.letter_id, now):
                continue
            record(
                session, at=now, actor=actor, action=action, subject=f"letter:{letter.letter_id}", outcome="done",
                details={"reason": cleaned(reason), "was": letter.state, "class": letter.error_class,
                         "attempts": letter.attempts},
            )  # fmt: skip
        changed.append(letter.letter_id)
    return changed
