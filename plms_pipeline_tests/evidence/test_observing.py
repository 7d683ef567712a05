"""Does every obligation end once, for the reason that is true, and counted from its acceptance?"""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plms_pipeline.errors import Unavailable
from plms_pipeline.evidence.actions.observing import end_pending, observe_overdue, replay
from plms_pipeline.evidence.actions.owing import Said, accept_group, owe
from plms_pipeline.evidence.sights import Sight, failed
from plms_pipeline.evidence.spool import read_lines
from plms_pipeline.evidence.store import obligations as store
from plms_pipeline.evidence.store import places
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Obligation
from plms_pipeline_tests.evidence.worlds import AT, Scene, nothing


@pytest.fixture
def scene(registry: Registry) -> Scene:
    return Scene(registry)


def test_evidence_that_comes_in_time_is_found_once(scene: Scene) -> None:
    """The plain case: without it every other reason means nothing."""
    scene.accept("run-1")
    scene.round()
    scene.passes(300)
    scene.write("run-1")
    scene.passes(50)
    assert [verdict.reason for verdict in scene.round().ended] == ["ok"]
    seen = scene.observation("run-1")
    assert (seen.found, seen.wait_ms, seen.polls, seen.errors) == (True, 350, 2, 0)
    assert seen.evidence_at == AT + timedelta(milliseconds=300)
    assert scene.until_over() == []
    assert scene.books() == (1, 1, 0)


def test_absent_evidence_is_a_timeout_counted_from_acceptance(scene: Scene) -> None:
    """Counted from when a worker took it up, a full queue made timeouts a hundred seconds late."""
    scene.accept("run-1")
    scene.passes(1500)
    scene.round()
    scene.passes(400)
    assert scene.round().ended == ()
    scene.passes(100)
    assert [verdict.reason for verdict in scene.round().ended] == ["timeout"]
    seen = scene.observation("run-1")
    assert (seen.wait_ms, seen.queue_ms, seen.polls) == (2000, 1500, 3)


def test_evidence_older_than_its_obligation_is_stale_and_not_found(scene: Scene) -> None:
    """A hash that lives half an hour answered for every later plan of the same name."""
    scene.write("run-1", at=AT - timedelta(seconds=30))
    scene.accept("run-1")
    assert scene.until_over() == ["stale"]
    assert scene.observation("run-1").found is False


def test_stale_evidence_that_is_replaced_in_time_counts(scene: Scene) -> None:
    """The writer overwrites the old word with the new one: what was there before must not end the waiting."""
    scene.write("run-1", at=AT - timedelta(seconds=30))
    scene.accept("run-1")
    scene.round()
    scene.passes(200)
    scene.write("run-1")
    assert scene.until_over() == ["ok"]


def test_evidence_that_names_another_obligation_is_stale(scene: Scene) -> None:
    """Fresh and wrong is as wrong as old."""
    scene.accept("run-1")
    scene.passes(100)
    scene.write("run-1", correlation_id="somebody else's")
    assert scene.until_over() == ["stale"]


def test_evidence_that_names_its_obligation_counts_whatever_the_clocks_say(scene: Scene) -> None:
    """Two machines whose clocks differ by a second must not make all evidence stale."""
    [accepted] = scene.accept("run-1")
    scene.write("run-1", at=AT - timedelta(seconds=1), correlation_id=accepted.obligation_id)
    assert scene.until_over() == ["ok"]


def test_a_stamp_in_whole_seconds_is_not_stale_within_its_second(scene: Scene) -> None:
    """The guide's writers stamp whole seconds: half of all their evidence would look older than it is."""
    scene.at = AT + timedelta(milliseconds=700)
    scene.accept("run-1")
    scene.write("run-1", at=str(int(AT.timestamp())))
    assert scene.until_over() == ["ok"]


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "-1", "1767225600000", "1e400"])
def test_what_cannot_be_read_is_a_parse_error(scene: Scene, text: str) -> None:
    """A hash without its fields was counted as found, with an empty level."""
    scene.accept("run-1")
    scene.write("run-1", at=text)
    assert scene.until_over() == ["parse_error"]


def test_two_failed_looks_end_as_an_outage_even_when_others_lay_between(scene: Scene) -> None:
    """An outage of the backend left no event and no counter at all."""
    answers = iter([failed("down"), Sight("absent"), failed("down")])
    scene.redis = lambda keys: dict.fromkeys(keys, next(answers))
    scene.with_config(backend="redis", prefix="p:").accept("run-1")
    assert scene.until_over(ms=300) == ["redis_error"]
    seen = scene.observation("run-1")
    assert (seen.errors, seen.polls, seen.found) == (2, 3, False)


