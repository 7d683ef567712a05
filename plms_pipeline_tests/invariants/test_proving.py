"""Does the proof hold on healthy books, and does it say so when it cannot look?"""

from __future__ import annotations

from plms_pipeline.invariants.actions.proving import prove
from plms_pipeline_tests.invariants.conftest import Books
from plms_pipeline_tests.invariants.healthy import CLOCK


def test_healthy_books_hold(books: Books) -> None:
    """A nightly alarm that rings on healthy books is switched off within a week."""
    report = prove(books.registry, books.settings, CLOCK)
    assert [f"{r.invariant.name}: {r.errors}" for r in report.failed] == []
    for r in report.results:
        print(r.invariant.name, r.found.checked)
