"""Why does a task wait?

One answer for terminal, HTTP and metadata, in the order in which a scheduler meets the obstacles: a switch, a pause, a run that
is not out yet, a dependency, an executor that did not answer, a full lane, an empty purse, other tasks before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

REASONS: Final = (
    "killswitch", "held", "run_queued", "dependency", "retry", "handing_over", "lane_closed", "lane_full", "budget",
    "preempted", "turn",
)  # fmt: skip
# No claim lasts so long: one that seems to was made before the clock went back.
LONGEST_LEASE: Final = timedelta(minutes=10)


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
        return Reason("run_queued", "its run waits for its turn among the project's runs")
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
    return Reason("turn", f"it goes at the next look; {facts.before} of its project go first")
