"""Do letters stay true while everybody does everything to them at once?"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from threading import Barrier, Lock
from typing import Any

import pytest

from plms_pipeline.errors import Conflict
from plms_pipeline.letters import store
from plms_pipeline.letters.actions.deciding import clean, mark_permanent, quarantine, reset_retries
from plms_pipeline.letters.actions.retrying import Tried
from plms_pipeline.letters.actions.showing import status
from plms_pipeline.letters.rules import Failure, Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.letters.desk import ANN, Shelf

SUBJECTS = [f"s{number}" for number in range(9)]
STEPS = 40


@dataclass
class Storm:
    """Runs that are under way outside, as an executor would know them."""

    shelf: Shelf
    under_way: dict[str, str] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)
    parents: Counter[str] = field(default_factory=Counter)
    resets: Counter[str] = field(default_factory=Counter)
    lock: Any = field(default_factory=Lock)
    made: int = 0

    def begin(self, letter: Letter) -> Tried:
        with self.lock:
            self.made += 1
            new = f"run-{self.made}"
        with self.shelf.registry.writing() as session:
            if not store.begun(session, letter, run_id=new):
                return Tried("overtaken", "")
        with self.lock:
            self.under_way[letter.subject_id] = new
            self.begun[letter.subject_id] += 1
            self.parents[letter.run_id or ""] += 1
        return Tried("begun", "", new)

    def end_one(self, chance: Random) -> None:
        with self.lock:
            if not self.under_way:
                return
            subject = chance.choice(sorted(self.under_way))
            run_id = self.under_way.pop(subject)
        failure = Failure(kind="run", subject_id=subject, reason="timeout", run_id=run_id)
        with self.shelf.registry.writing() as session:
            known = store.of_subject(session, "run", subject)
            if known is not None and known.run_id != run_id:
                # As settlement does: another run of the chain is the present one by now.
                return
            store.put(session, failure, now=self.shelf.at, actor="settlement")

    def reset(self, subject: str) -> None:
        # Counted before: the retries of the new beginning may be over before this thread goes on.
        with self.lock:
            self.resets[subject] += 1
        reset_retries(self.shelf.registry, subject, clock=self.shelf, actor=ANN, reason="again")


def deed(storm: Storm, chance: Random, may_decide: bool) -> None:
    shelf, subject = storm.shelf, chance.choice(SUBJECTS)
    number = chance.randrange(12)
    if number < 5:
        shelf.retry(storm.begin, holder=f"retrier-{chance.randrange(3)}", is_forced=chance.random() < 0.5, limit=4)
    elif number < 9 or not may_decide:
        storm.end_one(chance)
    elif number == 9:
        mark_permanent(shelf.registry, subject, clock=shelf, actor=ANN, reason="stop")
    elif number == 10:
        quarantine(shelf.registry, clock=shelf, actor=ANN, reason="look", name=subject)
    else:
        storm.reset(subject)
        clean(shelf.registry, clock=shelf, actor=ANN, days=0)


@pytest.mark.parametrize("may_decide", [False, True])
def test_retriers_executors_and_people_at_once_lose_nothing_and_begin_nothing_twice(
    registry: Registry, may_decide: bool
) -> None:
    """Each failed run is retried at most once, and each letter at most three times between two decisions to begin anew."""
    storm = Storm(Shelf(registry))
    for subject in SUBJECTS:
        storm.shelf.put(subject, kind="run", run_id=f"first-{subject}")
    storm.shelf.later()
    start = Barrier(4)

    def one(number: int) -> None:
        chance = Random(number)
        start.wait()
        for _ in range(STEPS):
            with suppress(Conflict):
                deed(storm, chance, may_decide)
            with storm.lock:
                storm.shelf.at += timedelta(seconds=2)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    assert set(storm.parents.values()) <= {1}
    for subject in SUBJECTS:
        assert storm.begun[subject] <= 3 * (1 + storm.resets[subject])
    letters = {letter.subject_id: letter for letter in storm.shelf.all()}
    assert sorted(letters) == SUBJECTS
    for subject, run_id in storm.under_way.items():
        if letters[subject].state == "processing":
            assert letters[subject].run_id == run_id
    if not may_decide:
        while storm.under_way:
            storm.end_one(Random(0))
        for _ in range(4):
            storm.shelf.later(hours=1)
            storm.shelf.retry(storm.begin)
            while storm.under_way:
                storm.end_one(Random(0))
        assert {(letter.state, letter.attempts) for letter in storm.shelf.all()} == {("permanent", 3)}
        assert status(registry, clock=storm.shelf).backlog == 0
