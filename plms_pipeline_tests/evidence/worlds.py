"""An observer whose clocks a test moves, with evidence that a test writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from plms_pipeline.evidence.actions.observing import Flight, Round, Watch, observe_round
from plms_pipeline.evidence.actions.owing import Accepted, Said, accept_group
from plms_pipeline.evidence.obligations import EvidenceConfig, Need, Record, foreign_need
from plms_pipeline.evidence.sights import Sight
from plms_pipeline.evidence.store import places
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Obligation, Observation

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONFIG = EvidenceConfig(
    backend="registry", prefix=None, stream="quantum:stream:apply.heat.observed", wait_ms=2000, poll_ms=100, max_inflight=200,
    max_errors=2, ttl_s=1800, debug_chars=400, owes_heat=True,
)  # fmt: skip


def stamp(at: datetime) -> str:
    return f"{at.timestamp():.6f}"


@dataclass
class Scene:
    """Registry, clocks, and the observer's state between its rounds."""

    registry: Registry
    config: EvidenceConfig = CONFIG
    at: datetime = AT
    run_ms: float = 5_000.0
    flight: Flight = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    redis: Any = None

    def now(self) -> datetime:
        return self.at

    def passes(self, ms: float) -> None:
        """Both clocks go on."""
        self.at += timedelta(milliseconds=ms)
        self.run_ms += ms

    @property
    def watch(self) -> Watch:
        return Watch(
            self.registry, self, self.config, "here:1:test", lambda: self.run_ms, self.spooled, look_in_redis=self.redis
        )

    def spooled(self, lines: Sequence[str]) -> None:
        self.lines += lines

    def need(self, subject: str, **more: str) -> Need:
        return foreign_need(self.config, subject, **more)

    def accept(self, *subjects: str, **more: str) -> list[Accepted]:
        said = [Said(self.need(subject, **more), self.at) for subject in subjects]
        return accept_group(self.registry, said, self.config, observer_id="here:1:test", now=self.at)

    def write(self, subject: str, *, at: datetime | str | None = None, correlation_id: str | None = None) -> None:
        """Evidence of a foreign component."""
        told = at if isinstance(at, str) else stamp(at or self.at)
        record = Record("heat", subject, told, correlation_id, {"heat_level": "warm", "heat_score": "0.5"})
        with self.registry.writing() as session:
            places.put(session, record, now=self.at)

    def round(self) -> Round:
        done = observe_round(self.watch, self.flight)
        self.flight = done.flight
        return done

    def until_over(self, *, ms: float = 2500, step: float = 100) -> list[str]:
        """Rounds until the time is over; the reasons in the order in which they came."""
        reasons: list[str] = []
        end = self.run_ms + ms
        while True:
            reasons += [verdict.reason for verdict in self.round().ended]
            if self.run_ms >= end:
                return reasons
            self.passes(step)

    def with_config(self, **changes: Any) -> Scene:
        self.config = replace(self.config, **changes)
        return self

    def observation(self, subject: str) -> Observation:
        with self.registry.reading() as session:
            return session.scalars(
                select(Observation)
                .join(Obligation, Obligation.obligation_id == Observation.obligation_id)
                .where(Obligation.subject_id == subject)
            ).one()

    def books(self) -> tuple[int, int, int]:
        """(accepted, ended, pending) in one snapshot."""
        return books(self.registry)


def books(registry: Registry) -> tuple[int, int, int]:
    with registry.reading() as session:
        waiting = session.scalar(select(func.count()).select_from(Obligation).where(Obligation.state == "pending"))
        return (
            int(session.scalar(select(func.count()).select_from(Obligation)) or 0),
            int(session.scalar(select(func.count()).select_from(Observation)) or 0),
            int(waiting or 0),
        )


def nothing(keys: Collection[str]) -> Mapping[str, Sight]:
    return dict.fromkeys(keys, Sight("absent"))
