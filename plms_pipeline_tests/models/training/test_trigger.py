from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.training.trigger import History, decide

NOW = datetime(2024, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("current", "history", "action"),
    [
        (None, History(), "rest"),
        ("a", History(), "train"),
        ("a", History(trained_hash="a"), "rest"),
        ("b", History(trained_hash="a"), "train"),
        ("b", History(trained_hash="a", last_started_at=NOW - HOUR), "train"),
        ("b", History(trained_hash="a", last_started_at=NOW - HOUR / 2), "wait"),
        ("a", History(running_hash="a"), "rest"),
        ("b", History(running_hash="a"), "wait"),
        ("b", History(trained_hash="a", failed_hash="b", failed_attempts=2), "train"),
        ("b", History(trained_hash="a", failed_hash="b", failed_attempts=3), "rest"),
        ("c", History(trained_hash="a", failed_hash="b", failed_attempts=3), "train"),
    ],
)
def test_only_other_data_ask_for_a_training(current: str | None, history: History, action: str) -> None:
    """A touched file must not cost a night of training; a broken one must not cost every night."""
    assert decide(current, history, NOW, cooldown=HOUR).action == action


def test_what_is_written_during_a_training_is_not_lost() -> None:
    """The source took its baseline after the run: bytes written meanwhile were never trained on."""
    assert decide("b", History(running_hash="a"), NOW, cooldown=HOUR).action == "wait"
    ended = History(trained_hash="a", last_started_at=NOW - 2 * HOUR)
    assert decide("b", ended, NOW, cooldown=HOUR).action == "train"


def test_the_reason_is_told() -> None:
    """It is kept with the candidate, and read when somebody asks why there is one."""
    assert decide("a", History(), NOW, cooldown=HOUR).reason == "there was no training yet"
    assert decide("b", History(trained_hash="a"), NOW, cooldown=HOUR).reason == "the data have changed"


def test_whoever_waits_is_told_until_when() -> None:
    """`retrain --dry-run` shows it."""
    history = History(trained_hash="a", last_started_at=NOW - HOUR / 2)
    assert decide("b", history, NOW, cooldown=HOUR).due_at == NOW + HOUR / 2
    with pytest.raises(BadInput):
        decide("b", history, NOW, cooldown=-HOUR)
