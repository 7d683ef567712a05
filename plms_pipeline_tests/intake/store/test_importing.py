"""The statements of an import, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime

from sqlalchemy import select

from plms_pipeline.intake.settling import Span
from plms_pipeline.intake.store.importing import known_rows, known_runs, lane_book, mark_changed, upsert_projects
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ReceiptDay


def moment(day: int) -> datetime:
    return datetime(2025, 7, day, tzinfo=UTC)


def test_lanes_are_found_by_number_name_and_alias(registry: Registry) -> None:
    with registry.reading() as session:
        book = lane_book(session)
    assert {book[word] for word in ("4200", "code-api")} == {4200}
    assert set(book.values()) == {4200, 4201, 4202, 5100, 5101, 5102, 6100, 6101}
    assert len(book) > 16, "the aliases of other vocabularies are missing"


def test_a_projects_span_is_the_same_whatever_comes_first(registry: Registry) -> None:
    """If this fails the books depend on the order in which files are imported."""
    for span in (Span(moment(5), moment(6)), Span(moment(7), moment(9)), Span(moment(1), moment(2))):
        with registry.writing() as session:
            ids = upsert_projects(session, "s", {"m": span}, now=moment(28), actor="a")
    with registry.reading() as session:
        project = session.scalars(select(Project)).one()
    assert ids == {"m": project.id}
    assert (project.started_at, project.completed_at) == (moment(1), moment(9))


def test_each_transaction_adds_one_to_the_days_it_changes(registry: Registry) -> None:
    days = [date(2025, 7, 20), date(2025, 7, 21)]
    for changed in (days, days[:1], days[:1] * 3):
        with registry.writing() as session:
            mark_changed(session, changed)
    with registry.reading() as session:
        found = {
            day.day: (day.changed_seq, day.written_seq, day.summarised_seq)
            for day in session.scalars(select(ReceiptDay))
        }
    assert found == {days[0]: (3, 0, 0), days[1]: (1, 0, 0)}


def test_asking_for_thousands_of_unknown_runs_is_one_question(registry: Registry) -> None:
    """If this fails a batch of ten thousand exceeds the parameters that a database takes."""
    run_ids = [f"run-{i}'\"" for i in range(70_000)]
    with registry.reading() as session:
        assert known_runs(session, run_ids) == {}
        assert known_rows(session, run_ids) == {}
