"""What does somebody hold in the hands who reviews late evidence, or ends what nobody ended?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from plms_pipeline.clock import Clock
from plms_pipeline.evidence.actions.asking import book_facts, covered
from plms_pipeline.evidence.actions.observing import Watch, observe_overdue
from plms_pipeline.evidence.coverage import Coverage
from plms_pipeline.evidence.files import SpoolFile, spool_folder
from plms_pipeline.evidence.obligations import evidence_config
from plms_pipeline.evidence.process import file_name, observer_name
from plms_pipeline.evidence.service.observer import spool_files
from plms_pipeline.evidence.verdicts import BookFacts, Finding, book_findings
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

if TYPE_CHECKING:
    from plms_pipeline.evidence.client import RedisEvidence


@dataclass(frozen=True, slots=True)
class Review:
    """The books of late evidence, what speaks against them, and how much came in time."""

    facts: BookFacts
    findings: list[Finding]
    coverage: list[Coverage]


@contextmanager
def redis_of(settings: Settings) -> Iterator[RedisEvidence | None]:
    """The evidence in Redis while the block lasts; None where evidence lies in the registry."""
    if settings.evidence_backend != "redis" or settings.redis_url is None:
        yield None
        return
    from plms_pipeline.evidence.client import RedisEvidence

    found = RedisEvidence(settings.redis_url)
    try:
        yield found
    finally:
        found.close()


def review(settings: Settings, registry: Registry, clock: Clock, *, back: timedelta) -> Review:
    """Count everything.

    Args:
        back: how far back to look.

    Raises:
        Unavailable: the registry is away.
        BadInput: the settings do not say where evidence lies.
    """
    config, since = evidence_config(settings), clock.now() - back
    with redis_of(settings) as redis:
        facts = book_facts(
            registry, clock=clock, since=since, spooled_files=[path.name for path in spool_files(settings.data_dir)],
            told=None if redis is None else lambda newest: redis.told(config.stream, newest=newest),
        )  # fmt: skip
        seen = covered(registry, config, since=since, look_in_redis=None if redis is None else redis.look)
    return Review(facts, book_findings(facts), seen)


def end_overdue(settings: Settings, registry: Registry, clock: Clock, *, grace: timedelta, limit: int) -> Counter[str]:
    """Look once for what should have ended before `grace` ago, and end it; how many by reason.

    Raises:
        Unavailable: the registry is away.
        BadInput: the settings do not say where evidence lies.
    """
    name = observer_name()
    with redis_of(settings) as redis:
        watch = Watch(
            registry, clock, evidence_config(settings), name, lambda: time.monotonic() * 1000,
            SpoolFile(spool_folder(settings.data_dir), file_name(name)).append,
            look_in_redis=None if redis is None else redis.look,
        )  # fmt: skip
        done = observe_overdue(watch, before=clock.now() - grace, limit=limit)
    return Counter(verdict.reason for verdict in done.ended)
