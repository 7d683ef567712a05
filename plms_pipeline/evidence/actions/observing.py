"""How does one round of the observer end what can be ended?

A round takes into flight what waits, looks for the evidence of everything in flight at once, and writes the observations
of what ended in one transaction. It holds nothing between two calls: what is in flight is handed in and back. A registry
that is away ends nothing and loses nothing: verdicts go into the spool, and are replayed before anything is looked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from plms_pipeline.clock import Clock
from plms_pipeline.errors import Unavailable
from plms_pipeline.evidence.events import stream_event
from plms_pipeline.evidence.obligations import EvidenceConfig
from plms_pipeline.evidence.sights import Sight, Verdict, Watched, failed, judged, malformed, picked, refused
from plms_pipeline.evidence.spool import Spooled, line_of
from plms_pipeline.evidence.store import obligations as store
from plms_pipeline.evidence.store import places
from plms_pipeline.registry.engine import Registry

log = logging.getLogger(__name__)
Look = Callable[[Collection[str]], Mapping[str, Sight]]
Flight = Mapping[str, Watched]
MOST_TOLD = 500


@dataclass(frozen=True, slots=True)
class Watch:
    """What a round reaches the world through.

    `now_ms` is a clock that never jumps; `look_in_redis` never raises, None where nothing lies in Redis; `spool` writes lines
    that are on the disk when it returns.
    """

    registry: Registry
    clock: Clock
    config: EvidenceConfig
    observer_id: str
    now_ms: Callable[[], float]
    spool: Callable[[Sequence[str]], None]
    look_in_redis: Look | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did: what is in flight now, what ended by it, and how many verdicts went into the spool."""

    flight: Flight
    ended: tuple[Verdict, ...] = ()
    looked: int = 0
    spooled: int = 0

    @property
    def may_have_more(self) -> bool:
        """Whether places in flight became free, so that the next round need not wait."""
        return bool(self.ended)


def observe_round(watch: Watch, flight: Flight) -> Round:
    """One round.

    Raises:
        OSError: the registry is away and the spool cannot be written; what is in flight stays pending in the registry.
    """
    flight = _taken(watch, flight)
    if not flight:
        return Round({})
    sights = _looks(watch, {watched.pending.lookup_ref for watched in flight.values()})
    now_ms = watch.now_ms()
    left: dict[str, Watched] = {}
    verdicts: list[Verdict] = []
    for key, watched in flight.items():
        found = judged(watched, sights[watched.pending.lookup_ref], now_ms=now_ms, max_errors=watch.config.max_errors)
        if isinstance(found, Verdict):
            verdicts.append(found)
        else:
            left[key] = found
    if not verdicts:
        return Round(left, looked=len(flight))
    ended, spooled = _write(watch, verdicts)
    return Round(left, ended=ended, looked=len(flight), spooled=spooled)


def _taken(watch: Watch, flight: Flight) -> dict[str, Watched]:
    """What is in flight, and what of the waiting finds room beside it."""
    taken = dict(flight)
    if len(taken) >= watch.config.max_inflight:
        return taken
    try:
        with watch.registry.reading() as session:
            waiting = store.pending(session, limit=watch.config.max_inflight)
    except Unavailable as error:
        log.warning("obligations_unread code=%s", error.code)
        return taken
    now, now_ms = watch.clock.now(), watch.now_ms()
    for pending in waiting:
        if len(taken) >= watch.config.max_inflight:
            break
        if pending.obligation_id not in taken:
            taken[pending.obligation_id] = picked(pending, now=now, now_ms=now_ms)
    return taken


def look_everywhere(registry: Registry, look_in_redis: Look | None, refs: Collection[str]) -> dict[str, Sight]:
    """What lies at each place, of the registry or of Redis; a place that cannot be asked is a failed look."""
    by_backend: dict[str, dict[str, str]] = {"registry": {}, "redis": {}}
    found: dict[str, Sight] = {}
    for ref in refs:
        backend, _, rest = ref.partition(":")
        if backend in by_backend:
            by_backend[backend][rest] = ref
        else:
            found[ref] = malformed(f"there is no backend {backend[:40]!r}")
    if by_backend["registry"]:
        try:
            with registry.reading() as session:
                sights: Mapping[str, Sight] = places.look(session, by_backend["registry"])
        except Unavailable as error:
            sights = dict.fromkeys(by_backend["registry"], failed(error.code))
        found.update((by_backend["registry"][rest], sight) for rest, sight in sights.items())
    if by_backend["redis"]:
        keys = by_backend["redis"]
        seen = dict.fromkeys(keys, failed("no Redis is configured")) if look_in_redis is None else look_in_redis(keys)
        found.update((keys[rest], sight) for rest, sight in seen.items())
    return found


