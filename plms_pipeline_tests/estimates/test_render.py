from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from plms_pipeline.estimates.backtest import backtest, report
from plms_pipeline.estimates.render import (
    calibration_markdown,
    calibration_png,
    cells_markdown,
    escaped,
    png_markdown,
    priors_markdown,
    priors_png,
)
from plms_pipeline_tests.estimates.test_backtest import some_outcomes


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    return {"cost_usd": report(backtest(some_outcomes(), "cost_usd", today=date(2026, 1, 1)))}


def rows(n: int, name: str = "m") -> list[dict[str, Any]]:
    cost = {"median": 1.0, "low": 0.5, "high": 2.0}
    return [
        {
            "basis": "effort",
            "lane_id": 4200,
            "provider": f"{name}{i}",
            "n": i + 1,
            "cost_usd": cost,
            "duration_ms": None,
        }
        for i in range(n)
    ]


def test_pictures_stay_below_what_dagster_shows_and_are_the_same_each_time(tree: dict[str, Any]) -> None:
    """Metadata above 100 kB makes the UI slow; a picture that changes without news is noise."""
    for draw in (lambda: calibration_png({"effort": tree, "spend": tree}), lambda: priors_png(rows(60))):
        assert draw() == draw()
        assert draw().startswith(b"\x89PNG")
        assert len(png_markdown(draw(), "x")) < 100_000


def test_tables_have_one_line_per_lane_and_cell(tree: dict[str, Any]) -> None:
    """Overall first, then lanes, then lane × provider."""
    assert len(calibration_markdown(tree).splitlines()) == 2 + 1 + len(tree["cost_usd"]["lanes"])
    assert len(cells_markdown(tree).splitlines()) == 2 + len(tree["cost_usd"]["cells"])


@pytest.mark.parametrize("name", ["a|b", "<img src=x>", "[x](javascript:1)", "$x^2_", "new\nline", "*"])
def test_a_name_from_outside_stays_text(name: str) -> None:
    """A provider's name comes from a file that somebody imported."""
    text = escaped(name)
    assert "<" not in text
    assert "\n" not in text
    assert "[" not in text.replace("\\[", "")
    lines = priors_markdown(rows(1, name)).splitlines()
    assert len(lines) == 3
    assert lines[2].replace("\\|", "").count("|") == 7
    assert priors_png(rows(1, name)).startswith(b"\x89PNG")
