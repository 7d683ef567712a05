"""A task's own gates may be stricter than its lane's, never looser, and never impossible."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.gates import OPERATORS, Gate, condition
from plms_pipeline.runs.plan_gates import combined_text, faults, formula_gates, formula_text, project_gates

thresholds = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
operators = st.sampled_from(sorted(OPERATORS))
GRID = [step / 1000 for step in range(1001)]


def gate(kpi: str, **asked: Any) -> Gate:
    names = {"ge": ">=", "le": "<=", "eq": "==", "gt": ">", "lt": "<", "ne": "!="}
    return Gate(kpi, tuple(condition(kpi, names[name], value) for name, value in asked.items()))


@given(operators, thresholds, operators, thresholds)
def test_looser_and_impossible_are_what_a_fine_grid_says(own_op: str, own: float, lane_op: str, lane: float) -> None:
    """The rule is decided by a handful of points; a thousand and one must not contradict it."""
    mine = Gate("test_pass_rate", (condition("test_pass_rate", own_op, own),))
    theirs = Gate("test_pass_rate", (condition("test_pass_rate", lane_op, lane),))
    passes = [point for point in GRID if mine.holds(point)]
    base = [point for point in GRID if theirs.holds(point)]
    assume(base)
    found = faults([mine], [theirs])
    looser = set(base) < set(passes)
    impossible = not set(base) & set(passes)
    assert any("looser" in fault for fault in found) == looser
    assert any("no value" in fault for fault in found) == impossible


@pytest.mark.parametrize(
    ("own", "lane", "fault"),
    [
        (gate("test_pass_rate", ge=0.95), gate("test_pass_rate", ge=0.9), None),
        (gate("test_pass_rate", ge=0.8), gate("test_pass_rate", ge=0.9), "looser"),
        (gate("test_pass_rate", gt=0.9), gate("test_pass_rate", ge=0.9), None),
        (gate("readability", le=12), gate("readability", le=10), "looser"),
        (gate("readability", le=8, ge=-5), gate("readability", le=10), None),
        (gate("schema_diff", lt=1), gate("schema_diff", eq=0), None),
        (gate("schema_diff", le=1), gate("schema_diff", eq=0), "looser"),
        (gate("schema_diff", ge=1), gate("schema_diff", eq=0), "no value"),
        (gate("linter_pass", eq=True), gate("linter_pass", eq=True), None),
        (gate("linter_pass", ne=True), gate("linter_pass", eq=True), "no value"),
        (gate("row_count_delta", le=-1), None, "no value"),
        (gate("test_pass_rate", ge=2), None, "such as 0.95 for 95 %"),
        (gate("test_pass_rate", ge=0.5, le=95), None, "such as 0.95 for 95 %"),
        (gate("bleu_score", ne=40), None, "between 0 and 1"),
        (gate("schema_diff", gt=-1), None, "write 0 or more"),
        (gate("bleu_score", ge=0.1), None, None),
        (gate("row_count_delta", le=0.2), gate("row_count_delta", le=0.05), "looser"),
    ],
)
def test_examples_that_people_write(own: Gate, lane: Gate | None, fault: str | None) -> None:
    """A bar that looks lowered is as bad as one that is."""
    found = faults([own], [lane] if lane else [])
    assert ([] if fault is None else [True]) == [fault in one for one in found if fault], found
    assert bool(found) == (fault is not None)


def test_a_formula_is_read_from_a_mapping_or_its_text() -> None:
    """YAML people write the mapping, CSV people the JSON."""
    document = {"test_pass_rate": {">=": 0.95}, "linter_pass": {"==": True}}
    assert formula_gates(document) == formula_gates(json.dumps(document))
    assert formula_text(formula_gates(document)) == '{"linter_pass":{"==":true},"test_pass_rate":{">=":0.95}}'
    assert formula_text(()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": {">=": 1}},
        {"linter_pass": {">=": True}},
        [1],
        {"test_pass_rate": {">=": "x"}},
        {"test_pass_rate": {}},
        {"bleu_score": {"≥": 1}},
        {"bleu_score": {">=": float("nan")}},
    ],
)
def test_a_formula_that_cannot_be_judged_is_refused(wrong: Any) -> None:
    """The original dropped unknown KPIs without a word, and two lanes went ungated for months."""
    with pytest.raises(BadInput):
        formula_gates(wrong)


def test_project_and_task_hold_both() -> None:
    """The stricter of two bounds stays; what contradicts cannot be written down."""
    both = combined_text(formula_gates({"readability": {"<=": 9}}), formula_gates({"readability": {"<=": 8}}))
    assert both == '{"readability":{"<=":8}}'
    with pytest.raises(BadInput, match="two conditions of one operator"):
        combined_text(formula_gates({"schema_diff": {"==": 0}}), formula_gates({"schema_diff": {"==": 1}}))


def test_what_a_project_asks_of_a_lane_is_read_back() -> None:
    """`min_echo_cos` is looked at, not enforced: it is no KPI gate."""
    stored = {"4201": {"min_echo_cos": 0.85, "test_pass_rate": {">=": 0.97}}}
    assert project_gates(stored, 4201) == (gate("test_pass_rate", ge=0.97),)
    assert project_gates(stored, 4200) == ()
    assert project_gates(None, 4200) == ()
