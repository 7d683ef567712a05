"""Gates: typed thresholds, formulas that can only be stricter, verdicts that need a question."""

from __future__ import annotations

import contextlib
import json
import math
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.gates import (
    ECHO_THRESHOLD,
    Condition,
    Gate,
    combine,
    condition,
    echo_gate,
    parse_formula,
    verdict_of,
)
from plms_pipeline.kpis.vocabulary import ECHO, KPI_NAMES, KPIS

TEXTBOOK = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt, "!=": operator.ne,
}  # fmt: skip
NUMBERS = st.one_of(st.integers(-5, 5), st.floats(-5, 5, allow_nan=False), st.sampled_from([0.0, 0.05, 0.9, 0.95, 1.0]))


@st.composite
def gates_of_lane_and_task(draw: Any) -> tuple[list[Gate], list[Gate]]:
    def some() -> list[Gate]:
        kpis = draw(st.lists(st.sampled_from(sorted(KPI_NAMES)), unique=True, max_size=4))
        return [
            Gate(
                kpi,
                tuple(
                    condition(kpi, draw(st.sampled_from(["==", "!="])), draw(st.booleans()))
                    if KPIS[kpi].kind == "flag"
                    else condition(kpi, draw(st.sampled_from(sorted(TEXTBOOK))), draw(NUMBERS))
                    for _ in range(draw(st.integers(1, 3)))
                ),
                draw(st.booleans()),
            )
            for kpi in kpis
        ]

    return some(), some()


VALUES = st.dictionaries(
    st.sampled_from(sorted(KPI_NAMES)), st.one_of(st.none(), st.booleans(), NUMBERS, st.just(math.nan))
)


@given(value=NUMBERS, name=st.sampled_from(sorted(TEXTBOOK)), threshold=NUMBERS)
def test_every_operator_means_what_mathematics_says(value: float, name: str, threshold: float) -> None:
    """A gate that compares the wrong way lets bad work through."""
    assert Condition(name, threshold).holds(value) is TEXTBOOK[name](value, threshold)


@pytest.mark.parametrize("name", sorted(TEXTBOOK))
def test_nan_satisfies_no_operator(name: str) -> None:
    """NaN != 0.9 is true in IEEE arithmetic; a KPI that is not a number must not pass by that."""
    assert not Condition(name, 0.9).holds(math.nan)


@given(gates_of_lane_and_task(), VALUES)
def test_a_combined_gate_passes_only_if_the_lane_passes(
    both: tuple[list[Gate], list[Gate]], values: dict[str, Any]
) -> None:
    """A task's own formula must never lower the bar of its lane, whatever it says."""
    lane, task = both
    combined = {gate.kpi: gate for gate in combine(lane, task)}
    for gate in lane:
        together = combined[gate.kpi]
        assert not together.holds(values.get(gate.kpi)) or gate.holds(values.get(gate.kpi))
        assert together.blocks or not gate.blocks


@given(gates_of_lane_and_task(), VALUES)
def test_a_combined_gate_is_exactly_both(both: tuple[list[Gate], list[Gate]], values: dict[str, Any]) -> None:
    """A stricter formula that has no effect would be a promise to the task's owner that is not kept."""
    lane, task = both
    for gate in combine(lane, task):
        value = values.get(gate.kpi)
        parts = [each for each in (*lane, *task) if each.kpi == gate.kpi]
        assert gate.holds(value) is all(each.holds(value) for each in parts)


@given(gates_of_lane_and_task())
def test_combining_again_changes_nothing(both: tuple[list[Gate], list[Gate]]) -> None:
    """The digest of the gates decides whether an artifact is measured again; it must not depend on history."""
    once = combine(*both)
    assert combine(once, ()) == once
    assert combine(once, both[1]) == once or {g.kpi: set(g.conditions) for g in combine(once, both[1])} == {
        g.kpi: set(g.conditions) for g in once
    }


def test_a_looser_task_threshold_disappears_and_a_stricter_one_stays() -> None:
    """The receipt shows the one threshold that decides."""
    lane = (Gate("test_pass_rate", (Condition(">=", 0.9),)), Gate("readability", (Condition("<=", 10.0),)))
    task = parse_formula('{"test_pass_rate": {">=": 0.5}, "readability": {"<=": 8}}')
    combined = {gate.kpi: gate.as_json() for gate in combine(lane, task)}
    assert combined == {"readability": {"<=": 8}, "test_pass_rate": {">=": 0.9}}