def test_one_failed_look_is_remembered_by_the_timeout(scene: Scene) -> None:
    """One error, then nothing: the error was lost."""
    answers = iter([failed("down"), *[Sight("absent")] * 30])
    scene.redis = lambda keys: dict.fromkeys(keys, next(answers))
    scene.with_config(backend="redis", prefix="p:").accept("run-1")
    assert scene.until_over() == ["timeout"]
    seen = scene.observation("run-1")
    assert seen.errors == 1
    assert seen.debug_json == {"error": "down"}


def test_one_failed_look_after_the_deadline_is_no_timeout(scene: Scene) -> None:
    """After a restart during an outage nothing is known yet: to call it late would be a guess."""
    scene.redis = lambda keys: dict.fromkeys(keys, failed("down"))
    scene.with_config(backend="redis", prefix="p:").accept("run-1")
    scene.passes(60_000)
    assert scene.round().ended == ()
    assert [verdict.reason for verdict in scene.round().ended] == ["redis_error"]


def test_early_evidence_is_looked_for_once_and_missing(scene: Scene) -> None:
    """A decision does not wait: what it rests on is there or it is not."""
    scene.write("old", at=AT - timedelta(seconds=5))
    scene.accept("old", "none", obs_point="at_decision")
    assert Counter(verdict.reason for verdict in scene.round().ended) == {"ok": 1, "missing": 1}


def test_a_restart_loses_nothing(scene: Scene) -> None:
    """What was in flight lived in a thread pool: a restart dropped it without a trace."""
    scene.accept("late", "in-time", "never")
    scene.round()
    scene.write("in-time", at=AT + timedelta(milliseconds=1500))
    scene.write("late", at=AT + timedelta(milliseconds=2500))
    scene.flight = {}
    scene.at += timedelta(hours=1)
    scene.run_ms = 0.0
    assert Counter(verdict.reason for verdict in scene.round().ended) == {"ok": 1, "timeout": 2}
    assert scene.observation("in-time").found
    assert scene.observation("late").evidence_at == AT + timedelta(milliseconds=2500)
    assert scene.books() == (3, 3, 0)


def test_a_wall_clock_that_is_set_back_makes_nobody_wait_longer(scene: Scene) -> None:
    """A clock that jumps an hour back would hold two hundred places for an hour."""
    scene.accept("run-1")
    scene.at -= timedelta(hours=1)
    scene.round()
    scene.passes(2000)
    assert [verdict.reason for verdict in scene.round().ended] == ["timeout"]


def test_a_wall_clock_that_jumps_ahead_in_flight_ends_nothing_early(scene: Scene) -> None:
    """Half a second after acceptance is half a second, whatever the clock on the wall says by then."""
    scene.accept("run-1")
    scene.round()
    scene.at += timedelta(hours=1)
    scene.run_ms += 500
    assert scene.round().ended == ()


def test_three_hundred_with_room_for_two_hundred_drop_one_hundred(scene: Scene) -> None:
    """The counter of drops was declared and never incremented: 100 drops showed as 0."""
    answers = scene.accept(*[f"run-{n}" for n in range(300)])
    assert sum(answer.is_dropped for answer in answers) == 100
    assert all(answer.is_new for answer in answers)
    assert scene.books() == (300, 100, 200)
    assert scene.observation("run-250").reason == "dropped"
    scene.round()
    scene.passes(2000)
    assert len(scene.round().ended) == 200
    assert scene.books() == (300, 300, 0)
    assert not any(answer.is_dropped for answer in scene.accept("another"))


def test_the_same_need_said_twice_is_one_obligation(scene: Scene) -> None:
    """Eight concurrent calls made eight events, because looking and marking were two steps."""
    first = scene.accept("run-1", "run-1")
    again = scene.accept("run-1")
    assert [answer.is_new for answer in (*first, *again)] == [True, False, False]
    assert scene.books() == (1, 0, 1)


@pytest.mark.parametrize("waiting", [197, 198, 199, 200])
def test_what_is_known_takes_nobody_s_place(scene: Scene, waiting: int) -> None:
    """A need that is said again beside new ones must neither be dropped itself nor have another one dropped."""
    scene.accept(*[f"run-{n}" for n in range(waiting)])
    answers = scene.accept("run-0", "new-1", "run-1", "new-2")
    assert [answer.is_new for answer in answers] == [False, True, False, True]
    room = max(0, 200 - waiting)
    assert [answer.is_dropped for answer in answers] == [False, room < 1, False, room < 2]


def test_two_observation_points_of_one_subject_are_two_obligations(scene: Scene) -> None:
    """A key that they shared hid the events of one of them."""
    scene.accept("run-1")
    scene.accept("run-1", obs_point="after_submission")
    assert scene.books() == (2, 0, 2)


