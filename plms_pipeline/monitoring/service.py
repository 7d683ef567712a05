"""Holds the lease of the night while the night runs: renewed in the background, released at the end, lost when we die."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError, VerdictNo
from plms_pipeline.monitoring.process import is_dead, this_holder
from plms_pipeline.registry import leases
from plms_pipeline.registry.engine import Registry

NAME = "nightly"
TTL = timedelta(seconds=60)
RENEW_EVERY_S = 15.0

logger = logging.getLogger(__name__)


def refuse_if_held(registry: Registry, clock: Clock) -> None:
    """Say who runs a night now, if somebody does.

    Raises:
        VerdictNo: a living process holds the lease.
    """
    with registry.reading() as session:
        held = leases.current(session, NAME)
    if held and held.expires_at > clock.now() and not is_dead(held.holder) and held.holder != this_holder():
        raise _running(held)


@contextmanager
def night_lease(registry: Registry, clock: Clock) -> Iterator[leases.Held]:
    """Hold the lease of the night.

    Raises:
        VerdictNo: a living process holds it; the message says who and since when.
    """
    with registry.writing() as session:
        answer = leases.acquire(session, NAME, this_holder(), now=clock.now(), ttl=TTL, is_dead=is_dead)
    if not answer.granted:
        raise _running(answer.lease)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(registry, clock, answer.lease, stop), name="night-lease", daemon=True)
    keeper.start()
    try:
        yield answer.lease
    finally:
        stop.set()
        keeper.join(timeout=5)
        with registry.writing() as session:
            leases.release(session, answer.lease)


def _keep(registry: Registry, clock: Clock, lease: leases.Held, stop: threading.Event) -> None:
    while not stop.wait(RENEW_EVERY_S):
        try:
            with registry.writing() as session:
                if not leases.renew(session, lease, now=clock.now(), ttl=TTL):
                    logger.error("night_lease_lost holder=%s", lease.holder)
                    return
        except PlmsError as error:
            # A short outage is survived: the lease lives for several renewals.
            logger.warning("night_lease_not_renewed reason=%s", error.code)


def _running(held: leases.Held) -> VerdictNo:
    host, _, pid = held.holder.rpartition(":")[0].rpartition(":")
    return VerdictNo(
        f"A night is already running: process {pid} on {host}, since {held.acquired_at:%Y-%m-%d %H:%M:%S} UTC; wait until it "
        "has ended. If that process is gone, its lease ends by itself within a minute.",
        code="night_is_running",
    )
