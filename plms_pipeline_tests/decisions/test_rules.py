"""Who may be the second person, and which reason is one?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.access.actors import Actor
from plms_pipeline.decisions.rules import MAX_REASON, reason_of, require_second_person, word_of
from plms_pipeline.errors import BadInput, Forbidden

ANN, BEN = Actor("ann", is_verified=True), Actor("ben", is_verified=True)
names = st.text(min_size=1, max_size=20)


def is_let_pass(actor: Actor, asked: str | None, *, auth_disabled: bool = False) -> bool:
    try:
        require_second_person(actor, asked, auth_disabled=auth_disabled)
    except Forbidden:
        return False
    return True


def test_another_verified_person_is_the_second() -> None:
    """Otherwise nothing is ever approved."""
    assert is_let_pass(BEN, "ann")
    assert is_let_pass(BEN, None)
    assert not is_let_pass(ANN, "ann")


@pytest.mark.parametrize("asked", ["ann", "local:ann", "Ann"])
def test_whoever_asked_is_not_the_second_person(asked: str) -> None:
    """One person would approve her own spending: asked from the terminal, approved with her token."""
    with pytest.raises(Forbidden) as refused:
        require_second_person(ANN, asked, auth_disabled=False)
    assert refused.value.code == "same_person"


@given(names, st.none() | names)
def test_nobody_that_nothing_vouched_for_is_the_second_person(name: str, asked: str | None) -> None:
    """An account's name costs one `su`; ann would approve as `local:ann` what she asked for as `ann`."""
    with pytest.raises(Forbidden) as refused:
        require_second_person(Actor(name), asked, auth_disabled=False)
    assert refused.value.code == "unverified_decider"


@given(names, st.booleans(), st.none() | names)
def test_one_person_alone_may_lift_the_rule(name: str, verified: bool, asked: str | None) -> None:
    """On a laptop there is no second person, and PLMS_AUTH=disabled says so."""
    assert is_let_pass(Actor(name, is_verified=verified), asked, auth_disabled=True)


@given(st.text(max_size=MAX_REASON + 50))
def test_a_reason_that_is_kept_can_be_stored_and_says_something(text: str) -> None:
    """NUL and half a surrogate pair are what no database takes; an empty reason is what everybody asks about later."""
    if not text.strip() or len(text.strip()) > MAX_REASON:
        with pytest.raises(BadInput):
            reason_of(text)
        return
    reason = reason_of(text)
    assert reason == reason.strip()
    assert reason
    assert "\x00" not in reason
    reason.encode()


def test_a_kind_is_a_word() -> None:
    """A kind with a blank in it is found by no query."""
    assert word_of("kpi_override", "kind") == "kpi_override"
    for wrong in ("", "KPI", "kpi override", "1st", "x" * 33):
        with pytest.raises(ValueError, match="is no kind"):
            word_of(wrong, "kind")
