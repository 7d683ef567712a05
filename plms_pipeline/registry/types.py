"""How are money, moments and JSON stored so that both databases give back what was put in?

SQLite has no decimal type: NUMERIC becomes a binary float there, and sums of cents drift. `Usd` therefore stores integer
micro-dollars on SQLite and NUMERIC(14, 6) on PostgreSQL, and is a `Decimal` in Python on both. `UtcDateTime` refuses naive
datetimes, because a naive moment is a guess about a time zone.
"""

from __future__ import annotations

import json
import operator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Numeric, Text
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine

SCALING = (operator.mul, operator.truediv, operator.floordiv, operator.mod)
MICRO = Decimal(1_000_000)
QUANTUM = Decimal("0.000001")
# NUMERIC(14, 6) has eight digits before the point.
LIMIT = Decimal(100_000_000)


def to_usd(value: Decimal | int | str | float) -> Decimal:
    """An amount in dollars rounded half-even to six places, as everything is on entry.

    Raises:
        ValueError: the value is no finite number or has more than eight integer digits once it is rounded.
    """
    try:
        amount = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ValueError(f"{_plain(value)} is not an amount in dollars.") from error
    # Far too large a number cannot be quantized at all; just too large a one may round up to the limit.
    if amount.is_finite() and abs(amount) < LIMIT:
        # Adding zero drops the sign of -0, which nobody can owe.
        amount = amount.quantize(QUANTUM, rounding=ROUND_HALF_EVEN) + 0
        if abs(amount) < LIMIT:
            return amount
    raise ValueError(f"{_plain(value)} is not an amount in dollars: it must be finite and below 100 million.")


def _plain(value: object) -> str:
    """A number as people write it; anything else quoted."""
    return (str(value) if isinstance(value, Decimal | int | float) else repr(value))[:40]


class Usd(TypeDecorator[Decimal]):
    """Dollars: `Decimal` with six places in Python, NUMERIC(14, 6) on PostgreSQL, integer micro-dollars on SQLite.

    In SQL, amounts are compared, added and summed. Products, ratios and averages are refused: on SQLite the other operand
    would become micro-dollars too, and a price times two would be a price times two million.
    """

    impl = Numeric(14, 6)
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[Decimal]):
        """Refuses the operators that mean different things on the two databases."""

        def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> Any:
            """Build the expression, unless its value would depend on the database."""
            if op in SCALING:
                raise TypeError("Multiply and divide dollars in Python: in SQL the result depends on the database.")
            return super().operate(op, *other, **kwargs)

        reverse_operate = operate

    comparator_factory = Comparator

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type of each database."""
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else Numeric(14, 6))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Python → database."""
        if value is None:
            return None
        amount = to_usd(value)
        return int(amount * MICRO) if dialect.name == "sqlite" else amount

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Database → Python."""
        if value is None:
            return None
        return (Decimal(value) / MICRO).quantize(QUANTUM) if dialect.name == "sqlite" else Decimal(value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, kept in UTC: TIMESTAMPTZ on PostgreSQL, sortable ISO text with microseconds on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Python → database; a naive datetime is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; every stored moment is aware and in UTC.")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Database → Python."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Made once: `json.dumps` makes one at every call, and a start has twenty-five of them.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text, so the text can be hashed.

    Raises:
        ValueError: the value holds NaN or an infinity, which JSON does not know.
    """
    return _CANONICAL.encode(value)


class Json(TypeDecorator[Any]):
    """A JSON document as canonical text, the same on both databases."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Python → database."""
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Database → Python."""
        return None if value is None else json.loads(value)
