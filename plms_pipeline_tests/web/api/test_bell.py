"""Does the worker hear what the web processes ask for, and do they know whether it lives?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plms_pipeline.web.api.service import bell
from plms_pipeline.web.api.service.bell import COMING_S, Bell


class Watch:
    """A stop watch that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return bell.make(tmp_path)


def test_what_is_asked_for_is_heard_once_and_by_name(path: Path) -> None:
    """A start that wakes nobody waits for the five seconds after which everybody looks."""
    here = Bell(path)
    hearing = bell.heard(path)
    # A generator opens its end when it is first asked.
    end = os.open(path, os.O_RDWR)
    assert here.ring("settle", "dispatch")
    assert here.ring("dispatch")
    assert next(hearing) == ("settle", "dispatch")
    assert here.ring("dispatch")
    assert next(hearing) == ("dispatch",)
    hearing.close()  # type: ignore[attr-defined] # a generator
    os.close(end)
    here.close()


def test_a_web_process_never_waits_for_a_worker_that_is_gone_or_slow(path: Path) -> None:
    """An event loop that waits for a pipe to be read answers nobody."""
    here = Bell(path)
    assert not here.ring("dispatch")
    end = os.open(path, os.O_RDWR)
    for _ in range(20_000):
        assert here.ring("dispatch")
    os.close(end)
    assert not here.ring("dispatch")
    here.close()


def test_a_worker_that_was_started_again_is_heard_of_at_once(path: Path) -> None:
    """The pipe of the one that was killed must not swallow what its successor is asked for."""
    here = Bell(path)
    end = os.open(path, os.O_RDWR)
    assert here.ring("dispatch")
    os.close(end)
    end = os.open(path, os.O_RDWR)
    assert here.ring("settle")
    assert os.read(end, 100).endswith(b"settle\n")
    os.close(end)
    here.close()


def test_whether_a_worker_lives_is_told_as_it_is(path: Path) -> None:
    """A server that calls itself ready while nothing is ever dispatched is found by the first user."""
    watch = Watch()
    here = Bell(path, stopwatch=watch)
    assert here.status() == "unknown"
    watch.now_s = COMING_S
    assert here.status() == "degraded"
    end = os.open(path, os.O_RDWR)
    assert here.status() == "healthy"
    os.close(end)
    watch.now_s = 0.0
    assert here.status() == "degraded"
