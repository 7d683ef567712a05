"""Do changed data ask for a new training now?

The content hash is compared with that of the snapshot which the last training really used, taken before it began: what is
written while a training runs differs from that snapshot and asks again afterwards. The source compared with a snapshot taken
after the run, so that such writes never triggered anything, and trained again after a bare `touch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from plms_pipeline.errors import BadInput

Action: TypeAlias = Literal["train", "wait", "rest"]
MAX_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class History:
    """What is known of earlier trainings.

    Args:
        trained_hash: content hash of the snapshot of the last training that ended well; None when there was none.
        running_hash: that of the training which runs now; None when none does.
        failed_hash: that of the last training if it failed.
        failed_attempts: how often in a row it failed on `failed_hash`.
        last_started_at: when the last training began, whatever its end.
    """

    trained_hash: str | None = None
    running_hash: str | None = None
    failed_hash: str | None = None
    failed_attempts: int = 0
    last_started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why, and for `wait` the moment from which on it may be trained, if one is known."""

    action: Action
    reason: str
    due_at: datetime | None = None


def decide(current_hash: str | None, history: History, now: datetime, *, cooldown: timedelta) -> Decision:
    """Decide about a new training.

    Args:
        current_hash: content hash of the bars as they are; None when there are none.
        history: what is known of earlier trainings.
        now: aware.
        cooldown: least time between the beginnings of two trainings.

    Raises:
        BadInput: the cooldown is negative.
    """
    if cooldown < timedelta(0):
        raise BadInput(f"The cooldown is {cooldown}; it must not be negative.", code="bad_cooldown")
    if current_hash is None:
        return Decision("rest", "there are no bars")
    if history.running_hash is not None:
        changed = history.running_hash != current_hash
        told = (
            "the data have changed since it began, and will be looked at when it ends" if changed else "on these data"
        )
        return Decision("wait" if changed else "rest", f"a training runs, {told}")
    if current_hash == history.trained_hash:
        return Decision("rest", "the data are those of the last training")
    if current_hash == history.failed_hash and history.failed_attempts >= MAX_ATTEMPTS:
        return Decision(
            "rest", f"training on these data failed {history.failed_attempts} times; correct it and train by hand"
        )
    due_at = None if history.last_started_at is None else history.last_started_at + cooldown
    if due_at is not None and now < due_at:
        return Decision("wait", "the data have changed, and the cooldown is not over", due_at)
    return Decision("train", "there was no training yet" if history.trained_hash is None else "the data have changed")
