"""Is a lane shared by weighted max-min fairness, and is nobody forgotten?"""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.portfolio.fairness import (
    TYPICAL_MS,
    Contender,
    LaneBook,
    Race,
    Standing,
    Turn,
    advance,
    fill,
    learnt,
)
from plms_pipeline.portfolio.shares import Stay, shares_of
from plms_pipeline_tests.portfolio.lane_sim import Lane, Task

VESSELS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=8)


def progressive(capacity: int, vessels: list[tuple[int, int]]) -> list[Fraction]:
    """The textbook's algorithm in exact fractions: pour until the lowest vessel is full, close it, go on."""
    rates = [Fraction(0)] * len(vessels)
    is_open = [demand > 0 for demand, _ in vessels]
    left = Fraction(capacity)
    while left > 0 and any(is_open):
        wide = sum(weight for (_, weight), one in zip(vessels, is_open, strict=True) if one)
        step = min(
            left / wide,
            *(
                (demand - rate) / weight
                for (demand, weight), rate, one in zip(vessels, rates, is_open, strict=True)
                if one
            ),
        )
        for place, (demand, weight) in enumerate(vessels):
            if is_open[place]:
                rates[place] += step * weight
                is_open[place] = rates[place] < demand
        left -= step * wide
    return rates


@given(st.integers(0, 40), VESSELS)
def test_water_fills_as_the_textbook_pours_it(capacity: int, vessels: list[tuple[int, int]]) -> None:
    """One comparison the wrong way round, and the project with the most tasks takes the lane."""
    rates = fill(capacity, [demand for demand, _ in vessels], [weight for _, weight in vessels])
    assert rates.tolist() == pytest.approx([float(rate) for rate in progressive(capacity, vessels)], abs=1e-9)


@given(st.integers(0, 40), VESSELS, st.integers(2, 7))
def test_what_all_weights_are_multiplied_by_changes_nothing(
    capacity: int, vessels: list[tuple[int, int]], factor: int
) -> None:
    """Weights compare projects; their unit means nothing."""
    demands = [demand for demand, _ in vessels]
    one = fill(capacity, demands, [weight for _, weight in vessels])
    assert fill(capacity, demands, [weight * factor for _, weight in vessels]).tolist() == pytest.approx(one.tolist())


@given(
    st.dictionaries(st.integers(1, 9), st.floats(0.01, 3.0), min_size=1),
    st.integers(1, 10**7),
    st.data(),
)
def test_debts_of_a_lane_sum_up_to_nothing(rates: dict[int, float], passed: int, data: st.DataObject) -> None:
    """A lane that owes more than it has would make newcomers wait for hours that nobody worked."""
    book = LaneBook(0.0, {project: Standing(rate=rate) for project, rate in rates.items()})
    received = {project: data.draw(st.floats(0, passed)) for project in rates}
    owed = sum(one.owed_ms for one in advance(book, now_ms=passed, received_ms=received).standings.values())
    assert owed == pytest.approx(0.0, abs=1e-6 * passed + 1e-6)


def test_an_outage_leaves_no_debt() -> None:
    """The executor was away for an hour: who comes afterwards must not wait until that hour is made good to the others."""
    book = Race(LaneBook(0.0), [Contender(1, 50), Contender(2, 50)], cap=4).book()
    after = advance(book, now_ms=3_600_000, received_ms={})
    assert [after.standings[project].owed_ms for project in (1, 2)] == [0.0, 0.0]
    race = Race(after, [Contender(1, 50), Contender(2, 50), Contender(3, 50)], cap=3)
    turns = []
    while (turn := race.next()) is not None:
        race.took(turn)
        turns.append(turn.project_id)
    assert sorted(turns) == [1, 2, 3]


def test_a_clock_that_goes_back_moves_nothing() -> None:
    """After a jump of the clock time would be counted twice, or backwards."""
    book = Race(LaneBook(10_000.0), [Contender(1, 5), Contender(2, 5)], cap=2).book()
    back = advance(book, now_ms=4_000, received_ms={})
    assert back.at_ms == 10_000.0
    assert all(one.owed_ms == 0 for one in back.standings.values())


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 3), st.floats(0.1, 9), st.floats(0, 1)), min_size=1, max_size=8
    ),
    st.integers(0, 12),
)
def test_a_round_fills_the_free_slots_and_no_more(projects: list[tuple[int, int, float, float]], cap: int) -> None:
    """Work-conserving: a slot that stays free while a task waits is money for nothing; one too many is an overload."""
    contenders = [
        Contender(number, waiting, tuple(100.0 for _ in range(held)), weight, score)
        for number, (waiting, held, weight, score) in enumerate(projects)
    ]
    race = Race(LaneBook(0.0), contenders, cap=cap)
    free, waiting, taken = race.free, sum(one.waiting for one in contenders), 0
    while (turn := race.next()) is not None:
        race.took(turn)
        taken += 1
    assert taken == min(free, waiting)
    assert taken + sum(len(one.held_ms) for one in contenders) <= max(cap, sum(len(one.held_ms) for one in contenders))


def test_a_project_that_was_just_served_is_not_served_again_at_once() -> None:
    """Two slots that become free a moment apart must not both go to whoever was owed most before the first."""
    book = LaneBook(0.0, {1: Standing(900.0, 1.0, 1000.0), 2: Standing(100.0, 1.0, 1000.0)}, 1000.0)
    race = Race(book, [Contender(1, 5), Contender(2, 5)], cap=2)
    first = race.next()
    assert first == Turn(1)
    race.took(first)
    assert race.next() == Turn(2)