def test_contradicting_conditions_never_pass() -> None:
    """A formula that asks the impossible fails; it is not resolved in the artifact's favour."""
    [gate] = combine([Gate("schema_diff", (Condition("==", 0),))], parse_formula('{"schema_diff": {"==": 1}}'))
    assert gate.as_json() == {"==": [0, 1]}
    assert not any(gate.holds(value) for value in range(5))


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        ('{"code_tests": {">=": 0.9}}', "unknown_kpi"),
        ('{"test_pass_rate": {"=>": 0.9}}', "unknown_operator"),
        ('{"test_pass_rate": {">=": "0.9"}}', "bad_threshold"),
        ('{"test_pass_rate": {">=": true}}', "bad_threshold"),
        ('{"test_pass_rate": {">=": null}}', "bad_threshold"),
        ('{"test_pass_rate": {">=": 1e999}}', "bad_threshold"),
        ('{"linter_pass": {"==": 1}}', "bad_threshold"),
        ('{"linter_pass": {">=": true}}', "bad_threshold"),
        ('{"test_pass_rate": {">=": NaN}}', "bad_kpi_formula"),
        ('{"test_pass_rate": {">=": 0.9, ">=": 0.1}}', "bad_kpi_formula"),
        ('{"test_pass_rate": {}}', "bad_kpi_formula"),
        ('{"test_pass_rate": 0.9}', "bad_kpi_formula"),
        ("[1, 2]", "bad_kpi_formula"),
        ("null", "bad_kpi_formula"),
        ("", "bad_kpi_formula"),
        ("{", "bad_kpi_formula"),
        ("[" * 100_000, "bad_kpi_formula"),
    ],
)
def test_a_formula_that_cannot_be_judged_is_an_error(formula: str, code: str) -> None:
    """The original dropped unknown names without a word, and two lanes were gated by the linter alone."""
    with pytest.raises(BadInput) as caught:
        parse_formula(formula)
    assert caught.value.code == code
    assert caught.value.exit_code == 2


SCALARS = st.none() | st.booleans() | st.floats() | st.text(max_size=5)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(st.text(max_size=60) | TREES.map(json.dumps))
def test_any_text_is_either_gates_or_one_clear_error(text: str) -> None:
    """The nightly check reads formulas that people typed; it must never crash on one."""
    with contextlib.suppress(BadInput):
        assert all(gate.kpi in KPI_NAMES for gate in parse_formula(text))


def test_what_was_not_measured_holds_nothing() -> None:
    """A missing input is a failed gate, whatever the operator."""
    for name in TEXTBOOK:
        assert not Gate("readability", (Condition(name, 10.0),)).holds(None)


def test_the_deciding_condition_is_the_first_that_fails() -> None:
    """A receipt has room for one threshold; it must be the one that explains the verdict."""
    gate = Gate("readability", (Condition(">=", 1.0), Condition("<=", 10.0)))
    assert gate.deciding(12.0) == Condition("<=", 10.0)
    assert gate.deciding(5.0) == Condition(">=", 1.0)
    assert gate.deciding(None) == Condition(">=", 1.0)


def test_a_lane_without_gates_is_ungated_and_never_passed() -> None:
    """In the original a lane with 0 of 0 KPIs passed, and untested work was called good."""
    assert verdict_of((), {ECHO: True}) == "ungated"
    assert verdict_of((), {ECHO: True}, echo_blocks=True) == "ungated"
    assert verdict_of((), {ECHO: False}, echo_blocks=True) == "failed"


def test_the_echo_advises_unless_it_is_enforced() -> None:
    """The guide says the echo never blocks; the original's exit code said otherwise."""
    gates = (Gate("linter_pass", (Condition("==", True),)),)
    assert verdict_of(gates, {"linter_pass": True, ECHO: False}) == "passed"
    assert verdict_of(gates, {"linter_pass": True, ECHO: False}, echo_blocks=True) == "failed"
    assert verdict_of(gates, {"linter_pass": False, ECHO: True}) == "failed"


def test_a_gate_that_does_not_block_does_not_decide() -> None:
    """A lane may watch a KPI before it lets it block."""
    gates = (Gate("readability", (Condition("<=", 10.0),), blocks=False),)
    assert verdict_of(gates, {"readability": False, ECHO: False}) == "ungated"


def test_the_echo_bar_is_a_constant_of_ours() -> None:
    """In the original an artifact could bring its own echo threshold."""
    assert echo_gate(enforced=False) == Gate(ECHO, (Condition(">=", 0.82),), blocks=False)
    assert ECHO_THRESHOLD == 0.82
