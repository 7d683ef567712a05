"""Does Redis answer, how full is it, and does somebody retry without end?

Hits are counted between two looks: since Redis started, a day of calm hides the hour in which every look-up is a repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.store import facts

SUBJECT: Final = "redis"
# Fewer look-ups between two looks say nothing about a share.
ENOUGH: Final = 20
_REST: Final = frozenset({"redis_memory_ratio", "redis_hit_ratio"})


@dataclass(frozen=True, slots=True)
class RedisInfo:
    """What `INFO` says. `max_bytes` 0: without a limit."""

    used_bytes: int
    max_bytes: int
    hits: int
    misses: int


def looking(info: Callable[[str], RedisInfo | None]) -> Callable[[Asked], Seen]:
    """A source that asks Redis through `info` (URL → what it says, None when it does not answer)."""

    def look(asked: Asked) -> Seen:
        url = asked.settings.redis_url
        if not asked.settings.redis_is_used or url is None:
            return Seen()
        found = info(url)
        if found is None:
            with asked.registry.reading() as session:
                since = facts.cache_lost(session, asked.now - timedelta(days=1))
            gone = Reading("redis_down", SUBJECT, 1.0, asked.now, "starts answer from the registry", since=since)
            return Seen((gone,), unknown=_REST)
        readings = [Reading("redis_down", SUBJECT, 0.0, asked.now)]
        if found.max_bytes:
            used = f"{found.used_bytes / 2**20:.0f} of {found.max_bytes / 2**20:.0f} MiB"
            readings.append(Reading("redis_memory_ratio", SUBJECT, found.used_bytes / found.max_bytes, asked.now, used))
        before = asked.memo or {}
        hits, misses = (
            found.hits - int(before.get("hits", found.hits)),
            found.misses - int(before.get("misses", found.misses)),
        )
        asked_for = hits + misses
        is_enough = asked_for >= ENOUGH and hits >= 0 and misses >= 0
        ratio = hits / asked_for if is_enough else 0.0 if asked_for == 0 else None
        readings.append(Reading("redis_hit_ratio", SUBJECT, ratio, asked.now, f"{hits} hits of {asked_for} look-ups"))
        return Seen(tuple(readings), memo={"hits": found.hits, "misses": found.misses})

    return look
