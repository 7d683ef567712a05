"""Do people's decisions about letters hold, and do the counts tell the truth afterwards?"""

from __future__ import annotations

import pytest

from plms_pipeline.errors import BadInput, Conflict, NoData, NotFound
from plms_pipeline.letters import store
from plms_pipeline.letters.actions.deciding import (
    clean,
    letter_named,
    mark_permanent,
    quarantine,
    require_retryable,
    reset_retries,
)
from plms_pipeline.letters.actions.retrying import Tried
from plms_pipeline.letters.actions.showing import as_json, status
from plms_pipeline.letters.rules import Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.letters.desk import ANN, Shelf


@pytest.fixture
def shelf(registry: Registry) -> Shelf:
    return Shelf(registry)


def well(_: Letter) -> Tried:
    return Tried("recovered", "well")


def test_cleaning_removes_what_is_done_and_nothing_else(shelf: Shelf) -> None:
    """The sources removed the whole folder of permanent failures once it was old."""
    for state in ("ready", "done", "permanent", "quarantined", "processing"):
        shelf.put(state)
    shelf.later()
    shelf.retry(well, only=[letter.letter_id for letter in shelf.all() if letter.subject_id == "done"])
    mark_permanent(shelf.registry, "permanent", clock=shelf, actor=ANN, reason="hopeless")
    quarantine(shelf.registry, clock=shelf, actor=ANN, reason="look", name="quarantined")
    shelf.retry(only=[letter.letter_id for letter in shelf.all() if letter.subject_id == "processing"])
    shelf.later(days=400)
    assert clean(shelf.registry, clock=shelf, actor=ANN, days=7, is_dry=True).removed == 1
    assert clean(shelf.registry, clock=shelf, actor=ANN, days=500).removed == 0
    assert clean(shelf.registry, clock=shelf, actor=ANN, days=0).removed == 1
    assert shelf.states() == {name: name for name in ("ready", "permanent", "quarantined", "processing")}
    with pytest.raises(BadInput):
        clean(shelf.registry, clock=shelf, actor=ANN, days=-1)
    for days in (3_000_000, 10**12):  # before the year 1; more than a timedelta holds
        with pytest.raises(BadInput, match="calendar"):
            clean(shelf.registry, clock=shelf, actor=ANN, days=days)


def test_what_is_done_since_yesterday_is_kept_for_a_week(shelf: Shelf) -> None:
    """The proof that a retry helped is what people look for the morning after."""
    shelf.put("s")
    shelf.later()
    shelf.retry(well)
    shelf.later(days=1)
    assert clean(shelf.registry, clock=shelf, actor=ANN).removed == 0
    shelf.later(days=7)
    assert clean(shelf.registry, clock=shelf, actor=ANN).removed == 1


def test_the_backlog_falls_when_work_recovers(shelf: Shelf) -> None:
    """The sources counted the lines of a file that only grows."""
    for number in range(6):
        shelf.put(f"s{number}")
    shelf.put("never", "contains pii")
    before = status(shelf.registry, clock=shelf)
    assert (before.backlog, before.by_state["permanent"], before.retry_success) == (6, 1, None)
    shelf.later()
    shelf.retry(lambda letter: well(letter) if letter.subject_id < "s4" else Tried("given_up", "gone"))
    after = status(shelf.registry, clock=shelf)
    assert (after.backlog, after.due, after.by_state["done"], after.by_state["permanent"]) == (0, 0, 4, 3)
    assert after.retry_success == pytest.approx(4 / 6)
    assert after.by_class == {"TRANSIENT": 0, "PERMANENT": 2, "POLICY": 1}
    assert after.oldest_open_at is None
    told = after.as_json()
    assert (told["backlog"], told["retry_success_ratio"]) == (0, pytest.approx(2 / 3))


def test_poison_is_grouped_and_set_apart_by_its_fingerprint(shelf: Shelf) -> None:
    """A hundred letters of one cause are one decision, and the hundred and first cause goes on."""
    for number in range(10):
        shelf.put(f"poison{number}", f"timeout after {number} s at /tmp/{number}/x")
    shelf.put("other", "connection reset")
    group = status(shelf.registry, clock=shelf).groups[0]
    assert (group.letters, group.open_letters) == (10, 10)
    moved = quarantine(shelf.registry, clock=shelf, actor=ANN, reason="one cause", fingerprint=group.fingerprint)
    assert len(moved) == 10
    shelf.later()
    shelf.retry()
    assert shelf.asked == ["other"]
    assert quarantine(shelf.registry, clock=shelf, actor=ANN, reason="again", fingerprint=group.fingerprint) == []
    assert len(shelf.audited("letter.quarantine")) == 10


def test_the_whole_backlog_can_be_set_apart_and_brought_back_one_by_one(shelf: Shelf) -> None:
    """Before a restore nothing must be retried, and nothing may be lost."""
    for number in range(5):
        shelf.put(f"s{number}")
    shelf.put("permanent", "odd")
    assert len(quarantine(shelf.registry, clock=shelf, actor=ANN, reason="restore")) == 5
    shelf.later(hours=1)
    assert not shelf.retry(is_forced=True).lines
    with pytest.raises(Conflict):
        require_retryable(letter_named(shelf.registry, "s3"))
    back = reset_retries(shelf.registry, "s3", clock=shelf, actor=ANN, reason="it is over")
    assert (back.state, back.attempts, back.next_due_at) == ("ready", 0, shelf.at)
    shelf.retry()
    assert shelf.asked == ["s3"]


