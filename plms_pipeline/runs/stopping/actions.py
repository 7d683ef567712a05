"""What happens to work that is going on when a kill switch is turned on?

It is asked to pause at once, and what has not said yes after 60 s is ended. Both are effects in the outbox, asked in a
transaction and told by whoever comes first, so any of the processes that look after a switch may die at any moment. Turning the
switch off resumes nothing: a person does, when it is clear what happened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.store import record
from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.pas.client import PasClient, PasRefused
from plms_pipeline.portfolio.files import flag_reason
from plms_pipeline.portfolio.store import switches
from plms_pipeline.portfolio.switch import (
    FLAG_SUBJECT,
    MIRRORED,
    REGISTRY_SUBJECT,
    TERMINATE_AFTER_S,
    UNREADABLE,
    OnSwitch,
)
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.ids import NewId
from plms_pipeline.runs.stopping import store
from plms_pipeline.runs.stopping.store import KINDS, Stop, Working
from plms_pipeline.runs.store import outbox, words
from plms_pipeline.runs.store.outbox import Effect

log = logging.getLogger(__name__)
GUARD: Final = "killswitch"
STOPPED: Final = "stopped"
LEASE: Final = timedelta(seconds=15)
TELL_AGAIN_S: Final = 1.0
# Pausing answers this; anything else that is not an end is no acknowledgement.
PAUSED: Final = frozenset({"paused", "completed", "terminated", "failed", "needs_review"})
Together = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Stopping:
    """What one look did. `stops` are the switches that are on."""

    stops: tuple[Stop, ...] = ()
    asked: int = 0
    ended: int = 0
    acknowledged: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was let go on."""

    runs: int
    cards: int


def known_stop(extras: Mapping[str, Any], data_dir: Path) -> str | None:
    """Why nothing may start at all, as this process knows it: the flag file, or a registry that its watch cannot read.

    Args:
        extras: of the serving process; holds the watch's answer under `STOPPED`, if it has one.
    """
    asked: Callable[[], str | None] | None = extras.get(STOPPED)
    return flag_reason(data_dir) or (None if asked is None else asked())


def look(registry: Registry, *, clock: Clock, flag: str | None) -> Stopping:
    """See what is stopped; pause what runs in its scope and end what does not pause. Writes only when there is something to.

    Args:
        flag: the reason of the flag file, or None.

    Raises:
        Unavailable: the registry is away.
    """
    with registry.reading() as session:
        on = switches.that_are_on(session)
    mirrored = any(one.is_mirror and one.subject == FLAG_SUBJECT for one in on)
    if mirrored != (flag is not None):
        mirror(registry, clock=clock, subject=FLAG_SUBJECT, reason=flag)
        with registry.reading() as session:
            on = switches.that_are_on(session)
    stops = tuple(_stop(one) for one in on if not one.is_mirror or (one.subject == FLAG_SUBJECT and flag is not None))
    asked = ended = 0
    for stop in stops:
        now = clock.now()
        with registry.writing() as session:
            asked += store.ask_pauses(session, stop, now=now)
            before = now - timedelta(seconds=TERMINATE_AFTER_S)
            ended += store.ask_ends(session, stop, now=now, asked_before=before)
    if asked or ended:
        log.warning("kill_switch stops=%d asked=%d ended=%d", len(stops), asked, ended)
    return Stopping(stops, asked, ended)


def tell(
    registry: Registry, *, clock: Clock, pas: PasClient, holder: str, together: Together = map, limit: int = store.MOST
) -> tuple[int, int]:
    """Tell the executor of the pauses, ends and resumptions that are due; (how many it took, how many wait).

    Args:
        together: applies a function to many at once; a pool's `map` lets a slow answer delay no other.
    """
    with registry.reading() as session:
        if not outbox.any_due(session, KINDS, clock.now()):
            return 0, 0
    with registry.writing() as session:
        now = clock.now()
        claimed = outbox.claim(session, KINDS, holder=holder, now=now, lease_until=now + LEASE, limit=limit)
        names = {effect.id: store.executor_name(session, _run_of(effect)) for effect in claimed}
    answers = list(together(lambda effect: _tell_one(pas, effect, names[effect.id]), claimed))
    taken = 0
    # One transaction per answer would make a hundred pauses wait for a hundred disks.
    with registry.writing() as session:
        now = clock.now()
        for effect, (is_done, is_final, said) in zip(claimed, answers, strict=True):
            taken += is_done
            if is_done:
                words.told(session, effect, now=now)
            elif is_final:
                outbox.failed(session, effect.id, now=now, error=said)
            elif not outbox.later(session, effect.id, due_at=now + timedelta(seconds=TELL_AGAIN_S), error=said):
                words.withdrawn(session, effect, now=now)
    return taken, sum(not is_done and not is_final for is_done, is_final, _ in answers)