def _looks(watch: Watch, refs: Collection[str]) -> dict[str, Sight]:
    return look_everywhere(watch.registry, watch.look_in_redis, refs)


def _write(watch: Watch, verdicts: Sequence[Verdict]) -> tuple[tuple[Verdict, ...], int]:
    """The verdicts that became observations by this, and how many were spooled instead."""
    rows = [_row(watch, verdict) for verdict in verdicts]
    try:
        ended = write_observations(watch, rows)
    except Unavailable as error:
        log.warning("observations_spooled count=%d code=%s", len(rows), error.code)
        watch.spool([line_of("observation", row) for row in rows])
        return (), len(rows)
    return tuple(verdict for verdict in verdicts if verdict.pending.obligation_id in ended), 0


def _row(watch: Watch, verdict: Verdict) -> dict[str, Any]:
    return verdict.row(
        observer_id=watch.observer_id, config_digest=watch.config.digest, at=watch.clock.now(),
        debug_chars=watch.config.debug_chars,
    )  # fmt: skip


def write_observations(watch: Watch, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Write observations of what still waits; the obligations that ended by it.

    Raises:
        Unavailable: the registry is away; nothing was written.
    """
    with watch.registry.writing() as session:
        return store.finish(session, rows, publication="due" if watch.config.publishes else "none")


def replay(watch: Watch, spooled: Spooled) -> tuple[int, tuple[Mapping[str, Any], ...]]:
    """Bring what a spool holds into the registry; how many obligations were new, and the observations that were.

    Raises:
        Unavailable: the registry is still away; nothing was written.
    """
    with watch.registry.writing() as session:
        new = store.accept(session, spooled.obligations) if spooled.obligations else []
        ended = store.finish(session, spooled.observations, publication="due" if watch.config.publishes else "none")
    by_id = {row["obligation_id"]: row for row in spooled.observations}
    return len(new), tuple(row for key, row in by_id.items() if key in ended)


def tell_due(watch: Watch, tell: Callable[[str, Sequence[Mapping[str, str]]], None]) -> int:
    """Tell on the stream what has not been told yet, each at least once; how many.

    Raises:
        Unavailable: Redis or the registry is away; what was not told stays due.
    """
    with watch.registry.reading() as session:
        due = store.to_publish(session, limit=MOST_TOLD)
    if not due:
        return 0
    config = watch.config
    tell(config.stream, [stream_event(pending, seen, debug_chars=config.debug_chars) for pending, seen in due])
    with watch.registry.writing() as session:
        store.published(session, [pending.obligation_id for pending, _ in due])
    return len(due)


def observe_overdue(watch: Watch, *, before: datetime, limit: int) -> Round:
    """One look at what should have ended before a moment: the safety net when no observer runs.

    What cannot be asked is asked again at once, as often as errors are allowed.
    """
    with watch.registry.reading() as session:
        waiting = store.overdue(session, before=before, limit=limit)
    now, now_ms = watch.clock.now(), watch.now_ms()
    flight = {each.obligation_id: picked(each, now=now, now_ms=now_ms) for each in waiting}
    done = Round(flight)
    # Nothing is taken up besides: with one place, whatever is in flight fills it.
    alone = replace(watch, config=replace(watch.config, max_inflight=1))
    for _ in range(watch.config.max_errors):
        if not done.flight:
            break
        found = observe_round(alone, done.flight)
        done = Round(
            found.flight, (*done.ended, *found.ended), done.looked + found.looked, done.spooled + found.spooled
        )
    return done


def end_pending(watch: Watch, reason: Literal["cancelled"], *, limit: int) -> int:
    """End what waits as `cancelled`, because nobody will look for it any more; how many."""
    total = 0
    while True:
        with watch.registry.reading() as session:
            waiting = store.pending(session, limit=limit)
        if not waiting:
            return total
        now = watch.clock.now()
        verdicts = [
            refused(each, reason, waited_ms=max(0, int((now - each.accepted_at).total_seconds() * 1000)))
            for each in waiting
        ]
        total += len(write_observations(watch, [_row(watch, verdict) for verdict in verdicts]))
