"""Which states may follow which?

Three machines, for a run, a task and a project, as tables: whoever moves a state asks `next_state` and then makes one
compare-and-set (`runs.store.transitions`). The sources had three incompatible sets of words for a run and read an unknown one
as harmless; here an unknown state is FAIL. Pause is a row in `holds`, never a state, so that nothing is forgotten by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from plms_pipeline.registry.tables.vocabulary import PROJECT_STATES, STATES, TERMINAL_STATES

Subject = Literal["run", "task", "project"]

_WORK: Final[Mapping[str, frozenset[str]]] = {
    "QUEUED": frozenset({"RUNNING", "SKIPPED", "FAIL"}),
    "RUNNING": frozenset({"SUCCESS", "FAIL"}),
    "SUCCESS": frozenset(),
    "FAIL": frozenset(),
    "SKIPPED": frozenset(),
}
_PROJECT: Final[Mapping[str, frozenset[str]]] = {
    "planning": frozenset({"pending_approval", "cancelled"}),
    "pending_approval": frozenset({"planning", "approved", "cancelled"}),
    "approved": frozenset({"executing", "cancelled"}),
    "executing": frozenset({"validating", "cancelled"}),
    "validating": frozenset({"executing", "completed", "needs_review", "cancelled"}),
    "needs_review": frozenset({"executing", "completed", "cancelled"}),
    "completed": frozenset(),
    "cancelled": frozenset(),
}
MACHINES: Final[Mapping[Subject, Mapping[str, frozenset[str]]]] = {"run": _WORK, "task": _WORK, "project": _PROJECT}
TERMINAL: Final[Mapping[Subject, frozenset[str]]] = {
    "run": frozenset(TERMINAL_STATES),
    "task": frozenset(TERMINAL_STATES),
    "project": frozenset({"completed", "cancelled"}),
}
# States of a project in which a start is admitted. `needs_review` is: a rerun is one of its two ways out.
STARTABLE: Final = frozenset({"approved", "executing", "validating", "needs_review"})


def may_follow(subject: Subject, old: str, new: str) -> bool:
    """Whether `new` may follow `old`; an unknown `old` has no successor, and no state follows itself."""
    return new in MACHINES[subject].get(old, frozenset())


def is_terminal(subject: Subject, state: str) -> bool:
    """Whether nothing follows `state`."""
    return state in TERMINAL[subject]


def sources_of(subject: Subject, new: str) -> frozenset[str]:
    """The states from which `new` may be entered."""
    return frozenset(old for old, successors in MACHINES[subject].items() if new in successors)


def work_state(word: str) -> str:
    """Our state for an executor's word about a run or a task; a word that nobody knows is FAIL.

    The words are those of the executor's protocol (run: pending, planning, executing, validating, completed, needs_review,
    failed, terminated, paused; task: queued, running, waiting_io, succeeded, failed, skipped) and our own.
    """
    known = {
        "pending": "QUEUED", "planning": "QUEUED", "queued": "QUEUED",
        "executing": "RUNNING", "validating": "RUNNING", "running": "RUNNING", "waiting_io": "RUNNING", "paused": "RUNNING",
        "completed": "SUCCESS", "needs_review": "SUCCESS", "succeeded": "SUCCESS",
        "failed": "FAIL", "terminated": "FAIL", "skipped": "SKIPPED",
    }  # fmt: skip
    return word if word in STATES else known.get(word.lower(), "FAIL")


assert set(_PROJECT) == set(PROJECT_STATES)  # noqa: S101 - the tables and the database must speak of the same states
assert set(_WORK) == set(STATES)  # noqa: S101 - as above