def resume(registry: Registry, *, clock: Clock, ids: NewId, actor: Actor, reason: str) -> Resumed:
    """Let go on what kill switches paused that are off now. Runs under a switch that is on stay paused."""
    with registry.writing() as session:
        now = clock.now()
        stopped = [_stop(one) for one in switches.checked(session) if not one.is_mirror]
        runs, cards = store.ask_resumes(session, now=now, actor=actor.name, stopped=stopped, ids=ids)
        record(
            session, at=now, actor=actor, action="killswitch.resume", subject="runs", outcome="done",
            details={"runs": runs, "cards": cards, "reason": reason[:1000]},
        )  # fmt: skip
    return Resumed(runs, cards)


def working(registry: Registry) -> list[Working]:
    """Every run that the executor works on. Reads only."""
    with registry.reading() as session:
        return store.working(session)


def record_outage(registry: Registry, *, clock: Clock, paused: int) -> None:
    """After the registry was away: a row that says so, and the holds of what was paused meanwhile."""
    with registry.writing() as session:
        now = clock.now()
        reason = f"{UNREADABLE}; {paused} runs were asked to pause"
        switches.turn_on(session, scope="global", subject=REGISTRY_SUBJECT, reason=reason, actor=GUARD, now=now)
        (row,) = [one for one in switches.that_are_on(session) if one.is_mirror and one.subject == REGISTRY_SUBJECT]
        store.ask_pauses(session, _stop(row), now=now)
        switches.turn_off(session, scope="global", subject=REGISTRY_SUBJECT, actor=GUARD, now=now)


def mirror(registry: Registry, *, clock: Clock, subject: str, reason: str | None) -> None:
    """Keep a row that says that the flag file is up (its reason), or that it is no longer (None)."""
    assert subject in MIRRORED  # noqa: S101 - a bug in the caller
    with registry.writing() as session:
        now = clock.now()
        if reason is None:
            switches.turn_off(session, scope="global", subject=subject, actor=GUARD, now=now)
        else:
            switches.turn_on(session, scope="global", subject=subject, reason=reason, actor=GUARD, now=now)


def _stop(one: OnSwitch) -> Stop:
    subject = "" if one.is_mirror else one.subject
    return Stop(one.switch_id, one.scope, subject, one.reason, one.turned_on_at)


def _run_of(effect: Effect) -> str:
    return str((effect.payload or {}).get("run_id", effect.subject_id))


def _tell_one(pas: PasClient, effect: Effect, name: str) -> tuple[bool, bool, str]:
    """(it is done, it will never be, what was said)."""
    payload = effect.payload or {}
    reason = str(payload.get("reason", ""))
    try:
        if effect.kind in (words.PAUSE_TASK, store.CANCEL_TASK, words.RESUME_TASK):
            card = (name, str(payload["task_id"]), int(payload["attempt"]))
            told: dict[str, Callable[..., Any]] = {
                words.PAUSE_TASK: pas.pause_task, store.CANCEL_TASK: pas.cancel_card, words.RESUME_TASK: pas.resume_task,
            }  # fmt: skip
            told[effect.kind](*card)
            return True, False, ""
        asked = {words.PAUSE_RUN: pas.pause, store.TERMINATE_RUN: pas.terminate, words.RESUME_RUN: pas.resume}
        answer = asked[effect.kind](name, reason)
    except PasRefused as error:
        # Unknown or ended over there: there is nothing left to stop. Any other refusal may change.
        return False, error.status in (404, 409, 410), error.message
    except PlmsError as error:
        return False, False, error.message
    if effect.kind == words.PAUSE_RUN and answer.status not in PAUSED:
        return False, False, f"the executor says {answer.status!r} instead of paused"
    return True, False, ""
