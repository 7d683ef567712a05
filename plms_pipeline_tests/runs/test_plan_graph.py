"""Orders in which tasks can be done, against an independent graph library of the standard library."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.runs.plan_graph import cycle, topological

KEYS = "abcdefgh"
graphs = st.dictionaries(st.sampled_from(KEYS), st.lists(st.sampled_from(KEYS), max_size=4), max_size=8).map(
    lambda found: {key: tuple(need for need in needs if need in found) for key, needs in found.items()}
)


def has_cycle(graph: dict[str, tuple[str, ...]]) -> bool:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return True
    return False


@given(graphs)
def test_a_cycle_is_named_exactly_when_there_is_one(graph: dict[str, tuple[str, ...]]) -> None:
    """A project whose tasks wait for each other never ends, and nobody finds the circle among three hundred by eye."""
    ring = cycle(graph)
    assert (ring is not None) == has_cycle(graph)
    if ring is not None:
        assert ring[0] == ring[-1]
        assert len(set(ring[:-1])) == len(ring) - 1
        assert all(after in graph[key] for key, after in pairwise(ring))


@given(graphs)
def test_every_task_comes_after_what_it_needs(graph: dict[str, tuple[str, ...]]) -> None:
    """The order is what a person reads, and what a plain executor follows."""
    order = topological(graph)
    if has_cycle(graph):
        assert set(order) < set(graph)
        return
    assert sorted(order) == sorted(graph)
    place = {key: number for number, key in enumerate(order)}
    assert all(place[need] < place[key] for key, needs in graph.items() for need in needs)


def test_tasks_that_may_come_in_any_order_stay_as_written() -> None:
    """Whoever wrote them in this order meant something by it."""
    assert topological({"c": (), "a": (), "b": ("c",), "d": ()}) == ["c", "a", "d", "b"]
    assert cycle({}) is None
