"""Which tasks a rehearsal takes: sizes, coverage, the cap, and that nothing but the seed decides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.runs.passport import PlannedTask
from plms_pipeline.runs.sampling import MAX_BUMP, Sample, draw, strata_of, whole_part


def task(number: int, kind: str | None, complexity: str | None = "simple", lane: int = 4200) -> PlannedTask:
    return PlannedTask(f"t{number:05d}", f"task {number}", None, lane, "p", kind, complexity, (), None, None)


def project(n: int, strata: int) -> list[PlannedTask]:
    """`n` tasks in as many equal strata."""
    return [task(number, f"kind{number % strata}") for number in range(n)]


def drawn(n: int, strata: int, pct: float, seed: int = 1) -> Sample:
    return draw(project(n, strata), pct, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("n", "strata", "pct", "size", "bumped", "coverage"),
    [
        (1000, 5, 0.01, 10, False, 1.0),
        (1000, 40, 0.01, 40, True, 1.0),
        (50, 2, 0.01, 2, True, 1.0),
        (1, 1, 0.01, 1, False, 1.0),
        (1000, 5, 0.20, 200, False, 1.0),
        (1000, 80, 0.01, 50, True, 0.625),
        (100, 12, 0.01, 5, True, 5 / 12),
        (10, 3, 0.01, 1, False, 1 / 3),
    ],
)
def test_sizes_and_coverage_are_those_that_the_sources_should_have_given(
    n: int, strata: int, pct: float, size: int, bumped: bool, coverage: float
) -> None:
    """Otherwise a canary is called representative while whole kinds of work were left out of it, as the original's was."""
    found = drawn(n, strata, pct)
    assert (found.n_sample, found.auto_bumped) == (size, bumped)
    assert found.strata_coverage == pytest.approx(coverage)
    assert found.is_representative == (coverage == 1.0)
    assert found.actual_pct == pytest.approx(size / n)


def test_a_request_beyond_the_cap_is_not_cut_down_to_it() -> None:
    """Whoever asks for 6 % must not get 5 % because 80 strata would have needed 8."""
    found = drawn(1000, 80, 0.06)
    assert found.n_sample == 60
    assert found.strata_coverage == pytest.approx(0.75)
    assert "Not representative" in found.warnings[0]


@pytest.mark.parametrize("pct", [0.29, 0.57, 0.58, 0.07, 0.14, 0.28])
def test_a_share_of_a_hundred_tasks_is_that_many_tasks(pct: float) -> None:
    """`int(100 * 0.29)` is 28: a sample would be a task short for no reason that anybody could find."""
    assert whole_part(100, pct) == round(100 * pct)
    assert drawn(100, 3, pct).n_sample == round(100 * pct)


def test_a_project_without_tasks_is_refused_by_name() -> None:
    """The original divided by zero."""
    with pytest.raises(Conflict) as caught:
        draw([], 0.01, np.random.default_rng(1))
    assert caught.value.code == "no_tasks"


@pytest.mark.parametrize("pct", [0.0, -0.1, 1.01, float("nan"), float("inf")])
def test_what_is_no_share_is_refused(pct: float) -> None:
    """A NaN would compare false with everything and draw nothing."""
    with pytest.raises(BadInput) as caught:
        drawn(10, 2, pct)
    assert caught.value.code == "bad_rehearsal_pct"


def test_unknown_kind_and_complexity_are_a_stratum_of_their_own() -> None:
    """Tasks of imported plans have neither; they must be rehearsed all the same."""
    strata = strata_of([task(1, None, None), task(2, "a", None), task(3, None, None)])
    assert [stratum.label for stratum in strata] == ["a/unknown/4200", "unknown/unknown/4200"]


def test_an_incomplete_sample_says_what_is_missing_and_what_would_do() -> None:
    """A person who reads the answer must not have to reckon."""
    text = drawn(100, 12, 0.01).warnings[0]
    assert "7 of 12 strata" in text
    assert "12 of 100 tasks" in text


projects = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from(["simple", "complex", None]), st.integers(1, 4)),
    min_size=1,
    max_size=120,
)
shares = st.floats(0.001, 1.0)


@given(projects, shares, st.integers(0, 2**32))
def test_every_sample_obeys_the_rules(kinds: list[tuple[str | None, str | None, int]], pct: float, seed: int) -> None:
    """Size, cap, coverage and membership, recounted from the drawn tasks alone."""
    tasks = [task(number, kind, complexity, lane) for number, (kind, complexity, lane) in enumerate(kinds)]
    found = draw(tasks, pct, np.random.default_rng(seed))
    n, by_id = len(tasks), {each.task_id: each for each in tasks}
    assert len(set(found.tasks)) == len(found.tasks) == found.n_sample
    assert set(found.tasks) <= set(by_id)
    keys = Counter((by_id[name].task_kind, by_id[name].complexity, by_id[name].lane_id) for name in found.tasks)
    strata = Counter((each.task_kind, each.complexity, each.lane_id) for each in tasks)
    assert found.strata_coverage == len(keys) / len(strata)
    asked = min(n, max(1, whole_part(n, pct)))
    assert found.n_requested == asked <= found.n_sample
    assert found.n_sample <= max(asked, MAX_BUMP * n, 1)
    if found.n_sample >= len(strata):
        assert found.is_representative
        # Beyond one each, a stratum gets its share of what is left: less than a task from exact proportion.
        room, rest = n - len(strata), found.n_sample - len(strata)
        for key, size in strata.items():
            exact = rest * (size - 1) / room if room else 0
            assert abs(keys[key] - 1 - exact) < 1 + 1e-9
    else:
        # What is left out is never larger than what was drawn.
        assert max(strata[key] for key in strata if key not in keys) <= min(strata[key] for key in keys)


@given(projects, shares, st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_the_seed_alone_decides(
    kinds: list[tuple[str | None, str | None, int]], pct: float, seed: int, rng: object
) -> None:
    """A rehearsal that cannot be repeated cannot be argued about; the order in which a database returns rows is chance."""
    tasks = [task(number, kind, complexity, lane) for number, (kind, complexity, lane) in enumerate(kinds)]
    shuffled = list(tasks)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its generator as object here
    one, other = (draw(each, pct, np.random.default_rng(seed)) for each in (tasks, shuffled))
    assert one.tasks == other.tasks


def test_every_task_of_a_stratum_has_its_turn() -> None:
    """A sample that always took the first tasks would rehearse the same corner of a project for ever."""
    seen = Counter(name for seed in range(600) for name in drawn(60, 3, 0.1, seed).tasks)
    assert len(seen) == 60
    assert max(seen.values()) < 2.2 * min(seen.values())
