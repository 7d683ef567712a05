"""Does the report on a model of estimates show what a person signs, and nothing of it as mark-up?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plms_pipeline.models.estimating.documents import predictions, summary
from plms_pipeline.models.estimating.effects import Scatter
from plms_pipeline.models.estimating.forecasting import prior_quantiles
from plms_pipeline.models.estimating.judging import Limits, judge
from plms_pipeline.models.estimating.model import Part, Trust
from plms_pipeline.models.estimating.reporting import compose, families
from plms_pipeline.models.estimating.walkforward import Forecasts, Walked
from plms_pipeline.models.reporting.render import html, markdown
from plms_pipeline_tests.models.estimating.shipped import world

MANIFEST: dict[str, Any] = {
    "run_id": "est-1", "created_at": "2026-03-01T12:00:00+00:00", "code_version": "1",
    "lineage": {"requested_by": "ann", "reason": "<script>alert(1)</script>"},
    "data": {"receipts": 300, "first": "2026-01-01", "last": "2026-02-01", "content_hash": "ab" * 32},
}  # fmt: skip


def made(*, narrow: float = 1.0) -> tuple[dict[str, Any], Any]:
    """A summary and its rows: the priors' own forecasts, or narrower ones."""
    history = world(300)
    mine = prior_quantiles(history, "spend")
    median = mine[:, 19:20]
    found = Forecasts("spend", history, median + narrow * (mine - median), mine)
    part = Part("cost_usd", Scatter(), {"effort": Trust(), "spend": Trust()})
    walked = {"cost_usd": Walked({"spend": found}, part, ())}
    return summary([judge(found, Limits(rows=100))], run_id="est-1"), predictions(walked)  # type: ignore[arg-type]


def test_a_report_shows_pit_coverage_and_scores_beside_the_priors() -> None:
    """Whoever signs a Winkler score alone signs an average over lanes that hold and lanes that do not."""
    document, rows = made()
    report = compose(document, MANIFEST, rows)
    assert [one.title for one in report.sections] == ["Overview", "Conditions", "cost_usd (spend)"]
    assert "nowhere" in report.verdict.text
    (chart,) = report.charts()
    assert (chart.kind, chart.name) == ("pit", "pit_cost_usd_spend")
    assert chart.values.sum() == pytest.approx(1)
    text = markdown.markdown(report, "pictures")
    for word in ("| Lane |", "| 4200 | 300 |", "| Family |", "| k | 300 |", "CRPS", "Winkler", "intervals hold"):
        assert word in text, word
    page = html.page(report)
    assert "data:image/svg+xml;base64" in page
    assert "<script>" not in page
    assert "<script>" not in text


def test_intervals_that_do_not_hold_are_told_as_bad_news() -> None:
    """A table in which 60 % looks like 90 % is not read."""
    document, rows = made(narrow=0.3)
    report = compose(document, MANIFEST, rows)
    tones = {
        cell.tone
        for section in report.sections
        for block in section.blocks
        if hasattr(block, "rows")
        for row in block.rows
        for cell in row
        if cell.text == f"{document['estimates'][0]['coverage_90']:.1%}"
    }
    assert "bad" in tones


def test_families_are_counted_from_the_rows() -> None:
    _, rows = made()
    rows["kind"] = np.where(np.arange(len(rows)) % 3 == 0, "few", "many")
    found = dict(families(rows))
    assert [one for one, _ in families(rows)] == ["many", "few"]
    held = (rows["actual"] >= rows["low"]) & (rows["actual"] <= rows["high"])
    assert found["few"]["coverage_90"] == pytest.approx(float(held[rows["kind"] == "few"].mean()))
    assert found["many"]["winkler_ratio"] == pytest.approx(1.0)
