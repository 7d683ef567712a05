"""What is known of earlier trainings, and is drift being answered already?

Put together from facts: candidates in the registry say on which content a training ended well, Dagster's runs say what is under
way and what failed. A cursor would forget both when somebody resets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from plms_pipeline.models.training.trigger import History

Progress: TypeAlias = Literal["running", "ended", "failed"]
ASKS: Final = "request_retrain"


@dataclass(frozen=True, slots=True)
class Trained:
    """A training that ended well: on which content, and when its candidate was there."""

    data_hash: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run of the job that trains; `data_hash` is what it was asked for, None where nobody said."""

    progress: Progress
    data_hash: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Look:
    """What a live snapshot recommended for the champion of its time."""

    number: int
    promotion_id: str | None
    at: datetime
    action: str


def history_of(trained: Sequence[Trained], attempts: Sequence[Attempt]) -> History:
    """The history that `trigger.decide` asks for, in whatever order the facts come."""
    newest = max(trained, key=lambda one: one.at, default=None)
    tries = sorted(attempts, key=lambda one: one.at, reverse=True)
    running = next((one for one in tries if one.progress == "running"), None)
    moments = [*(one.at for one in trained), *(one.at for one in attempts)]
    failed_hash, failed = _failures(tries)
    return History(
        trained_hash=None if newest is None else newest.data_hash,
        # A training that somebody started by hand says nothing of its data, and is waited for all the same.
        running_hash=None if running is None else running.data_hash or "unknown",
        failed_hash=failed_hash,
        failed_attempts=failed,
        last_started_at=max(moments, default=None),
    )


def _failures(tries: Sequence[Attempt]) -> tuple[str | None, int]:
    """On which content the newest tries failed, and how many of them in a row; tries without a content do not count."""
    known = [one for one in tries if one.progress != "running" and one.data_hash is not None]
    if not known or known[0].progress != "failed":
        return None, 0
    count = 0
    for one in known:
        if one.progress != "failed" or one.data_hash != known[0].data_hash:
            break
        count += 1
    return known[0].data_hash, count


def open_episode(looks: Sequence[Look], promotion_id: str) -> Look | None:
    """The look at which the champion began to ask for a retraining, if its newest look still does.

    Args:
        looks: in any order; those at other champions do not count.
        promotion_id: of the champion that serves.
    """
    own = sorted((one for one in looks if one.promotion_id == promotion_id), key=lambda one: (one.at, one.number))
    first: Look | None = None
    for one in own:
        if one.action != ASKS:
            first = None
        elif first is None:
            first = one
    return first
