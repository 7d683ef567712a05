"""The three machines as the design tells them, written down a second time: what the tests hold the product against.

Nothing here is imported from the product. A change of the product's tables that the design does not know of must fail a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

WORK = frozenset(
    {
        ("QUEUED", "RUNNING"),
        ("QUEUED", "SKIPPED"),
        ("QUEUED", "FAIL"),
        ("RUNNING", "SUCCESS"),
        ("RUNNING", "FAIL"),
    }
)
_OPEN = ("planning", "pending_approval", "approved", "executing", "validating", "needs_review")
PROJECT = frozenset(
    {
        ("planning", "pending_approval"),
        ("pending_approval", "planning"),  # rejected: back to the plan
        ("pending_approval", "approved"),
        ("approved", "executing"),
        ("executing", "validating"),
        ("validating", "completed"),
        ("validating", "needs_review"),
        ("validating", "executing"),  # another of its runs begins
        ("needs_review", "executing"),
        ("needs_review", "completed"),
        *((state, "cancelled") for state in _OPEN),
    }
)
EDGES = {"run": WORK, "task": WORK, "project": PROJECT}
FIRST = {"run": "QUEUED", "task": "QUEUED", "project": "planning"}
ENDS = {
    "run": frozenset({"SUCCESS", "FAIL", "SKIPPED"}),
    "task": frozenset({"SUCCESS", "FAIL", "SKIPPED"}),
    "project": frozenset({"completed", "cancelled"}),
}
STATES = {subject: sorted({state for edge in edges for state in edge}) for subject, edges in EDGES.items()}
# In these states of a project a run of it may start.
STARTABLE = frozenset({"approved", "executing", "validating", "needs_review"})


def paths(subject: str) -> Iterator[tuple[str, ...]]:
    """Every way from the first state to an end that takes no edge twice."""

    def walk(path: tuple[str, ...], used: frozenset[tuple[str, str]]) -> Iterator[tuple[str, ...]]:
        if path[-1] in ENDS[subject]:
            yield path
            return
        for edge in sorted(EDGES[subject] - used):
            if edge[0] == path[-1]:
                yield from walk((*path, edge[1]), used | {edge})

    yield from walk((FIRST[subject],), frozenset())


def is_a_life(subject: str, states: list[str]) -> bool:
    """Whether a row of states is a life that the machine allows, from its first state on."""
    steps = list(pairwise(states))
    return bool(states) and states[0] == FIRST[subject] and all(step in EDGES[subject] for step in steps)
