"""Most tests of models train, and each training writes a report; what its pictures show is a question of few."""

from __future__ import annotations

import pytest

from plms_pipeline.models.reporting.render import html, markdown
from plms_pipeline_tests.thrift import drawn_once

# Tests whose question is the report, or the whole life of a model.
WITH_PICTURES = ("models/reporting/", "models/estimating/test_reporting", "models/serving/test_past")


@pytest.fixture(autouse=True)
def pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody looks at pictures, the first of a kind stands for all."""
    if not request.node.get_closest_marker("live") and not any(name in request.node.nodeid for name in WITH_PICTURES):
        monkeypatch.setattr(html, "draw", drawn_once)
        monkeypatch.setattr(markdown, "draw", drawn_once)
