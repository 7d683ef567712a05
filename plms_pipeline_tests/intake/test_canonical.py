"""The documented columns are those that are read."""

from __future__ import annotations

from pathlib import Path

from plms_pipeline.intake.canonical import BY_NAME, FIELDS, WORDS, Receipt, markdown_table
from plms_pipeline.intake.daycolumns import COLUMNS
from plms_pipeline.intake.dayfile import SCHEMA
from plms_pipeline.intake.reasons import RULES, Reason
from plms_pipeline.registry.tables.vocabulary import COMPLEXITIES, RECEIPT_STATES, RUN_KINDS, VALIDATIONS

DATA = Path(__file__).resolve().parents[2] / "data"


def test_the_readme_lists_every_column_and_every_reason() -> None:
    """If this fails somebody prepares a file by a page that is no longer true."""
    page = (DATA / "README.md").read_text(encoding="utf-8")
    assert markdown_table() in page
    assert all(f"| `{reason.value}` | {rule} |" in page for reason, rule in RULES.items())


def test_every_reason_has_a_rule() -> None:
    assert set(RULES) == set(Reason)


def test_the_words_allowed_are_those_of_the_registry() -> None:
    """If this fails the rules admit a word that the database refuses, and a whole batch fails."""
    assert WORDS["status"] == RECEIPT_STATES
    assert WORDS["run_kind"] == RUN_KINDS
    assert WORDS["complexity"] == COMPLEXITIES
    assert set(WORDS["validation"]) == set(VALIDATIONS) - {"pending"}


def test_every_field_of_a_receipt_comes_from_a_column_or_from_the_rules() -> None:
    made = {"line", "lane_id", "time_precision", "natural_key", "row_sha256"}
    assert set(Receipt._fields) - made == set(BY_NAME) - {"lane", "tokens_input_total", "tokens_output_total"}
    assert len(FIELDS) == len(BY_NAME)


def test_the_day_file_has_the_columns_that_dagster_shows() -> None:
    assert SCHEMA.names == [column.name for column in COLUMNS]
    assert [str(kind) for kind in SCHEMA.types] == [column.kind for column in COLUMNS]


def test_the_samples_carry_their_sources_and_licences() -> None:
    """If this fails other people's data are passed on without attribution."""
    notice = (DATA / "samples" / "NOTICE").read_text(encoding="utf-8")
    assert "NOT under the licence of this project" in notice
    for name in DATA.joinpath("samples").glob("*.gz"):
        assert name.name in notice
