from __future__ import annotations

from datetime import timedelta

import pytest

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.estimates.actions.explaining import explain_run
from plms_pipeline.registry.tables import ProjectRun
from plms_pipeline_tests.estimates.conftest import NOON, Book

LATER = NOON + timedelta(days=30)


def test_a_run_that_teaches_shows_its_rules_and_what_it_moved(book: Book) -> None:
    """The answer to "what did my run change?" is the prior without it and with it."""
    for i in range(5):
        book.add("m", "1.0", at=NOON + timedelta(hours=i))
    run = book.add("m", "100.0", at=NOON + timedelta(hours=9))
    found = explain_run(book.registry, run, alpha=0.3, at=LATER)
    (receipt,) = found.receipts
    assert receipt.teaches("effort")
    assert receipt.teaches("spend")
    (moved,) = [one for one in found.moved if one.basis == "effort"]
    assert (moved.without.n, moved.with_it.n) == (5, 6)
    assert moved.with_it.high > moved.without.high
    assert moved.with_it.mean is not None
    assert moved.without.mean is not None
    assert moved.with_it.mean > moved.without.mean
    assert found.as_json()["receipts"][0]["measures"] == {"tokens": None, "duration_ms": None, "cost_usd": 100.0}


def test_a_rehearsal_moved_nothing_and_says_why(book: Book) -> None:
    """The seed's worst defect was that everything taught."""
    book.add("m", "1.0")
    run = book.add("m", "50.0", run_kind="rehearsal")
    found = explain_run(book.registry, run, alpha=0.3, at=LATER)
    assert found.moved == []
    (broken,) = [verdict for verdict in found.receipts[0].verdicts["effort"] if not verdict.holds]
    assert (broken.rule, broken.values["run_kind"]) == ("real_run", "rehearsal")


def test_a_failed_run_moves_spending_only(book: Book) -> None:
    """Failures cost money and say nothing about what success takes."""
    book.add("m", "1.0")
    run = book.add("m", "3.0", validation="failed")
    assert {one.basis for one in explain_run(book.registry, run, alpha=0.3, at=LATER).moved} == {"spend"}


def test_an_unknown_run_is_bad_input_and_one_without_receipts_no_data(book: Book) -> None:
    """A typing error and an unfinished run are different things."""
    book.add("m", "1.0")
    with pytest.raises(BadInput, match="no run"):
        explain_run(book.registry, "nothing", alpha=0.3, at=LATER)
    with book.registry.writing() as session:
        session.add(ProjectRun(run_id="waiting", project_id=book.project_id, created_at=NOON))
    with pytest.raises(NoData, match="no receipt"):
        explain_run(book.registry, "waiting", alpha=0.3, at=LATER)
