"""Which states may follow which, for a run and for a card of the executor?

    run:  executing ⇄ paused → completed | needs_review | terminated;  needs_review → executing | terminated
    card: waiting → queued → running ⇄ paused → succeeded | failed | cancelled;  waiting → skipped | cancelled

`completed` and `terminated` are for ever: the source's stub let "completed" overwrite "terminated", so a run that was
killed for its spending came back as a success. `needs_review` (all tasks ended, not all well) opens again only when a
new attempt at a failed task arrives. A run is complete when as many tasks have ended as its start announced, which makes
"start, then cards" safe: the stub's worker saw no cards yet and called the run complete and valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

RunState = Literal["executing", "paused", "needs_review", "completed", "terminated"]
CardState = Literal["waiting", "queued", "running", "paused", "succeeded", "failed", "skipped", "cancelled"]
RunVerb = Literal["pause", "resume", "terminate"]

OVER: Final = frozenset({"completed", "terminated"})
ENDED: Final = frozenset({"succeeded", "failed", "skipped", "cancelled"})

_RUN_MOVES: Final[Mapping[tuple[RunState, RunVerb], RunState]] = {
    ("executing", "pause"): "paused",
    ("paused", "pause"): "paused",
    ("executing", "resume"): "executing",
    ("paused", "resume"): "executing",
    ("executing", "terminate"): "terminated",
    ("paused", "terminate"): "terminated",
    ("needs_review", "terminate"): "terminated",
    # Asking for an end that is there already is no mistake; the answer says which end it was.
    ("completed", "terminate"): "completed",
    ("terminated", "terminate"): "terminated",
}


def run_after(state: RunState, verb: RunVerb) -> RunState | None:
    """The state after a verb, or None when the state forbids it."""
    return _RUN_MOVES.get((state, verb))


def run_by_its_tasks(state: RunState, newest: Iterable[CardState], tasks_total: int) -> RunState:
    """The state of a run, given the state of the newest attempt at each task that was submitted."""
    if state in OVER or state == "needs_review":
        return state
    states = list(newest)
    if len(states) < tasks_total or any(one not in ENDED for one in states):
        return state
    return "completed" if all(one == "succeeded" for one in states) else "needs_review"


def card_by_its_dependencies(states: Iterable[CardState]) -> Literal["waiting", "queued", "skipped"]:
    """What becomes of a card that waits, given the newest attempts at the tasks it depends on."""
    seen = set(states)
    if seen & (ENDED - {"succeeded"}):
        return "skipped"
    return "queued" if seen <= {"succeeded"} else "waiting"


def has_cycle(depends_on: Mapping[str, Iterable[str]]) -> bool:
    """Whether a task depends on itself, directly or through others."""
    done: set[str] = set()
    for root in depends_on:
        path: dict[str, None] = {}
        stack = [(root, False)]
        while stack:
            task, is_left = stack.pop()
            if is_left:
                path.pop(task)
                done.add(task)
            elif task in path:
                return True
            elif task not in done:
                path[task] = None
                stack.append((task, True))
                stack.extend((other, False) for other in depends_on.get(task, ()))
    return False
