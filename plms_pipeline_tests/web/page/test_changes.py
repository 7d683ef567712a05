"""Is everything that changed told, to whoever comes back as well, and nothing that did not?"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import hypothesis.strategies as st
from hypothesis import given

from plms_pipeline.budget.depletion import UNKNOWN
from plms_pipeline.runs.remaining import NOTHING
from plms_pipeline.web.page.changes import EVERYTHING, REMEMBERED, SECTIONS, Change, Log, between, event
from plms_pipeline.web.page.facts import LaneFacts, ProjectFacts, Snapshot, Switch, Waiting

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROJECT = ProjectFacts(
    42, "Calculator", "executing", "ana", "pause", None, Decimal(2), Decimal(1), 4, Decimal(1), Decimal(0),
    NOTHING, AT, Decimal(1), UNKNOWN, UNKNOWN, (), 3, 2, None,
)  # fmt: skip
LANE = LaneFacts(4200, "Code-API", "", 4, True, 1, 0, 0, None)
EMPTY = Snapshot((PROJECT,), 1, (LANE,), (), (), (), (), (), (None, None))
changes = st.builds(
    Change, st.frozensets(st.sampled_from(SECTIONS), min_size=1), st.frozensets(st.integers(1, 9)),
    st.frozensets(st.sampled_from([4200, 4201])), st.frozensets(st.sampled_from("abc")),
)  # fmt: skip


def test_equal_snapshots_change_nothing() -> None:
    """A page that asks for everything after every commit is a load test."""
    assert not between(EMPTY, replace(EMPTY))


def test_what_changed_is_named_and_nothing_else() -> None:
    """What is not named stays as it was on every wall."""
    spent = replace(PROJECT, spent_usd=Decimal(2))
    assert between(EMPTY, replace(EMPTY, projects=(spent,))) == Change(frozenset({"projects"}), frozenset({42}))
    learnt = between(EMPTY, replace(EMPTY, projects=(replace(PROJECT, receipts=4),)))
    assert learnt.sections == {"projects", "risk", "drift"}
    busy = between(EMPTY, replace(EMPTY, lanes=(replace(LANE, running=2),)))
    assert (busy.sections, busy.lanes) == ({"portfolio"}, {4200})
    assert between(EMPTY, replace(EMPTY, projects=(), projects_in_all=0)).projects == {42}
    asked = Waiting("paused_project", "42", AT, None, 42, "Calculator", None, None, ())
    assert between(EMPTY, replace(EMPTY, waiting=(asked,))).sections == {"inbox"}
    stopped = Switch("global", "", "runaway spend", "ana", AT)
    assert between(EMPTY, replace(EMPTY, switches=(stopped,))).sections == {"killswitch", "portfolio"}
    assert between(EMPTY, replace(EMPTY, outside=("a flag", None))).sections == {"killswitch", "portfolio"}
    assert between(EMPTY, replace(EMPTY, outside=(None, ("2026-03-01", 1, 2)))).sections == {"proofs"}
    assert between(EMPTY, replace(EMPTY, alerts=(("runway_t5", "42", "firing"),))).sections == {"alerts"}


@given(st.lists(changes, max_size=12), st.integers(0, 12))
def test_whoever_comes_back_is_told_everything_that_he_missed(told: list[Change], seen: int) -> None:
    """A laptop that slept through a kill switch must not wake up to a green page."""
    log = Log("a")
    for change in told:
        log.add(change)
    seen = min(seen, len(told))
    missed = log.since(seen)
    whole = Change()
    for change in told[seen:]:
        whole |= change
    assert missed == whole


def test_what_is_forgotten_is_not_called_nothing() -> None:
    """An empty answer would read as "nothing happened"."""
    log = Log("a")
    for _ in range(REMEMBERED + 1):
        log.add(EVERYTHING)
    assert log.since(0) is None
    assert log.since(1) == EVERYTHING


def test_an_id_of_another_process_or_of_nobody_means_nothing() -> None:
    """With several workers a page may come back to another one, whose numbers are its own."""
    log = Log("abc")
    log.add(EVERYTHING)
    assert log.number_of(log.id_of(1)) == 1
    for foreign in (None, "", "abd-1", "abc-2", "abc-", "abc--1", "abc-1x", "abc-²", "1", "abc-" + "9" * 30):
        assert log.number_of(foreign) is None, foreign


def test_an_event_cannot_be_broken_by_what_it_says() -> None:
    """A line break in the data would end the event early, and what follows could pretend to be another."""
    told = event("beat", {"detail": "one\n\nevent: bye\ndata: {}"}, "a-1")
    assert told.count(b"\n\n") == 1
    assert told.startswith(b"id: a-1\nevent: beat\ndata: ")
    assert json.loads(told.split(b"data: ", 1)[1])["detail"].startswith("one\n\nevent")
