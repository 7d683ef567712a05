"""What Dagster shows of the KPIs."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime

from PIL import Image

from plms_pipeline.kpis.evaluation import InboxItem
from plms_pipeline.kpis.rates import PassRate
from plms_pipeline.kpis.render import items_markdown, png_markdown, rates_markdown, rates_png

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
RATES = [
    PassRate(4200, "Code-API", "linter_pass", 4, 3, 4, 0.75, 1.0, True, AT),
    PassRate(5101, "Data-Ingest", "row_count_delta", 2, 0, 0, None, None, False, AT),
]


def test_the_table_says_what_was_not_measured() -> None:
    """An empty cell would look like zero."""
    lines = rates_markdown(RATES).splitlines()
    assert lines[2] == "| 4200 Code-API | linter_pass | 4 | 3 | 75% | 1 | pass 2026-03-01 12:00 |"
    assert "not measured" in lines[3]
    assert len({line.count("|") for line in lines}) == 1


def test_text_of_an_artifact_cannot_break_the_table_or_the_page() -> None:
    """Names and reasons come from outside and end up in somebody's browser."""
    item = InboxItem("a|b", "broken", "failed", None, "x | <script>alert(1)</script>\n| [click](javascript:x)")
    lines = items_markdown([item]).splitlines()
    assert len(lines) == 3
    assert "<script" not in lines[2]
    assert "\\[click]" in lines[2]
    assert lines[2].replace("\\|", "").count("|") == lines[0].count("|")


def test_the_chart_is_a_small_picture_and_the_same_every_time() -> None:
    """Dagster keeps it in its database: below 100 KB; equal rates, equal bytes."""
    png = rates_png(RATES)
    assert png == rates_png(RATES)
    assert len(png) < 50_000
    assert Image.open(io.BytesIO(png)).size[0] > 300
    many = [PassRate(lane, "x", f"k{n}", 3, n % 4, 3, 1.0, 1.0, True, AT) for lane in range(8) for n in range(8)]
    assert len(png_markdown(rates_png(many), "x")) < 100_000
    assert rates_png([])


def test_a_picture_goes_into_markdown_as_a_data_uri() -> None:
    """Dagster has no image metadata."""
    text = png_markdown(b"abc", "name")
    assert base64.b64decode(text.partition("base64,")[2].rstrip(")")) == b"abc"
