"""Is everything due tried again, once, by however many retriers, whatever one letter does?"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.letters import store
from plms_pipeline.letters.actions.retrying import LEASE, Tried
from plms_pipeline.letters.rules import Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.letters.desk import AT, HOUR, Shelf
from plms_pipeline_tests.letters.test_reasons import HOSTILE


@pytest.fixture
def shelf(registry: Registry) -> Shelf:
    return Shelf(registry)


def test_every_due_letter_has_its_turn_also_after_a_success_and_after_a_failure(shelf: Shelf) -> None:
    """The sources' retry-all ended after the first success, and on Linux before the first letter."""
    for number in range(12):
        shelf.put(f"s{number:02}")
    shelf.later()

    def handler(letter: Letter) -> Tried:
        number = int(letter.subject_id[1:])
        if number % 4 == 0:
            raise RuntimeError("timeout in the handler itself")
        if number % 4 == 1:
            raise Unavailable("the executor is away")
        return Tried("recovered", "well") if number % 4 == 2 else shelf.begin(letter)

    done = shelf.retry(handler)
    assert {line.subject_id for line in done.lines} == {f"s{number:02}" for number in range(12)}
    assert [done.count(word) for word in ("begun", "recovered", "postponed", "failed")] == [3, 3, 3, 3]
    assert Counter(shelf.states().values()) == {"ready": 6, "done": 3, "processing": 3}
    attempts = {letter.subject_id: letter.attempts for letter in shelf.all()}
    # What was only postponed has used up nothing.
    assert (attempts["s00"], attempts["s01"], attempts["s03"]) == (1, 0, 1)


def test_those_due_longest_go_first_and_those_not_due_wait(shelf: Shelf) -> None:
    """A storm of new failures must not keep an old one waiting for ever."""
    first = shelf.put("old")
    shelf.later(minutes=10)
    second = shelf.put("new")
    shelf.later(seconds=2)
    future = shelf.put("future")
    assert [line.subject_id for line in shelf.retry().lines][:2] == ["old", "new"]
    assert first.next_due_at is not None
    assert second.next_due_at is not None
    assert future.next_due_at is not None
    assert first.next_due_at < second.next_due_at < future.next_due_at
    shelf.at = AT - HOUR
    assert not shelf.retry().lines


@pytest.mark.parametrize("reason", ["contains pii", "licence violation", "3 of 40 tests fail", "HTTP 401"])
@pytest.mark.parametrize("is_forced", [False, True])
def test_a_class_that_never_retries_is_never_retried(shelf: Shelf, reason: str, is_forced: bool) -> None:
    """Not by time, not by force, and not by an UPDATE that somebody writes by hand."""
    letter = shelf.put("s", reason)
    for _ in range(5):
        shelf.later(hours=1)
        assert not shelf.retry(is_forced=is_forced, only=[letter.letter_id]).lines
    assert shelf.asked == []
    with pytest.raises(IntegrityError), shelf.registry.writing() as session:
        session.execute(text("UPDATE dead_letters SET state = 'processing'"))


def test_two_retriers_begin_each_letter_once(shelf: Shelf) -> None:
    """The sources counted before they launched and locked nothing: two retriers ran everything twice."""
    for number in range(40):
        shelf.put(f"s{number}")
    shelf.later()
    start = Barrier(4)

    def retrier(name: int) -> int:
        start.wait()
        return len(shelf.retry(holder=f"retrier-{name}").lines)

    with ThreadPoolExecutor(4) as pool:
        counted = list(pool.map(retrier, range(4)))
    assert sum(counted) == 40
    assert Counter(shelf.asked) == Counter({f"s{number}": 1 for number in range(40)})
    assert {letter.attempts for letter in shelf.all()} == {1}


def test_a_letter_of_a_dead_retrier_is_taken_over_under_the_same_key(shelf: Shelf) -> None:
    """A killed process must neither lose the letter, nor use up a retry that never began, nor start a second run."""
    letter = shelf.put("s")
    shelf.later()
    with shelf.registry.writing() as session:
        dead = store.claim(session, letter.letter_id, holder="dead", now=shelf.at, lease_until=shelf.at + LEASE)
    assert dead is not None
    assert not shelf.retry().lines
    shelf.later(seconds=LEASE.total_seconds() + 1)
    keys: list[str] = []

    def handler(taken: Letter) -> Tried:
        keys.append(taken.retry_key)
        return shelf.begin(taken)

    assert shelf.retry(handler).count("begun") == 1
    assert keys == [dead.retry_key]
    assert shelf.letter(letter).attempts == 1


