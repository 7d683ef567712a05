"""What an artifact may say about itself."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.manifest import (
    MANIFEST,
    ExpectedEdgeCount,
    ExpectedRowCount,
    ExpectedSchema,
    Manifest,
    lane_of_folder,
    parse,
)


def test_a_manifest_names_lane_task_run_and_inputs() -> None:
    """The whole of it."""
    text = '{"lane": 4200, "task_id": 7, "run_id": "r", "inputs": {"docs": "docs/guide.md"}}'
    found = parse(Manifest, text, MANIFEST)
    assert (found.lane, found.task, found.run_id, found.inputs.docs) == (4200, "7", "r", "docs/guide.md")
    assert parse(Manifest, "{}", MANIFEST).task is None


@pytest.mark.parametrize(
    "document",
    [
        {"threshold": 0.1},
        {"gates": {"test_pass_rate": {">=": 0.1}}},
        {"kpi_formula": "{}"},
        {"lane": 4200, "echo_threshold": 0.1},
        {"inputs": {"threshold": 0.1}},
        {"inputs": {"tests": "easy_tests"}},
        {"inputs": {"docs": "../other/guide.md"}},
        {"inputs": {"docs": "/etc/passwd"}},
        {"inputs": {"docs": "a//b"}},
        {"inputs": {"docs": "a\\..\\b"}},
        {"inputs": {"docs": "a\0b"}},
        {"inputs": {"docs": ""}},
        {"lane": 4200.5},
        {"lane": True},
        {"lane": ""},
        {"task_id": ["x"]},
        {"run_id": 7},
        {"run_id": ""},
        [],
        "x",
        None,
    ],
)
def test_a_manifest_can_lower_no_bar_and_leave_no_folder(document: object) -> None:
    """In the original an artifact brought its own echo threshold of 0.1 and passed."""
    with pytest.raises(BadInput) as caught:
        parse(Manifest, json.dumps(document), MANIFEST)
    assert caught.value.message.startswith(MANIFEST)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (ExpectedRowCount, '{"table_fq": "t", "row_count": -1}'),
        (ExpectedRowCount, '{"table_fq": "t", "row_count": 1.5}'),
        (ExpectedRowCount, '{"table_fq": "t", "row_count": "10"}'),
        (ExpectedRowCount, '{"table_fq": "t", "row_count": 1e400}'),
        (ExpectedRowCount, '{"row_count": 1}'),
        (ExpectedRowCount, '{"table_fq": "t", "row_count": 1, "actual": 1}'),
        (ExpectedSchema, '{"table_fq": "t", "schema": {}}'),
        (ExpectedSchema, '{"table_fq": "t", "schema": {"a": 1}}'),
        (ExpectedSchema, '{"table_fq": "t", "schema": ["a"]}'),
        (ExpectedEdgeCount, '{"cypher": "", "edge_count": 1}'),
        (ExpectedEdgeCount, '{"cypher": "MATCH", "edge_count": null}'),
        (ExpectedEdgeCount, "[" * 10_000),
        (ExpectedEdgeCount, ""),
    ],
)
def test_broken_expectations_are_refused(model: type, text: str) -> None:
    """Each becomes the reason of a failed gate."""
    with pytest.raises(BadInput):
        parse(model, text, "expected.json")


@given(st.text(max_size=80))
def test_any_text_is_a_manifest_or_one_error(text: str) -> None:
    """A folder in the inbox may hold anything under this name."""
    found = None
    with contextlib.suppress(BadInput):
        found = parse(Manifest, text, MANIFEST)
    assert found is None or parse(Manifest, found.model_dump_json(exclude_unset=True), MANIFEST) == found


@pytest.mark.parametrize(
    ("name", "lane"),
    [("4200", "4200"), ("4200-parser", "4200"), ("5101_load", "5101"), ("4200 x", "4200"), ("parser", None), ("4200x", None),
     ("-4200", None), ("", None)],
)  # fmt: skip
def test_a_folder_may_begin_with_its_lane(name: str, lane: str | None) -> None:
    """The convention for work without a manifest."""
    assert lane_of_folder(name) == lane