def test_a_person_may_say_that_a_permanent_failure_was_passing_but_never_that_a_policy_was(shelf: Shelf) -> None:
    """After a fix the event that could not be settled is wanted; a violation is wanted by nobody."""
    shelf.put("odd", "KeyError: 'x'")
    shelf.put("pii", "contains pii")
    with pytest.raises(Conflict, match="--transient"):
        reset_retries(shelf.registry, "odd", clock=shelf, actor=ANN, reason="fixed")
    again = reset_retries(shelf.registry, "odd", clock=shelf, actor=ANN, reason="fixed", is_transient=True)
    assert (again.error_class, again.state) == ("TRANSIENT", "ready")
    with pytest.raises(Conflict) as refused:
        reset_retries(shelf.registry, "pii", clock=shelf, actor=ANN, reason="please", is_transient=True)
    assert refused.value.code == "never_retried"
    assert shelf.audited("letter.reset") == [("ann", "fixed")]


def test_retries_begin_anew_only_where_none_is_under_way(shelf: Shelf) -> None:
    """Two retries of one run at once are what the lease is for."""
    letter = shelf.put("s")
    shelf.later()
    shelf.retry()
    with pytest.raises(Conflict) as refused:
        reset_retries(shelf.registry, "s", clock=shelf, actor=ANN, reason="faster")
    assert refused.value.code == "letter_not_resettable"
    assert shelf.letter(letter).state == "processing"


def test_setting_apart_nothing_is_no_success(shelf: Shelf) -> None:
    """ "0 letters set apart" with exit 0 was read as done; the letter of a mistyped cause was retried on."""
    shelf.put("pii", "contains pii")
    with pytest.raises(Conflict, match="is permanent") as refused:
        quarantine(shelf.registry, clock=shelf, actor=ANN, reason="look", name="pii")
    assert refused.value.code == "letter_not_owed"
    with pytest.raises(NoData) as missing:
        quarantine(shelf.registry, clock=shelf, actor=ANN, reason="look", fingerprint="0000")
    assert missing.value.code == "fingerprint_not_found"
    assert quarantine(shelf.registry, clock=shelf, actor=ANN, reason="restore") == []


def test_decisions_need_a_reason_and_a_letter(shelf: Shelf) -> None:
    """What was put aside without a word is what nobody dares to clean."""
    shelf.put("s")
    with pytest.raises(BadInput):
        mark_permanent(shelf.registry, "s", clock=shelf, actor=ANN, reason="  ")
    with pytest.raises(NotFound):
        mark_permanent(shelf.registry, "nothing", clock=shelf, actor=ANN, reason="x")
    stopped = mark_permanent(shelf.registry, "s", clock=shelf, actor=ANN, reason="hopeless \x1b[2J")
    assert (stopped.state, stopped.last_actor) == ("permanent", "ann")
    assert "\x1b" not in shelf.audited("letter.stop")[0][1]
    with pytest.raises(Conflict) as refused:
        mark_permanent(shelf.registry, "s", clock=shelf, actor=ANN, reason="again")
    assert refused.value.code == "letter_ended"


def test_a_letter_is_found_by_the_beginning_of_its_id_and_by_what_failed(shelf: Shelf) -> None:
    """Nobody types 36 characters at three in the morning; a wildcard must not find them all."""
    letter = shelf.put("start_run:abc", run_id="abc")
    for name in (letter.letter_id, letter.letter_id[:8], "start_run:abc", "abc"):
        assert letter_named(shelf.registry, name) == letter
    for name in ("%", "____", letter.letter_id[:3], ""):
        with pytest.raises(NotFound):
            letter_named(shelf.registry, name)
    shelf.put("other", run_id="abc")
    with pytest.raises(BadInput):
        letter_named(shelf.registry, "abc")


def test_a_letter_is_found_by_the_beginning_of_its_run_too(shelf: Shelf) -> None:
    """The lists of runs show the beginning of their ids; what is a whole name of one letter is no beginning of another's."""
    one, other = shelf.put("0a1b2c3d-0001", kind="run"), shelf.put("0a1b2c3d-1002", kind="run", run_id="0a1b")
    assert letter_named(shelf.registry, "0a1b2c3d-0") == letter_named(shelf.registry, "0a1b2c3d-0001") == one
    assert letter_named(shelf.registry, "0a1b") == other
    with pytest.raises(BadInput):
        letter_named(shelf.registry, "0a1b2c3d")


def test_a_letter_that_recovered_elsewhere_is_done_even_if_it_was_set_apart(shelf: Shelf) -> None:
    """The run that was under way ended well: there is nothing left to decide."""
    letter = shelf.put("s")
    quarantine(shelf.registry, clock=shelf, actor=ANN, reason="look", name="s")
    with shelf.registry.writing() as session:
        assert store.recover(session, letter.letter_id, now=shelf.at, actor="settlement")
        assert not store.recover(session, letter.letter_id, now=shelf.at, actor="settlement")
    assert as_json(shelf.letter(letter))["state"] == "done"
