"""Can the nightly report be read on a phone as on a desk?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plms_pipeline_tests.ui.conftest import looked_at

pytestmark = pytest.mark.ui

# In Chromium a letter below this is not read but guessed; a phone's held at arm's length.
LEGIBLE_PX = 9
CUT = """() => [...document.querySelectorAll('table, svg')].filter(thing => {
  const box = thing.closest('.scroll');
  return !box || (thing.getBoundingClientRect().width > box.clientWidth + 1 && getComputedStyle(box).overflowX !== 'auto');
}).length"""
UNHINTED = """() => [...document.querySelectorAll('.scroll')].filter(box =>
  box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box.previousElementSibling).display === 'none').length"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll('svg text')].filter(text => text.textContent.trim()
  && !text.closest('[id^="matplotlib.axis"] tspan')).map(text => {
    const scale = text.getScreenCTM();
    return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(scale.a, scale.b);
  }))"""


@pytest.mark.parametrize("width", [400, 640, 900, 1280])
def test_the_report_fits_every_screen(width: int, prepared: Path, tab: Any, screenshots: Path) -> None:
    """The tables were cut at the right edge without a hint, and the charts shrank until nobody could read them."""
    report = next((prepared / "reports" / "nightly").glob("*/index.html"))
    with looked_at(tab, (width, 800), "light") as page:
        page.goto(report.as_uri())
        page.screenshot(path=str(screenshots / f"nightly-report-{width}.png"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CUT) == 0
        assert page.evaluate(UNHINTED) == 0
        assert page.evaluate(SMALLEST) >= LEGIBLE_PX


def test_the_first_screenful_of_a_phone_says_whether_anything_is_wrong(prepared: Path, tab: Any) -> None:
    """An on-call at three in the morning reads one screen, in bed."""
    report = next((prepared / "reports" / "nightly").glob("*/index.html"))
    with looked_at(tab, (400, 800), "dark") as page:
        page.goto(report.as_uri())
        box = page.locator("#todo").bounding_box()
        assert box["y"] < 300
        assert "artifacts fail their KPI gates" in page.locator("#todo").inner_text()