def test_an_obligation_owed_in_a_transaction_goes_with_it(scene: Scene) -> None:
    """Evidence that is owed for what never happened would time out for ever."""
    with pytest.raises(RuntimeError), scene.registry.writing() as session:
        assert owe(session, [scene.need("run-1")], scene.config, now=scene.at) == 1
        raise RuntimeError
    assert scene.books() == (0, 0, 0)


def test_two_observers_write_one_observation(scene: Scene) -> None:
    """A standby that takes over too early, or a lease that is lost unnoticed, must not count anything twice."""
    other = Scene(scene.registry)
    scene.accept(*[f"run-{n}" for n in range(40)])
    for each in (scene, other):
        each.round()
        each.passes(2000)
    ended: list[int] = []
    threads = [threading.Thread(target=lambda s=each: ended.append(len(s.round().ended))) for each in (scene, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ended) == 40
    assert scene.books() == (40, 40, 0)


def test_acceptors_together_never_pass_the_room(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of eight that counts 199 and adds one would make 207."""
    count = store.count_pending

    def slowly(session: Session, *, most: int) -> int:
        found = count(session, most=most)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(store, "count_pending", slowly)
    scene.with_config(max_inflight=20)
    barrier = threading.Barrier(8)
    dropped: list[int] = []

    def hand_in(number: int) -> None:
        said = [Said(scene.need(f"run-{number}-{n}"), scene.at) for n in range(10)]
        barrier.wait()
        answers = accept_group(scene.registry, said, scene.config, observer_id=f"o{number}", now=scene.at)
        dropped.append(sum(answer.is_dropped for answer in answers))

    threads = [threading.Thread(target=hand_in, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(dropped) == 60
    assert scene.books() == (80, 60, 20)


def test_verdicts_of_a_registry_that_is_away_are_spooled_and_replayed_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen while the registry was away is the truth: evidence in Redis may be gone when it is back."""
    scene.accept("run-1", "run-2")
    scene.round()
    scene.passes(2000)

    def away(_self: Registry) -> None:
        raise Unavailable("The registry is away.")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "writing", away)
        assert scene.round().spooled == 2
    assert scene.books() == (2, 0, 2)
    assert scene.flight == {}
    scene.write("run-1", at=AT + timedelta(milliseconds=100))
    spooled = read_lines([*scene.lines, "0000 cut of", *scene.lines])
    assert spooled.broken == 1
    new, ended = replay(scene.watch, spooled)
    assert (new, [row["reason"] for row in ended]) == (0, ["timeout", "timeout"])
    assert replay(scene.watch, spooled) == (0, ())
    assert scene.books() == (2, 2, 0)


def test_a_registry_that_cannot_be_read_is_an_outage_and_no_timeout(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage of our own database would have been told as evidence that never came."""
    scene.accept("run-1")
    scene.passes(2000)

    def away(*_: object) -> None:
        raise Unavailable("The registry is away.")

    with monkeypatch.context() as patched:
        patched.setattr(places, "look", away)
        assert scene.round().ended == ()
        assert [verdict.reason for verdict in scene.round().ended] == ["redis_error"]


def test_the_safety_net_ends_what_no_observer_ended(scene: Scene) -> None:
    """Without any observer obligations would pend for ever, and nobody would be told."""
    scene.accept("never", "came")
    scene.write("came", at=AT + timedelta(seconds=1))
    scene.passes(60_000)
    scene.accept("young")
    done = observe_overdue(scene.watch, before=scene.at, limit=100)
    assert Counter(verdict.reason for verdict in done.ended) == {"ok": 1, "timeout": 1}
    assert scene.books() == (3, 2, 1)


def test_what_is_cancelled_is_told_as_such(scene: Scene) -> None:
    """Who takes the observer out of service must leave books that add up."""
    scene.accept("run-1", "run-2")
    assert end_pending(scene.watch, "cancelled", limit=1) == 2
    assert scene.observation("run-1").reason == "cancelled"
    assert scene.books() == (2, 2, 0)


def test_an_ended_obligation_never_waits_again(scene: Scene) -> None:
    """A state that goes back would be observed, and counted, a second time."""
    scene.accept("run-1")
    end_pending(scene.watch, "cancelled", limit=10)
    with pytest.raises(IntegrityError), scene.registry.writing() as session:
        session.execute(update(Obligation).values(state="pending"))


def test_a_place_that_nobody_knows_is_told_and_not_raised(scene: Scene) -> None:
    """One row that an older version wrote must not stop the observer for all others."""
    scene.accept("good", "bad")
    with scene.registry.writing() as session:
        session.execute(update(Obligation).where(Obligation.subject_id == "bad").values(lookup_ref="carrier:pigeon"))
    scene.write("good")
    scene.redis = nothing
    assert Counter(scene.until_over()) == {"ok": 1, "parse_error": 1}
