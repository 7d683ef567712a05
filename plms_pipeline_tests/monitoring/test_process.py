"""Is it known who holds the night, and does an interrupt reach it?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from plms_pipeline.monitoring.process import is_dead, this_holder, watching_interrupts


@pytest.fixture(autouse=True)
def quiet_interrupts() -> Iterator[None]:
    """A handler that does nothing, so that the test itself is not interrupted."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


def test_this_process_is_alive() -> None:
    """A night that took itself for dead would run twice."""
    assert not is_dead(this_holder())


def test_a_process_that_ended_is_dead() -> None:
    """After kill -9 the next night must start at once."""
    script = "from plms_pipeline.monitoring.process import this_holder; print(this_holder())"
    holder = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert is_dead(holder)


def test_a_later_process_with_the_same_number_is_another() -> None:
    """Numbers of processes come again; after a reboot they come again soon."""
    host, pid, _ = this_holder().rsplit(":", 2)
    assert is_dead(f"{host}:{pid}:1000.00")


@pytest.mark.parametrize("holder", ["", "x", "elsewhere:1:2.00", "a:b:c", "elsewhere:name with spaces"])
def test_who_cannot_be_judged_is_not_called_dead(holder: str) -> None:
    """A holder on another machine may well be alive; only its lease's end says more."""
    assert not is_dead(holder)


def test_an_interrupt_is_seen_whatever_became_of_its_exception() -> None:
    """Python drops an exception that a signal raises in the callback of a weak reference: the night would go on."""

    class Thing:
        pass

    def interrupting(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with watching_interrupts() as has_arrived:
        assert not has_arrived()
        thing = Thing()
        kept = weakref.ref(thing, interrupting)
        del thing
        assert kept() is None
        assert has_arrived()
        assert has_arrived()


def test_other_signals_are_no_interrupts() -> None:
    """A child that ends must not end the night."""
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        with watching_interrupts() as has_arrived:
            os.kill(os.getpid(), signal.SIGCHLD)
            assert not has_arrived()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_watching_leaves_things_as_they_were() -> None:
    """asyncio uses the same pipe of Python; a second watcher must not take it away."""
    with watching_interrupts() as outer:
        with watching_interrupts() as inner:
            os.kill(os.getpid(), signal.SIGINT)
            assert inner()
        assert not outer()
        os.kill(os.getpid(), signal.SIGINT)
        assert outer()
    assert signal.set_wakeup_fd(-1) == -1