def test_a_refused_project_leaves_its_share_to_the_others() -> None:
    """An empty purse must not keep a slot free."""
    race = Race(LaneBook(0.0), [Contender(1, 9), Contender(2, 9)], cap=2)
    race.refuse(1)
    turn = race.next()
    assert turn == Turn(2)
    race.took(turn)
    assert race.next() == Turn(2)
    assert race.book().standings[1].rate == 0.0


def test_the_score_decides_among_those_who_are_equally_due() -> None:
    """A deadline counts, as long as nobody is wronged by it."""
    contenders = [Contender(1, 5, score=0.1), Contender(2, 5, score=0.9)]
    assert Race(LaneBook(0.0), contenders, cap=2).next() == Turn(2)
    wronged = LaneBook(0.0, {1: Standing(TYPICAL_MS, 1.0), 2: Standing(-TYPICAL_MS, 1.0)})
    assert Race(wronged, contenders, cap=2).next() == Turn(1)


def test_rehearsals_have_their_part_of_a_lane() -> None:
    """A plan's rehearsal takes a minute; behind two hundred runs of others it would be answered tomorrow."""
    lane = Lane(cap=2)
    others = [Task(project, 0.0, 1000.0) for project in (1, 2) for _ in range(200)]
    rehearsal = [Task(3, 0.0, 1000.0) for _ in range(200)]
    late = Task(3, 5000.0, 1000.0, is_rehearsal=True)
    lane.run([*others, *rehearsal, late])
    assert late.taken_ms is not None
    # A part of 5 % of two slots earns a task of one second in ten.
    assert late.taken_ms <= 5000.0 + 12_000.0


def test_a_book_is_the_same_after_it_was_stored() -> None:
    """What is owed must survive the process that knows it."""
    book = LaneBook(12.5, {7: Standing(1.25, 0.5, 300.0), 8: Standing(-1.25, 0.5)}, 250.0, 20.0, 0.1)
    assert LaneBook.from_json(book.to_json()) == book
    assert LaneBook.from_json(None) == LaneBook()


def test_durations_are_learnt_per_project() -> None:
    """Where one project's tasks take a second and another's an hour, one mean for both would be wrong for both."""
    book = LaneBook(0.0, {1: Standing(), 2: Standing()})
    for _ in range(40):
        book = learnt(book, [(1, 1000.0), (2, 50_000.0)])
    assert book.standings[1].typical_ms == pytest.approx(1000)
    assert book.standings[2].typical_ms == pytest.approx(50_000)


@pytest.mark.parametrize(("cap", "projects", "sigma"), [(4, 10, 0.5), (2, 5, 0.5), (3, 3, 1.0)])
def test_every_share_is_at_least_nine_tenths(cap: int, projects: int, sigma: float) -> None:
    """The promise of the scheduler: whoever had work received at least 90 % of a fair share of the lane."""
    for seed in range(3):
        rng = random.Random(seed)
        tasks = [
            Task(project, rng.uniform(0, 2000), 1000 * rng.lognormvariate(0, sigma))
            for project in range(projects)
            for _ in range(50)
        ]
        lane = Lane(cap)
        lane.run(tasks)
        shares = shares_of(lane.stays(), cap=cap)
        assert lane.most_held == cap
        assert min(share.ratio or 0 for share in shares) >= 0.9, f"seed {seed}"


def test_weights_are_honoured() -> None:
    """A project with three times the weight finishes the same work in a third of the others' time while they compete."""
    tasks = [Task(project, 0.0, 1000.0) for project in (1, 2) for _ in range(120)]
    lane = Lane(4, weights={1: 3.0})
    lane.run(tasks)
    middle = [task.project_id for task in lane.done if (task.left_ms or 0) <= 30_000]
    assert middle.count(1) / middle.count(2) == pytest.approx(3.0, rel=0.1)
    shares = shares_of(lane.stays(), cap=4, weights={1: 3.0})
    assert all(share.ratio is not None and share.ratio >= 0.95 for share in shares)


def test_a_thousand_tasks_of_one_project_do_not_hold_up_another_s_first() -> None:
    """The prototype's queue was first come, first served: one large project made everybody wait."""
    flood = [Task(1, 0.0, 1000.0) for _ in range(1000)]
    late = [Task(2, 10_500.0, 1000.0) for _ in range(3)]
    lane = Lane(4)
    lane.run([*flood, *late])
    assert all(task.taken_ms is not None and task.taken_ms <= 13_000 for task in late)


def test_a_share_is_measured_from_what_happened() -> None:
    """Two tasks want one slot: each is entitled to half of the time in which both wanted it."""
    stays = [Stay(1, 0, 0, 1000), Stay(2, 0, 1000, 2000)]
    shares = {share.project_id: share for share in shares_of(stays, cap=1)}
    assert shares[1].entitled_ms == pytest.approx(500)
    assert shares[2].entitled_ms == pytest.approx(1500)
    assert shares[1].ratio == pytest.approx(2.0)
    assert shares[2].ratio == pytest.approx(2 / 3)
    never = shares_of([*stays, Stay(3, 0, None, 2000)], cap=1)
    assert never[2].ratio == 0.0
