"""Is work done at once after a nudge, and by nobody's failure for ever undone?"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from plms_pipeline.errors import Unavailable
from plms_pipeline.web.api.service.background import Background, Work

SOON = 5.0
NEVER = 3600.0


class Counted:
    """A step that says how often it was asked, and lets a test wait for that."""

    def __init__(self, answer: Callable[[int], bool] = lambda _n: False) -> None:
        self.asked = 0
        self._answer = answer
        self._changed = threading.Condition()

    def __call__(self) -> bool:
        with self._changed:
            self.asked += 1
            self._changed.notify_all()
            number = self.asked
        return self._answer(number)

    def wait_for(self, times: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.asked >= times, SOON)


def test_work_is_done_at_the_start_and_at_once_after_a_nudge() -> None:
    """A completed task's successor must not wait for a sensor's half minute."""
    step = Counted()
    background = Background((Work("settle", step, idle_s=NEVER),))
    background.start()
    assert step.wait_for(1)
    background.nudge()
    assert step.wait_for(2)
    assert background.stop(SOON)


def test_a_step_is_repeated_while_there_may_be_more_and_wakes_what_follows() -> None:
    """Settling frees cards: whoever dispatches must hear of it without a second event."""
    dispatch = Counted()
    settle = Counted(lambda n: dispatch.wait_for(1) and n < 4)
    works = (Work("settle", settle, wakes=("dispatch",), idle_s=NEVER), Work("dispatch", dispatch, idle_s=NEVER))
    background = Background(works)
    background.start()
    assert settle.wait_for(4)
    assert dispatch.wait_for(2)
    assert background.stop(SOON)


def test_one_nudge_for_one_kind_leaves_the_others_alone() -> None:
    """A kind that measures for minutes is not asked for by every card."""
    settle, dispatch = Counted(), Counted()
    background = Background((Work("settle", settle, idle_s=NEVER), Work("dispatch", dispatch, idle_s=NEVER)))
    background.start()
    assert settle.wait_for(1)
    assert dispatch.wait_for(1)
    background.nudge("settle")
    assert settle.wait_for(2)
    assert dispatch.asked == 1
    background.nudge("unknown")
    assert background.stop(SOON)


@pytest.mark.parametrize("error", [Unavailable("The registry is away."), RuntimeError("a bug")])
def test_a_failure_is_told_and_the_next_nudge_is_heard(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A thread that died of one error would leave every later event to the safety net, silently."""

    def fails_first(number: int) -> bool:
        if number == 1:
            raise error
        return False

    step = Counted(fails_first)
    with caplog.at_level(logging.WARNING):
        background = Background((Work("dispatch", step, idle_s=NEVER),))
        background.start()
        assert step.wait_for(1)
        background.nudge()
        assert step.wait_for(2)
        assert background.stop(SOON)
    assert "event=background_failed work=dispatch" in caplog.text


def test_it_looks_without_being_asked() -> None:
    """A card whose retry is due in a moment sends no event."""
    step = Counted()
    background = Background((Work("dispatch", step, idle_s=0.01),))
    background.start()
    assert step.wait_for(5)
    assert background.stop(SOON)


def test_stopping_waits_for_the_present_step_and_no_longer_than_told() -> None:
    """Half a step is never left by a graceful stop; one that hangs must not keep the process."""
    entered, release = threading.Event(), threading.Event()

    def slow() -> bool:
        entered.set()
        release.wait(SOON)
        return False

    background = Background((Work("settle", slow, idle_s=NEVER),))
    background.start()
    assert entered.wait(SOON)
    assert not background.stop(0.05)
    release.set()
    assert background.stop(SOON)
