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
    "override_teaches": False,
}  # fmt: skip


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
        ({"validation": "ungated"}, False, True),
        ({"validation": "ungated", "lane_accepts_ungated": True}, True, True),
        ({"validation": "failed", "override": "pass"}, False, True),
        ({"validation": "failed", "override": "pass", "override_teaches": True}, True, True),
        ({"override": "fail"}, False, True),
        ({"override": "fail", "override_teaches": True}, False, True),
        ({"passport_is_complete": False}, False, True),
        ({"passport_is_complete": False, "verdict_by": "source"}, False, True),
        ({"passport_is_complete": False, "verdict_by": "source", "source_file_sha256": "ab"}, True, True),
    ],
)
def test_the_policy_says(change: dict[str, Any], effort: bool, spend: bool) -> None:
    """One row that teaches although it must not moves every later budget."""
    found = columns(change)
    assert included(found, "effort").tolist() == [effort]
    assert included(found, "spend").tolist() == [spend]


kinds = st.fixed_dictionaries({
    "run_kind": st.sampled_from(["baseline", "rehearsal", "replay", "hotfix"]), "write_sandbox": st.booleans(),
    "passport_is_complete": st.booleans(), "validation": st.sampled_from(["passed", "failed", "pending", "ungated"]),
    "override": st.sampled_from(["", "pass", "fail"]), "override_teaches": st.booleans(),
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
