"""The guides' vectors and demos against a live server, as CI runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from plms_pipeline_tests.vectors.demos import DEMOS
from plms_pipeline_tests.vectors.live import Live, fresh
from plms_pipeline_tests.vectors.vectors import VECTORS

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """One server for all of them: API and reference executor as real processes."""
    with fresh() as found:
        yield found


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.__name__)
def test_the_guides_vector_holds(live: Live, vector: Callable[[Live], None]) -> None:
    """Whoever follows the guide meets what the guide says."""
    vector(live)
    assert live.ask("GET", "/healthz").status_code == 200, "the server did not survive it"


@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.__name__)
def test_the_guides_demo_can_be_shown_twice(live: Live, demo: Callable[[Live], None]) -> None:
    """The original's first demo failed when it was shown a second time within a day."""
    demo(live)
    demo(live)
    assert live.ask("GET", "/healthz").status_code == 200, "the server did not survive it"
