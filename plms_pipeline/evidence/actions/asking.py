"""What can be said about late evidence now: who looks, what waits, how much comes in time, and do the books add up?"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from plms_pipeline.clock import Clock
from plms_pipeline.errors import Unavailable
from plms_pipeline.evidence.actions.leading import Leader, leader
from plms_pipeline.evidence.actions.observing import Look, look_everywhere
from plms_pipeline.evidence.coverage import Coverage, Seen, coverage
from plms_pipeline.evidence.events import COMPONENT
from plms_pipeline.evidence.obligations import EvidenceConfig, Record
from plms_pipeline.evidence.store import counting, places
from plms_pipeline.evidence.store import obligations as store
from plms_pipeline.evidence.verdicts import BookFacts
from plms_pipeline.registry.engine import Registry

# What ended late may be overdue by a poll, a slow round, a takeover of the lease; not by more.
STUCK_AFTER: Final = timedelta(seconds=60)
MOST_SEEN: Final = 20_000
MOST_LOOKED: Final = 2_000
MOST_EVENTS: Final = 500
MOST_OFFENDERS: Final = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """How late evidence stands: who looks (None: nobody), what waits, and what ended by (kind, point, reason)."""

    leader: Leader | None
    accepted: int
    pending: int
    overdue: int
    ended: Sequence[tuple[str, str, str, int]]


def standing(registry: Registry, *, clock: Clock, since: datetime | None, is_dead: Callable[[str], bool]) -> Standing:
    """How late evidence stands now.

    Args:
        since: observations from then on; None for all.
    """
    now = clock.now()
    with registry.reading() as session:
        accepted, pending, _, _ = counting.totals(session)
        overdue = store.overdue(session, before=now - STUCK_AFTER, limit=MOST_OFFENDERS)
        ended = counting.by_reason(session, since=since)
        return Standing(leader(session, now=now, is_dead=is_dead), accepted, pending, len(overdue), ended)


def covered(
    registry: Registry, config: EvidenceConfig, *, since: datetime, look_in_redis: Look | None = None
) -> list[Coverage]:
    """Coverage and proposal per kind. What was late is looked for again: only so is it known how late."""
    with registry.reading() as session:
        rows = counting.seen_since(session, since, limit=MOST_SEEN)
    late = [row for row in rows if row.reason == "timeout" and row.evidence_at is None][:MOST_LOOKED]
    sights = look_everywhere(registry, look_in_redis, {row.lookup_ref for row in late}) if late else {}
    came = {row.obligation_id: sights[row.lookup_ref].at for row in late if sights[row.lookup_ref].kind == "evidence"}
    return coverage((_seen(row, came.get(row.obligation_id)) for row in rows), wait_ms=config.wait_ms)


def _seen(row: Any, came: datetime | None) -> Seen:
    at = row.evidence_at or came
    if row.reason not in ("ok", "timeout") or at is None:
        return Seen(row.evidence_kind, row.reason, None)
    arrival = (at - row.accepted_at) / timedelta(milliseconds=1)
    # What was measured earlier and counts again was there at once.
    return Seen(row.evidence_kind, row.reason, max(0.0, arrival) if row.reason == "ok" or arrival > 0 else None)


def record(
    registry: Registry,
    config: EvidenceConfig,
    found: Record,
    *,
    clock: Clock,
    put_in_redis: Callable[..., None] | None = None,
) -> str:
    """Write evidence where it will be looked for; the place.

    Raises:
        Unavailable: the backend is away; nothing was written.
    """
    place = config.place_of(found.evidence_kind, found.subject_id)
    if config.backend == "redis" and put_in_redis is not None:
        put_in_redis(place.removeprefix("redis:"), found, ttl_s=config.ttl_s)
    else:
        with registry.writing() as session:
            places.put(session, found, now=clock.now())
    return place


def book_facts(
    registry: Registry,
    *,
    clock: Clock,
    since: datetime,
    spooled_files: Collection[str],
    told: Callable[[int], list[dict[str, str]]] | None = None,
    counters: tuple[str, Mapping[str, int]] | None = None,
) -> BookFacts:
    """Count everything that the books are asked about.

    Args:
        since: configurations are compared from then on.
        spooled_files: names of what waits in spools.
        told: gives the newest events of the stream; None where nothing is told.
        counters: a running observer's id and what it counts; None when none was asked.

    Raises:
        Unavailable: the registry is away. A stream that cannot be read speaks against the books.
    """
    now = clock.now()
    events, differing = _events(told)
    with registry.reading() as session:
        accepted, pending, ended, observations = counting.totals(session)
        stuck = store.overdue(session, before=now - STUCK_AFTER, limit=MOST_OFFENDERS)
        if events is not None:
            said = [(_obligation_of(event), event) for event in events if event.get("apply_component") == COMPONENT]
            # Without room for the id in its debug text an event cannot be compared.
            words = counting.observed_words(session, {key for key, _ in said if key})
            differing = tuple(sorted({key for key, event in said if key and not _agrees(event, words.get(key))}))
        return BookFacts(
            accepted, pending, ended, observations,
            without_observation=tuple(store.without_observation(session, limit=MOST_OFFENDERS)),
            pending_with_observation=tuple(store.pending_with_observation(session, limit=MOST_OFFENDERS)),
            stuck=tuple(each.obligation_id for each in stuck),
            other_digest=tuple(counting.other_digests(session, since=since, limit=MOST_OFFENDERS)),
            spooled_files=tuple(sorted(spooled_files)),
            untold=counting.untold(session, before=now - STUCK_AFTER, limit=MOST_OFFENDERS),
            told_differently=differing,
            counters=None if counters is None else counters[1],
            rows={} if counters is None else counting.reasons_of_observer(session, counters[0]),
        )  # fmt: skip


def _events(
    told: Callable[[int], list[dict[str, str]]] | None,
) -> tuple[list[dict[str, str]] | None, tuple[str, ...] | None]:
    """The newest events, and what is to be said when they cannot be read."""
    if told is None:
        return None, None
    try:
        return told(MOST_EVENTS), None
    except Unavailable as error:
        return None, (error.code,)


def _obligation_of(event: Mapping[str, str]) -> str:
    try:
        found = json.loads(event.get("debug_json") or "{}")
    except ValueError:
        return ""
    return str(found.get("obligation_id", "")) if isinstance(found, dict) else ""


def _agrees(event: Mapping[str, str], row: tuple[str, bool, str] | None) -> bool:
    if row is None:
        return False
    reason, found, subject = row
    said = (event.get("heat_reason"), event.get("heat_found"), event.get("plan_id"))
    return said == (reason, "1" if found else "0", subject)
