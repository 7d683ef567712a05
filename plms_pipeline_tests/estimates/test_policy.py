from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.estimates.policy import RULES, exclusions, explain, included

GOOD: dict[str, Any] = {
    "run_kind": "baseline", "write_sandbox": False, "passport_is_complete": True, "verdict_by": "gates",
    "source_file_sha256": "", "validation": "passed", "lane_accepts_ungated": False, "override": "",
    "override_teaches": False, "receipt_status": "SUCCESS", "task_status": "SUCCESS", "task_validation": "passed",
}  # fmt: skip
SOURCE: dict[str, Any] = {"passport_is_complete": False, "verdict_by": "source", "source_file_sha256": "ab"}
NO_TASK: dict[str, Any] = {"task_status": "", "task_validation": ""}
UNGATED: dict[str, Any] = {"validation": "ungated", "task_validation": "ungated"}
LIFTED: dict[str, Any] = {"validation": "failed", "override": "pass", "override_teaches": True}


def columns(*rows: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.array([(GOOD | row)[name] for row in rows], dtype=object) for name in GOOD}


@pytest.mark.parametrize(
    ("change", "effort", "spend"),
    [
        ({}, True, True),
        ({"run_kind": "hotfix"}, True, True),
        ({"run_kind": "rehearsal"}, False, False),
        ({"run_kind": "replay"}, False, False),
        ({"write_sandbox": True}, False, False),
        ({"validation": "failed"}, False, True),
        ({"validation": "pending"}, False, True),
        (UNGATED, False, True),
        (UNGATED | {"lane_accepts_ungated": True}, True, True),
        (NO_TASK, True, True),
        (NO_TASK | {"validation": "ungated"}, False, True),
        (NO_TASK | {"validation": "ungated", "lane_accepts_ungated": True}, True, True),
        ({"task_validation": "pending"}, False, True),
        ({"task_validation": "failed"}, False, True),
        ({"validation": "ungated", "lane_accepts_ungated": True}, True, True),
        ({"validation": "failed", "override": "pass"}, False, True),
        (LIFTED, True, True),
        (LIFTED | {"task_validation": "failed"}, True, True),
        (LIFTED | {"task_validation": "ungated"}, False, True),
        (LIFTED | {"task_validation": "ungated", "lane_accepts_ungated": True}, True, True),
        ({"override": "fail"}, False, True),
        ({"override": "fail", "override_teaches": True}, False, True),
        ({"passport_is_complete": False}, False, True),
        ({"passport_is_complete": False, "verdict_by": "source"}, False, True),
        (SOURCE, True, True),
        ({"receipt_status": "FAIL"}, False, True),
        (NO_TASK | {"receipt_status": "FAIL"}, False, True),
        (LIFTED | {"receipt_status": "FAIL"}, False, True),
        (SOURCE | {"receipt_status": "FAIL", "task_status": "FAIL"}, True, True),
        (SOURCE | NO_TASK | {"receipt_status": "FAIL"}, True, True),
        (SOURCE | {"receipt_status": "FAIL", "task_status": "SUCCESS"}, False, True),
    ],
)
def test_the_policy_says(change: dict[str, Any], effort: bool, spend: bool) -> None:
    """One row that teaches although it must not moves every later budget."""
    found = columns(change)
    assert included(found, "effort").tolist() == [effort]
    assert included(found, "spend").tolist() == [spend]


def test_a_task_without_gates_beside_one_that_passed_does_not_teach_by_it() -> None:
    """A run passes when one gate was asked and held; what nobody asked about would teach in its shadow."""
    gated, ungated = {"validation": "passed", "task_validation": "passed"}, {"task_validation": "ungated"}
    found = columns(gated, ungated, ungated | {"lane_accepts_ungated": True})
    assert included(found, "effort").tolist() == [True, False, True]
    assert included(found, "spend").all()


def test_an_attempt_that_failed_teaches_spend_and_not_effort() -> None:
    """What a failure took is money that was spent, and says nothing of what success takes."""
    found = columns({"receipt_status": "FAIL"}, {})
    assert included(found, "effort").tolist() == [False, True]
    assert included(found, "spend").all()
    assert exclusions(found, "effort")["succeeded"] == 1


kinds = st.fixed_dictionaries({
    "run_kind": st.sampled_from(["baseline", "rehearsal", "replay", "hotfix"]), "write_sandbox": st.booleans(),
    "passport_is_complete": st.booleans(), "validation": st.sampled_from(["passed", "failed", "pending", "ungated"]),
    "override": st.sampled_from(["", "pass", "fail"]), "override_teaches": st.booleans(),
    "receipt_status": st.sampled_from(["SUCCESS", "FAIL"]), "task_status": st.sampled_from(["", "SUCCESS", "FAIL"]),
    "task_validation": st.sampled_from(["", "passed", "failed", "pending", "ungated"]),
    "verdict_by": st.sampled_from(["", "gates", "source"]),
})  # fmt: skip


@given(st.lists(kinds, min_size=1, max_size=20))
def test_counts_and_explanations_agree_with_the_selection(rows: list[dict[str, Any]]) -> None:
    """What the report counts and what `explain` says must be what was done."""
    found = columns(*rows)
    for basis in RULES:
        mask = included(found, basis)
        assert mask.sum() + sum(exclusions(found, basis).values()) == len(rows)
        for row in range(len(rows)):
            assert all(verdict.holds for verdict in explain(found, row, basis)) == mask[row]


def test_an_explanation_shows_the_values_that_decided() -> None:
    """A person must see which fact to correct."""
    verdicts = explain(columns({"validation": "failed"}), 0, "effort")
    (broken,) = [verdict for verdict in verdicts if not verdict.holds]
    assert broken.rule == "judged_good"
    assert broken.values["validation"] == "failed"
