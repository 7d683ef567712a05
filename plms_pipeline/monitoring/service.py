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


@contextmanager
def claimed_night(registry: Registry, clock: Clock) -> Iterator[None]:
    """Take the lease before Dagster is even started; `night_lease` takes it over from this process.

    Only looking whether it is free would let two commands that start within two seconds both begin a run, one of which
    fails half-way.

    Raises:
        VerdictNo: a living process holds it; the message says who and since when.
    """
    lease = _acquired(registry, clock)
    try:
        yield
    finally:
        _give_back(registry, lease)


@contextmanager
def night_lease(registry: Registry, clock: Clock) -> Iterator[leases.Held]:
    """Hold the lease of the night.

    Raises:
        VerdictNo: a living process holds it; the message says who and since when.
    """
    lease = _acquired(registry, clock)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(registry, clock, lease, stop), name="night-lease", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        stop.set()
        keeper.join(timeout=5)
        _give_back(registry, lease)


def _acquired(registry: Registry, clock: Clock) -> leases.Held:
    with registry.writing() as session:
        answer = leases.acquire(session, NAME, this_holder(), now=clock.now(), ttl=TTL, is_dead=is_dead)
    if not answer.granted:
        raise _running(answer.lease)
    return answer.lease


def _give_back(registry: Registry, lease: leases.Held) -> None:
    try:
        with registry.writing() as session:
            leases.release(session, lease)
    except PlmsError as error:
        # The lease ends by itself; an outage here must not hide the one that ended the night.
        logger.warning("night_lease_not_released reason=%s", error.code)


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
