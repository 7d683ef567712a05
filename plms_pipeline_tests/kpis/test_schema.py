"""Tables as promised: names that are safe, types by their meaning, every difference named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.schema import TableName, canonical_type, diff, parse_table

TYPES = st.sampled_from(["INTEGER", "BIGINT", "TEXT", "VARCHAR(20)", "NUMERIC(12, 2)", "BOOLEAN", "TIMESTAMPTZ"])
TABLES = st.dictionaries(st.sampled_from("abcdefgh"), TYPES, max_size=8)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("int4", "INTEGER"), ("integer", "INT"), ("int8", "bigint"), ("character varying(50)", "VARCHAR(50)"),
        ("double precision", "float8"), ("timestamp with time zone", "TIMESTAMPTZ"), ("decimal(10,2)", "NUMERIC(10, 2)"),
        ("bool", "BOOLEAN"), ("timestamp  without time zone", "datetime"), ("bpchar(3)", "CHAR(3)"),
    ],
)  # fmt: skip
def test_one_type_has_many_spellings(one: str, other: str) -> None:
    """The same table must not fail because the database spells its types in its own way."""
    assert canonical_type(one) == canonical_type(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("INTEGER", "BIGINT"),
        ("TIMESTAMP", "TIMESTAMPTZ"),
        ("NUMERIC", "DOUBLE"),
        ("REAL", "DOUBLE"),
        ("TEXT", "VARCHAR"),
    ],
)
def test_different_types_stay_different(one: str, other: str) -> None:
    """A naive timestamp where an aware one was promised is a defect."""
    assert canonical_type(one) != canonical_type(other)


@given(TABLES, TABLES)
def test_the_count_is_what_sets_say(expected: dict[str, str], actual: dict[str, str]) -> None:
    """Brute force: a column is good only when it is in both with the same type."""
    bad = {name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name)}
    found = diff(expected, actual)
    assert found.count == len(bad) == len(found.lines())


@given(TABLES)
def test_a_table_does_not_differ_from_itself(table: dict[str, str]) -> None:
    """Zero is the only value that passes."""
    assert diff(table, table).count == 0


def test_a_length_counts_only_when_it_was_promised() -> None:
    """`VARCHAR` promises no length; `VARCHAR(20)` does."""
    assert diff({"a": "VARCHAR"}, {"a": "VARCHAR(99)"}).count == 0
    assert diff({"a": "VARCHAR(20)"}, {"a": "VARCHAR(99)"}).lines() == ["column a is VARCHAR(99), expected VARCHAR(20)"]


@pytest.mark.parametrize(
    ("text", "table"), [("runs", TableName(None, "runs")), ("public.Runs_2", TableName("public", "Runs_2"))]
)
def test_plain_names_are_taken(text: str, table: TableName) -> None:
    """With or without a schema."""
    assert parse_table(text) == table
    assert str(table) == text


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "a.b.c", "a;drop table b", "a b", '"a"', "a--", "a.", ".a", "1a", "a'", "täble", "a\n", "a" * 64,
        "pg_catalog.pg_authid", "information_schema.tables", "sqlite_master", "PG_TABLES",
    ],
)  # fmt: skip
def test_anything_else_is_refused(name: str) -> None:
    """The name comes from the artifact and ends up in SQL."""
    with pytest.raises(BadInput) as caught:
        parse_table(name)
    assert caught.value.code == "bad_table_name"


@given(st.text(max_size=80))
def test_no_text_gets_through_that_is_not_an_identifier(text: str) -> None:
    """Only letters, digits, underscores and one dot."""
    try:
        parse_table(text)
    except BadInput:
        return
    assert text.replace(".", "", 1).replace("_", "a").isalnum()
    assert text.isascii()


@given(st.text(max_size=60))
def test_any_type_text_is_understood_or_kept(text: str) -> None:
    """A strange type is compared as it is; it never crashes an evaluation."""
    assert canonical_type(text) == canonical_type(text.upper())
