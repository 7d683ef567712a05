"""Words, caps, levels, signatures and the stack of champions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plms_pipeline.errors import Conflict
from plms_pipeline.models.decision.levels import Level, Served, breached, levels
from plms_pipeline.models.decision.record import approval_markdown, require_signature, signed
from plms_pipeline.models.decision.stack import before, stack
from plms_pipeline.models.decision.words import ADMITS, BECOMES, CAPS, DECISIONS, caps_of, next_state
from plms_pipeline.models.evaluation.guardrails import GuardrailConfig, with_caps
from plms_pipeline.models.records import Champion
from plms_pipeline.registry.tables.vocabulary import CANDIDATE_STATES

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = b"a key of sixteen bytes"


def champion(sequence: int, candidate: str, kind: str = "promotion") -> Champion:
    sha = "a" * 64
    return Champion(
        f"p{sequence}", "market", sequence, kind, candidate, "f", sha, sha, sha, None, "d",
        NOW + timedelta(days=sequence), "bob",
    )  # fmt: skip


class Promotions(RuleBasedStateMachine):
    """Promotions and rollbacks against a plain list of what a person believes to be below."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Champion] = []
        self.believed: list[str] = []

    @rule()
    def promote(self) -> None:
        name = f"c{len(self.history)}"
        self.history.append(champion(len(self.history) + 1, name))
        self.believed.append(name)

    @precondition(lambda self: len(self.believed) > 1)
    @rule()
    def roll_back(self) -> None:
        self.believed.pop()
        target = before(self.history)
        assert target is not None
        assert target.candidate_id == self.believed[-1]
        self.history.append(champion(len(self.history) + 1, target.candidate_id, "rollback"))

    @invariant()
    def the_stack_is_what_is_believed(self) -> None:
        assert [one.candidate_id for one in stack(self.history)] == self.believed
        if len(self.believed) < 2:
            assert before(self.history) is None


TestPromotions = Promotions.TestCase


class Life(RuleBasedStateMachine):
    """A candidate under any sequence of decisions."""

    def __init__(self) -> None:
        super().__init__()
        self.state = "waiting"
        self.said: list[str] = []

    @rule(word=st.sampled_from(DECISIONS))
    def decide(self, word: str) -> None:
        if word not in ADMITS.get(self.state, ()):
            with pytest.raises(Conflict, match="can still be decided"):
                next_state(self.state, word, "one")
            return
        self.state = next_state(self.state, word, "one")
        self.said.append(word)

    @invariant()
    def it_is_what_was_said_last(self) -> None:
        assert self.state in CANDIDATE_STATES
        assert self.state == (BECOMES[self.said[-1]] if self.said else "waiting")
        assert not any(word in ("reject", "request_retrain") for word in self.said[:-1]), "the end was not the end"


TestLife = Life.TestCase


@pytest.mark.parametrize("state", ["promoted", "replaced", "expired", "rejected", "retrain_requested"])
@pytest.mark.parametrize("word", DECISIONS)
def test_what_is_over_stays_over(state: str, word: str) -> None:
    """A champion that could be rejected would serve without being approved."""
    with pytest.raises(Conflict):
        next_state(state, word, "one")


@given(st.dictionaries(st.sampled_from((*CAPS, "sector:tech", "factor:value")), st.floats(0, 10), min_size=1))
def test_every_cap_that_can_be_decided_is_enforced(caps: dict[str, float]) -> None:
    """A cap that an approval keeps and `/guardrails` does not know would stop the serving of the model it was to tame."""
    found = with_caps(GuardrailConfig(), caps_of(caps, "approve_with_caps") or {})
    for name, cap in caps.items():
        kind, _, member = name.partition(":")
        assert (getattr(found, f"{kind}_caps")[member] if member else getattr(found, name)) == cap


@pytest.mark.parametrize(
    ("served", "names"),
    [
        (Served(), []),
        (Served(requests=200, errors=1), []),
        (Served(requests=1, errors=1), []),
        (Served(requests=10, errors=2), ["answers that failed"]),
        (Served(requests=100, slow_750=6), ["answers slower than 750 ms"]),
        (Served(requests=1000, guardrail_requests=100, slow_250=6), ["books judged slower than 250 ms"]),
        (Served(requests=100, guardrail_requests=100, slow_250=5), []),
        (Served(trades_evaluated=1000, violations=3), []),
        (Served(trades_evaluated=1000, violations=4), ["trades beyond a limit"]),
    ],
)
def test_service_levels(served: Served, names: list[str]) -> None:
    """The source's page went off at any single error, and its level of violations could not be computed at all."""
    assert [level.name for level in breached(levels(long=served, short=served))] == names


def test_a_level_tells_its_share() -> None:
    """Nothing measured is unknown, not perfect."""
    assert Level("x", 0, 0, 0.1, timedelta(hours=1)).share is None
    assert "1 of 4 in 1 h" in Level("x", 1, 4, 0.1, timedelta(hours=1)).sentence


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.none(), max_size=4))
def test_a_signature_holds_for_its_record_alone(document: dict[str, object]) -> None:
    """A signature that fits two records signs the second one unseen."""
    document.pop("signature", None)
    made = signed(document, KEY)
    require_signature(made, KEY)
    for wrong in (made | {"more": 1}, {**made, "signature": "hmac-sha256=00"}):
        with pytest.raises(Conflict) as refused:
            require_signature(wrong, KEY)
        assert refused.value.code == "bad_signature"
    with pytest.raises(Conflict):
        require_signature(made, b"another key of bytes")
    with pytest.raises(Conflict) as refused:
        require_signature(document, KEY)
    assert refused.value.code == "not_signed"
    require_signature(document, None)


def test_a_rationale_is_text_and_nothing_else() -> None:
    """What somebody typed must not become markup on the page that people sign."""
    document = {
        "decision": "approve", "run_id": "r", "caps": {"max_turnover": 0.5}, "reviewer_verified": True, "alerts_seen": ["a_b"],
        "escalation_path": ["risk_lead: sign-off"], "rationale": "<script>|[x](http://y)\n# title", "role": "risk_lead",
    }  # fmt: skip
    text = approval_markdown(document)
    assert "<script>" not in text.replace("\\<", "")
    assert "\\# title" in text
    assert "max\\_turnover = 0.5" in text


def test_a_rollback_to_an_old_one_forgets_what_lay_between() -> None:
    """Whoever goes back three steps and then one more means the fourth."""
    history = [champion(n, name) for n, name in enumerate(("a", "b", "c", "d"), 1)]
    history.append(replace(champion(5, "b"), kind="rollback"))
    assert [one.candidate_id for one in stack(history)] == ["a", "b"]
    found = before(history)
    assert found is not None
    assert found.candidate_id == "a"
