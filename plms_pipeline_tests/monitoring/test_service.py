"""Does only one night run at a time, and does a dead one get out of the way?"""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
from sqlalchemy import update

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import Unavailable, VerdictNo
from plms_pipeline.monitoring.process import is_dead, this_holder
from plms_pipeline.monitoring.service import NAME, claimed_night, night_lease
from plms_pipeline.registry import leases
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Lease

HOLD = """
import sys, time
from plms_pipeline.clock import SystemClock
from plms_pipeline.monitoring.service import night_lease
from plms_pipeline.registry import leases
from plms_pipeline.registry.engine import Registry
with night_lease(Registry.open(sys.argv[1]), SystemClock()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(registry_url: str) -> subprocess.Popen[str]:
    """Another process that runs a night."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, registry_url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.live
def test_a_second_night_is_told_who_runs_since_when(registry: Registry, holder: subprocess.Popen[str]) -> None:
    """Two nights at once would write the same report twice and race for the priors."""
    with (
        pytest.raises(VerdictNo, match=rf"process {holder.pid} .* since 20\d\d-"),
        night_lease(registry, SystemClock()),
    ):
        pytest.fail("the lease was granted twice")
    with pytest.raises(VerdictNo, match=f"process {holder.pid}"), claimed_night(registry, SystemClock()):
        pytest.fail("the lease was granted twice")


@pytest.mark.live
def test_a_killed_night_is_followed_at_once(registry: Registry, holder: subprocess.Popen[str]) -> None:
    """After kill -9 nobody must wait for a time-out before the books can be proven again."""
    holder.kill()
    holder.wait()
    with night_lease(registry, SystemClock()) as lease:
        assert lease.holder == this_holder()
        assert lease.fencing_token == 2


def test_a_night_that_lost_its_lease_does_not_release_the_next_one(registry: Registry) -> None:
    """A process that slept through its expiry must not free the lease of its successor."""
    with night_lease(registry, SystemClock()), registry.writing() as session:
        session.execute(update(Lease).values(holder="elsewhere:1:0.00", fencing_token=9))
    with registry.reading() as session:
        row = session.get(Lease, "nightly")
        assert row is not None
        assert row.holder == "elsewhere:1:0.00"


def test_the_lease_is_free_after_a_night_that_failed(registry: Registry) -> None:
    """A failed night must not block the retry."""
    with pytest.raises(RuntimeError), night_lease(registry, SystemClock()):
        raise RuntimeError
    with registry.reading() as session:
        assert leases.current(session, NAME) is None


def test_a_claim_goes_over_to_the_night_of_the_same_process(registry: Registry) -> None:
    """The command claims the night before Dagster starts; were it to lock itself out, no night would ever run."""
    with claimed_night(registry, SystemClock()):
        with night_lease(registry, SystemClock()) as lease, registry.reading() as session:
            assert leases.current(session, NAME) == lease
        with registry.reading() as session:
            assert leases.current(session, NAME) is None


def test_a_claim_that_no_night_followed_is_given_back(registry: Registry) -> None:
    """A command that fails before Dagster starts must not block the next one."""
    with claimed_night(registry, SystemClock()), registry.reading() as session:
        assert leases.current(session, NAME) is not None
    with registry.reading() as session:
        assert leases.current(session, NAME) is None


def test_an_outage_while_the_lease_is_given_back_does_not_hide_what_ended_the_night(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error that people need is the first one, not that the lease could not be released either."""

    def away(*_: object) -> bool:
        raise Unavailable("the registry is away")

    monkeypatch.setattr(leases, "release", away)
    with pytest.raises(RuntimeError, match="the first one"), night_lease(registry, SystemClock()):
        raise RuntimeError("the first one")


def test_a_later_process_with_the_same_number_is_not_the_holder() -> None:
    """Process numbers are used again; a lease must not look alive because of that."""
    host, pid, _ = this_holder().rsplit(":", 2)
    assert is_dead(f"{host}:{pid}:1.00")
    assert not is_dead(this_holder())
    assert not is_dead(f"another-{host}:{pid}:1.00")
    assert is_dead(f"{host}:{max(psutil.pids()) + 100_000}:1.00")
