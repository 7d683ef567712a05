"""Which observer looks now?

Any number may run; one holds the lease and looks, so that evidence is not polled as often as there are processes.
Correctness does not rest on it: whoever looks without it ends nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.clock import Clock
from plms_pipeline.evidence.obligations import EvidenceConfig
from plms_pipeline.evidence.store import observers
from plms_pipeline.registry import leases
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.leases import Held

LEASE: Final = "late_observer"
# Long, because every renewal is a write: what is remembered of the books is asked anew after it. Whoever died on this machine
# is recognised at once, and behind a machine that died stands the sensor.
TTL: Final = timedelta(seconds=60)
RENEW_AFTER: Final = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Leader:
    """Who looks now, since when, with which configuration."""

    observer_id: str
    since: datetime
    config_digest: str | None


def lead(
    registry: Registry,
    held: Held | None,
    *,
    observer_id: str,
    config: EvidenceConfig,
    clock: Clock,
    is_dead: Callable[[str], bool],
) -> Held | None:
    """The lease when it is ours now, taken or renewed as is due; None while another observer looks.

    Raises:
        Unavailable: the registry is away.
    """
    now = clock.now()
    if held is not None:
        if now < held.expires_at - TTL + RENEW_AFTER and now >= held.acquired_at:
            return held
        with registry.writing() as session:
            if leases.renew(session, held, now=clock.now(), ttl=TTL):
                return leases.current(session, LEASE)
    with registry.reading() as session:
        present = leases.current(session, LEASE)
    if present is not None and present.expires_at > now and not is_dead(present.holder):
        return None
    details: dict[str, Any] = {"config_digest": config.digest, "poll_ms": config.poll_ms, "wait_ms": config.wait_ms}
    with registry.writing() as session:
        answer = leases.acquire(session, LEASE, observer_id, now=clock.now(), ttl=TTL, is_dead=is_dead, details=details)
    return answer.lease if answer.granted else None


def resign(registry: Registry, held: Held) -> None:
    """Give the lease back."""
    with registry.writing() as session:
        leases.release(session, held)


def leader(session: Session, *, now: datetime, is_dead: Callable[[str], bool]) -> Leader | None:
    """Who looks now; None when nobody does."""
    present = leases.current(session, LEASE)
    if present is None or present.expires_at <= now or is_dead(present.holder):
        return None
    digest = observers.details(session, LEASE).get("config_digest")
    return Leader(present.holder, present.acquired_at, None if digest is None else str(digest))
