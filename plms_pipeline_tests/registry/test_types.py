"""Do money, moments and JSON come back from both databases exactly as they were put in?"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.types import Json, Usd, UtcDateTime, canonical_json, to_usd

MAX_MICRO = 10**14 - 1
DIALECTS = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}
amounts = st.integers(-MAX_MICRO, MAX_MICRO).map(lambda micro: Decimal(micro).scaleb(-6))
moments = st.datetimes(
    min_value=datetime(1000, 1, 3),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9000, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

BOOK = Table(
    "types_book",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("money", Usd),
    Column("moment", UtcDateTime),
    Column("document", Json),
)
# The database of a test is shared by all its examples; each of them clears the table first.
per_example = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def book(registry: Registry) -> Callable[..., list[tuple[object, ...]]]:
    """Write rows, read them back in order."""
    BOOK.create(registry.engine)

    def written(column: str, values: list[object]) -> list[object]:
        with registry.writing() as session:
            session.execute(BOOK.delete())
            session.execute(insert(BOOK), [{"id": i, column: value} for i, value in enumerate(values)])
        with registry.reading() as session:
            return list(session.scalars(select(BOOK.c[column]).order_by(BOOK.c.id)))

    return written


@per_example
@given(values=st.lists(amounts, min_size=1, max_size=20))
@example(values=[Decimal("0.1"), Decimal("0.2"), Decimal("99999999.999999"), Decimal("-99999999.999999")])
def test_money_comes_back_to_the_micro_dollar(book: Callable[..., list[object]], values: list[Decimal]) -> None:
    """A cent that changes on its way through the database makes every later check of the books fail."""
    assert book("money", values) == values


@per_example
@given(values=st.lists(st.integers(0, 10**9).map(lambda cents: Decimal(cents).scaleb(-2)), min_size=1, max_size=50))
@example(values=[Decimal("0.1")] * 10)
def test_sums_agree_to_the_cent(registry: Registry, book: Callable[..., list[object]], values: list[Decimal]) -> None:
    """As binary floats ten dimes are not a dollar; a budget would be breached by rounding."""
    book("money", values)
    with registry.reading() as session:
        assert session.scalar(select(func.sum(BOOK.c.money))) == sum(values)


def test_a_million_cents_are_ten_thousand_dollars(sqlite_registry: Registry) -> None:
    """The error of float sums grows with the number of receipts: it is the large books that go wrong."""
    BOOK.create(sqlite_registry.engine)
    with sqlite_registry.writing() as session:
        session.execute(insert(BOOK), [{"money": Decimal("0.01")}] * 100_000)
        assert session.scalar(select(func.sum(BOOK.c.money))) == Decimal("1000.00")


@given(st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**9))
def test_rounding_is_half_even_to_six_places(value: Fraction) -> None:
    """Rounding halves up adds a bias to every sum of many receipts."""
    decimal = Decimal(value.numerator) / Decimal(value.denominator)
    expected = Decimal(round(Fraction(decimal) * 10**6)).scaleb(-6)  # Python's round() of a Fraction is half-even.
    assert to_usd(decimal) == expected


@pytest.mark.parametrize(
    ("given_value", "stored"),
    [("0.0000005", "0"), ("0.0000015", "0.000002"), ("0.0000025", "0.000002"), ("-0.0000015", "-0.000002"),
     ("1e-9", "0"), (0.1, "0.1"), (3, "3"), (np.float64(0.18), "0.18")],
)  # fmt: skip
def test_ties_go_to_the_even_micro_dollar(given_value: str | float, stored: str) -> None:
    """Textbook values of half-even rounding, and a float enters by its shortest text, not by its binary expansion."""
    assert to_usd(given_value) == Decimal(stored)


def test_there_is_no_minus_zero() -> None:
    """A report that says "-0.000000 USD" makes people look for a debt."""
    assert str(to_usd("-0.0000001")) == "0.000000"


@pytest.mark.parametrize(
    "value",
    ["NaN", "sNaN", "Infinity", "-Infinity", float("nan"), float("inf"), "1e8", "1e400", "1" * 60, "99999999.9999999",
     "", "twelve", "1,50", None, [], {}],
)  # fmt: skip
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_no_amount_is_refused_before_it_reaches_a_database(value: object, dialect: str) -> None:
    """PostgreSQL would store NaN, SQLite would store text: both are found months later by a sum."""
    with pytest.raises(ValueError, match="not an amount in dollars"):
        to_usd(value)  # type: ignore[arg-type]
    if value is not None:
        with pytest.raises(ValueError, match="not an amount in dollars"):
            Usd().process_bind_param(value, DIALECTS[dialect])  # type: ignore[arg-type]


@given(st.decimals(min_value=-99_999_999, max_value=99_999_999, places=9))
def test_what_is_accepted_fits_the_column(value: Decimal) -> None:
    """An amount that passes here but not in PostgreSQL fails only in production."""
    stored = to_usd(value)
    assert abs(stored) <= Decimal("99999999.999999")
    assert stored == value.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN)


def test_unknown_money_stays_unknown(book: Callable[..., list[object]]) -> None:
    """NULL means "nobody knows"; a zero would be averaged."""
    assert book("money", [None]) == [None]


def test_comparisons_mean_the_same_on_both_databases(registry: Registry, book: Callable[..., list[object]]) -> None:
    """A limit that is compared in dollars with a column in micro-dollars admits everything."""
    book("money", [Decimal("0.49"), Decimal("0.50"), Decimal("0.51")])
    with registry.reading() as session:
        assert session.scalar(select(func.count()).where(BOOK.c.money >= Decimal("0.50"))) == 2
        assert session.scalar(select(func.max(BOOK.c.money + Decimal("0.01")))) == Decimal("0.52")


@pytest.mark.parametrize("build", [lambda c: c * 2, lambda c: 2 * c, lambda c: c / 2, lambda c: c % 2])
def test_scaling_money_in_sql_is_refused(build: Callable[[object], object]) -> None:
    """`cost * 2` would be cost times two million on SQLite and times two on PostgreSQL."""
    with pytest.raises(TypeError, match="in Python"):
        build(BOOK.c.money)


@per_example
@given(values=st.lists(moments, min_size=1, max_size=10))
def test_moments_come_back_equal_and_in_utc(book: Callable[..., list[object]], values: list[datetime]) -> None:
    """A moment that shifts by a zone moves a receipt to another day."""
    stored = book("moment", values)
    assert stored == values
    assert {moment.utcoffset() for moment in stored if isinstance(moment, datetime)} == {timedelta(0)}


@per_example
@given(values=st.lists(moments, min_size=2, max_size=10, unique=True))
def test_the_database_orders_moments_as_time_does(
    registry: Registry, book: Callable[..., list[object]], values: list[datetime]
) -> None:
    """Canonical order decides what a forecast may know; on SQLite it is the order of texts."""
    book("moment", values)
    with registry.reading() as session:
        assert list(session.scalars(select(BOOK.c.moment).order_by(BOOK.c.moment))) == sorted(values)


def test_a_moment_without_a_zone_is_refused(registry: Registry) -> None:
    """Whoever wrote 02:00 meant some zone; guessing it is how a night runs twice."""
    BOOK.create(registry.engine)
    with pytest.raises(StatementError, match="no time zone"), registry.writing() as session:
        session.execute(insert(BOOK).values(moment=datetime(2026, 3, 1)))  # noqa: DTZ001 - that is the point


@per_example
@given(values=st.lists(documents.filter(lambda d: d is not None), min_size=1, max_size=5))
def test_documents_come_back_equal(book: Callable[..., list[object]], values: list[object]) -> None:
    """A threshold or a passport that changes in storage is no evidence any more."""
    assert book("document", values) == values


@given(st.dictionaries(st.text(), documents, max_size=6))
def test_equal_documents_have_equal_text(document: dict[str, object]) -> None:
    """The text is hashed: an order of keys must not change a fingerprint."""
    backwards = dict(reversed(document.items()))
    assert canonical_json(document) == canonical_json(backwards)
    assert json.loads(canonical_json(document)) == document


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_document_with_nan_is_refused(number: float) -> None:
    """NaN is no JSON: every other reader of the text would fail on it."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": number})


def test_rows_of_a_closed_session_keep_their_types(sqlite_registry: Registry) -> None:
    """What a person reads with plain SQL on SQLite are micro-dollars: the column must be an integer, never a float."""
    BOOK.create(sqlite_registry.engine)
    with Session(sqlite_registry.engine) as session:
        session.execute(insert(BOOK).values(money=Decimal("0.18")))
        assert session.connection().exec_driver_sql("SELECT money, typeof(money) FROM types_book").one() == (
            180_000,
            "integer",
        )
