"""Does the whole way work, from the need to its observation, for every reason that evidence can give?

Five synthetic obligations go the way of all others: accepted in one group, their evidence written where the configuration says
(or not, or wrongly), observed by the observer that runs now, or by one of this process when none does. The newest real
traffic proves nothing here: on an empty system it would be "found", because an empty name matches everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from plms_pipeline.clock import Clock
from plms_pipeline.errors import NoData
from plms_pipeline.evidence.actions.asking import record
from plms_pipeline.evidence.actions.leading import Leader, leader
from plms_pipeline.evidence.actions.owing import Said, accept_group
from plms_pipeline.evidence.obligations import (
    GOLDEN,
    GOLDEN_POINT,
    EvidenceConfig,
    Need,
    Record,
    evidence_config,
    foreign_need,
)
from plms_pipeline.evidence.process import is_dead, observer_name
from plms_pipeline.evidence.service.observer import Observer
from plms_pipeline.evidence.service.thread import beside
from plms_pipeline.evidence.store import counting, places
from plms_pipeline.evidence.verdicts import GOLDEN as SCENARIOS
from plms_pipeline.evidence.verdicts import Finding, golden_findings
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

if TYPE_CHECKING:
    from plms_pipeline.evidence.client import RedisEvidence

SLACK_MS = 1500


@dataclass(frozen=True, slots=True)
class GoldenRun:
    """What a golden run showed; `observed_by` is the observer that runs, None when this process brought its own."""

    findings: list[Finding]
    observed_by: Leader | None


def run_golden(
    settings: Settings,
    registry: Registry,
    clock: Clock,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> GoldenRun:
    """Send every scenario through, and judge what comes out; takes a little longer than the wait.

    Raises:
        NoData: observing is switched off (`observer_disabled`): nothing can be proven.
        Unavailable: the registry, or the Redis that holds evidence, is away.
    """
    if not settings.late_obs_enabled:
        raise NoData(
            "P28_LATE_OBS_ENABLED is off: nothing is observed, so nothing is proven; switch it on.",
            code="observer_disabled",
        )
    config = evidence_config(settings)
    with ExitStack() as stack:
        redis = None
        if config.backend == "redis" and settings.redis_url is not None:
            from plms_pipeline.evidence.client import RedisEvidence

            redis = RedisEvidence(settings.redis_url)
            stack.callback(redis.close)
        with registry.reading() as session:
            present = leader(session, now=clock.now(), is_dead=is_dead)
        if present is None:
            stack.enter_context(beside(Observer(settings, registry, clock)))
        golden = _Golden(registry, config, clock, redis)
        stack.callback(golden.clean_up)
        golden.begin()
        sleep(config.wait_ms / 4000)
        golden.write("evidence_in_time", str(clock.now().timestamp()))
        until = now_s() + (config.wait_ms + SLACK_MS) / 1000 + 2.0
        while now_s() < until and len(golden.seen()) < len(SCENARIOS):
            sleep(0.05)
        seen = golden.seen()
    edges: tuple[str, ...] = ()
    if present is not None and present.config_digest != config.digest:
        edges = (
            f"the observer {present.observer_id} looks with {present.config_digest}, this process with {config.digest}",
        )
    reasons = {name: seen.get(name, (None, 0))[0] for name in SCENARIOS}
    waits = {name: wait for name, (_, wait) in seen.items()}
    return GoldenRun(golden_findings(reasons, waits, wait_ms=config.wait_ms, slack_ms=SLACK_MS, edges=edges), present)


class _Golden:
    """The synthetic obligations of one run."""

    def __init__(self, registry: Registry, config: EvidenceConfig, clock: Clock, redis: RedisEvidence | None) -> None:
        self._registry, self._config, self._clock, self._redis = registry, config, clock, redis
        run = uuid4().hex[:12]
        self._needs = {name: self._need(f"golden:{run}:{name}") for name in SCENARIOS}

    def _need(self, subject: str) -> Need:
        return foreign_need(self._config, subject, evidence_kind=GOLDEN, obs_point=GOLDEN_POINT, subject_type=GOLDEN)

    def begin(self) -> None:
        """Owe everything, and write what is to be there from the start."""
        now: datetime = self._clock.now()
        self.write("old_evidence", str((now - timedelta(hours=1)).timestamp()))
        said = [Said(need, now) for need in self._needs.values()]
        accept_group(self._registry, said, self._config, observer_id=observer_name(), now=now)
        self.write("foreign_evidence", str(self._clock.now().timestamp()), correlation_id="another-obligation")
        self.write("unreadable_evidence", "soon")

    def write(self, scenario: str, stamp: str, *, correlation_id: str | None = None) -> None:
        """Evidence as a component would write it."""
        found = Record(GOLDEN, self._needs[scenario].subject_id, stamp, correlation_id, {"heat_level": "golden"})
        record(
            self._registry, self._config, found, clock=self._clock,
            put_in_redis=None if self._redis is None else self._redis.put,
        )  # fmt: skip

    def seen(self) -> dict[str, tuple[str, int]]:
        """Scenario → (reason, wait_ms) of what was observed so far."""
        ids = {need.obligation_id: name for name, need in self._needs.items()}
        with self._registry.reading() as session:
            return {ids[key]: seen for key, seen in counting.waits_of(session, ids).items()}

    def clean_up(self) -> None:
        """Remove the evidence; obligations and observations stay, as all do."""
        for need in self._needs.values():
            if self._redis is not None:
                self._redis.remove(need.lookup_ref.removeprefix("redis:"))
            else:
                with self._registry.writing() as session:
                    places.remove(session, GOLDEN, need.subject_id)
