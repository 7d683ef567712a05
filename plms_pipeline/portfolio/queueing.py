"""Why does a task wait?

One answer for terminal, HTTP and metadata, in the order in which a scheduler meets the obstacles: a switch, a pause, a run that
is not out yet, a dependency, an executor that did not answer, a full lane, an empty purse, other tasks before it. What nothing
but a dispatcher's look keeps waiting says so, and who looks: nobody can tell from the books whether any is at work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

REASONS: Final = (
    "killswitch", "held", "run_queued", "executor_full", "dispatcher", "dependency", "retry", "handing_over",
    "lane_closed", "lane_full", "budget", "preempted", "turn",
)  # fmt: skip
# No claim lasts so long: one that seems to was made before the clock went back.
LONGEST_LEASE: Final = timedelta(minutes=10)
LOOKS: Final = "`plms serve` and the daemon look by themselves, `plms run dispatch` does once"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is known about a run that the executor has not taken yet.

    `active` of at most `most_active` runs of its project are at work; of all projects `out`, at most `most_out` (None: any
    number). `tries` counts how often it was told to the executor, `due_at` is when it is next, `last_error` what went wrong.
    """

    active: int = 0
    most_active: int = 1
    out: int = 0
    most_out: int | None = None
    tries: int = 0
    due_at: datetime | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a task that waits.

    `switch` and `hold` are reasons of people; `missing` the dependencies that have not succeeded; `before` how many tasks of
    its own project go first; `refused` what the last round said about it;
    `aside_for` the project for which it was put aside.
    """

    run_status: str
    switch: str | None = None
    hold: str | None = None
    missing: tuple[str, ...] = ()
    not_before: datetime | None = None
    last_error: str | None = None
    holds_slot: bool = False
    held: int = 0
    cap: int = 0
    refused: str | None = None
    before: int = 0
    owed_ms: float = 0.0
    aside_for: str | None = None
    announcement: Announcement = Announcement()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a task waits: a word of `REASONS`, and a sentence."""

    code: str
    text: str


def reason(facts: Facts, *, now: datetime) -> Reason:
    """The first obstacle in a task's way."""
    if facts.switch is not None:
        return Reason("killswitch", f"the kill switch is on: {facts.switch}")
    if facts.hold is not None:
        return Reason("held", f"paused: {facts.hold}")
    if facts.run_status != "RUNNING":
        return _run_waits(facts.announcement, now)
    if facts.missing:
        names = ", ".join(facts.missing[:3]) + (" …" if len(facts.missing) > 3 else "")
        return Reason("dependency", f"it depends on {names}")
    if facts.not_before is not None and facts.not_before > now:
        seconds = max(1, round((facts.not_before - now).total_seconds()))
        if facts.holds_slot:
            return Reason("handing_over", f"it is being handed over; if that fails it goes again in {seconds} s")
        why = f": {facts.last_error}" if facts.last_error else ""
        return Reason("retry", f"the executor did not take it, next try in {seconds} s{why}")
    if facts.aside_for is not None and facts.held >= facts.cap > 0:
        return Reason("preempted", f"put aside for project {facts.aside_for}; it goes on when its turn comes again")
    if facts.cap <= 0:
        return Reason("lane_closed", "its lane has no slots (cap 0 or not active)")
    if facts.refused is not None:
        return Reason("budget", facts.refused)
    if facts.held >= facts.cap:
        return Reason(
            "lane_full", f"all {facts.cap} slots of its lane are taken; {facts.before} of its project go first"
        )
    return Reason("turn", f"it goes when a dispatcher looks next ({LOOKS}); {facts.before} of its project go first")


def _run_waits(about: Announcement, now: datetime) -> Reason:
    """Why the executor has not taken a run yet."""
    if about.tries == 0 and about.active >= about.most_active:
        return Reason(
            "run_queued",
            f"its run waits for its turn: {about.active} of at most {about.most_active} runs of the project are at work",
        )
    if about.tries and about.due_at is not None and about.due_at > now:
        seconds = max(1, round((about.due_at - now).total_seconds()))
        why = f": {about.last_error}" if about.last_error else ""
        return Reason("retry", f"the executor did not take its run, next try in {seconds} s{why}")
    if about.tries == 0 and about.most_out is not None and about.out >= about.most_out:
        return Reason(
            "executor_full",
            f"its run waits for room at the executor: {about.out} runs are there, and it is given at most {about.most_out} "
            "(PLMS_PAS_MAX_RUNS)",
        )
    return Reason("dispatcher", f"its run goes to the executor when a dispatcher looks next: {LOOKS}")
