"""Is the flag up whenever whoever pulls the kill switch may believe that it is?"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput, Unavailable
from plms_pipeline.portfolio.files import flag_reason, raise_flag
from plms_pipeline.runs.stopping.service import flag_unless_written


def test_a_switch_that_is_written_at_once_needs_no_flag(tmp_path: Path) -> None:
    """The row says who, when and why; a flag beside it would have to be taken down as well."""
    with flag_unless_written(tmp_path, "fire"):
        assert flag_reason(tmp_path) is None
    assert flag_reason(tmp_path) is None


def test_while_the_registry_is_locked_the_flag_stops_what_spends(tmp_path: Path) -> None:
    """Half a minute of a runaway spend passed until the switch was on, because another process was writing."""
    with flag_unless_written(tmp_path, "fire", patience_s=0.01):
        done = threading.Event()
        while flag_reason(tmp_path) is None:
            assert not done.wait(0.005)
        assert flag_reason(tmp_path) == "fire"
    assert flag_reason(tmp_path) is None


@pytest.mark.parametrize(
    "error",
    [Unavailable("away"), Unavailable("damaged", code="registry_damaged"), KeyboardInterrupt(), RuntimeError("a bug")],
)
def test_what_cannot_be_written_is_stopped_by_the_flag(tmp_path: Path, error: BaseException) -> None:
    """A person who pulls the switch, waits and presses Ctrl-C has stopped nothing otherwise."""
    with pytest.raises(type(error)), flag_unless_written(tmp_path, "fire"):
        raise error
    assert flag_reason(tmp_path) == "fire"


def test_what_was_asked_for_wrongly_stops_nothing(tmp_path: Path) -> None:
    """A reason that is none is refused; the portfolio goes on."""
    with pytest.raises(BadInput), flag_unless_written(tmp_path, " ", patience_s=0.0):
        raise BadInput("a reason is needed")
    assert flag_reason(tmp_path) is None


def test_a_flag_that_was_up_before_stays(tmp_path: Path) -> None:
    """Somebody else put it up for a reason of his own."""
    raise_flag(tmp_path, "his own")
    with flag_unless_written(tmp_path, "fire", patience_s=0.0):
        pass
    assert flag_reason(tmp_path) == "his own"