def test_a_retrier_that_slept_through_its_lease_writes_nothing(shelf: Shelf) -> None:
    """It would otherwise undo what its successor did."""
    letter = shelf.put("s")
    shelf.later()

    def slow(taken: Letter) -> Tried:
        shelf.later(seconds=LEASE.total_seconds() + 1)
        assert shelf.retry(holder="quick").count("begun") == 1
        with shelf.registry.writing() as session:
            assert not store.begun(session, taken)
            assert not store.extend(session, taken, lease_until=shelf.at)
        raise RuntimeError("timeout")

    assert shelf.retry(slow, holder="slow").count("overtaken") == 1
    assert (shelf.letter(letter).state, shelf.letter(letter).attempts) == ("processing", 1)


def test_the_last_retry_that_fails_puts_the_letter_aside(shelf: Shelf) -> None:
    """Three retries, not two and not a hundred."""
    letter = shelf.put("s")

    def handler(taken: Letter) -> Tried:
        shelf.asked.append(str(taken.attempts))
        raise PlmsError("connection reset")

    for _ in range(9):
        shelf.later(minutes=5)
        shelf.retry(handler)
    assert shelf.asked == ["1", "2", "3"]
    assert (shelf.letter(letter).state, shelf.letter(letter).attempts) == ("permanent", 3)


def test_a_failed_retry_waits_longer_than_nothing_and_at_most_its_bound(shelf: Shelf) -> None:
    """Backoff that is computed and not kept is no backoff."""
    letters = [shelf.put(f"s{number}") for number in range(30)]
    for retry, bound in ((1, 2.0), (2, 4.0)):
        shelf.later(minutes=5)
        shelf.retry(lambda _letter: Tried("failed", "timeout"))
        waits = [shelf.letter(letter).next_due_at - shelf.at for letter in letters]  # type: ignore[operator]
        assert {shelf.letter(letter).attempts for letter in letters} == {retry}
        assert timedelta(0) <= min(waits)
        assert max(waits) <= timedelta(seconds=bound)
        assert len(set(waits)) == len(waits)


def test_hostile_reasons_are_kept_and_retried_like_others(shelf: Shelf) -> None:
    """A reason is data on its way in, in the database, and on its way out."""
    for number, reason in enumerate(HOSTILE):
        letter = shelf.put(f"s{number}", f"timeout: {reason}")
        assert letter == shelf.letter(letter)
        shelf.later()
        assert shelf.retry(lambda _letter, said=reason: Tried("failed", said)).count("failed") >= 1
        typed = reason.replace("\x00", "").encode("utf-8", "replace").decode()
        with shelf.registry.reading() as session:
            assert store.matching(session, typed) == []
    assert len(shelf.all()) == len(HOSTILE)


def test_one_subject_has_one_letter_however_many_tell_of_it(shelf: Shelf) -> None:
    """Each failed retry of the sources added a new entry with count zero: endless retries, and a count that only grows."""
    start = Barrier(4)

    def tell(_: int) -> None:
        start.wait()
        for _ in range(5):
            shelf.put("s")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tell, range(4)))
    assert [(letter.attempts, letter.state) for letter in shelf.all()] == [(0, "ready")]


def test_a_round_ends_although_nothing_changes(shelf: Shelf) -> None:
    """A clock that stands still and a letter that is always due must not hold a thread for ever."""
    letters = [shelf.put(f"s{number}") for number in range(3)]
    shelf.later()
    done = shelf.retry(lambda _letter: Tried("postponed", "later"), is_forced=True)
    assert len(done.lines) == len(letters)
    assert not done.did_something
    assert all(shelf.letter(letter).next_due_at == shelf.at + timedelta(seconds=30) for letter in letters)
    assert all(replace(letter, state="ready").attempts == 0 for letter in shelf.all())
