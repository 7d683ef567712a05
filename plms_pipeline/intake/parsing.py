"""What does the text of one column say, and where does it say nothing sensible?

Column by column: values, and for each bad cell its index and reason. The fast path handles what files hold a million times;
everything odd goes through one careful path. `int()`, `float()` and `Decimal()` alone are too kind: they take "1_000",
" ١٢ " and "nan", and `Decimal` with a far exponent can be made to fill memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, Generic, TypeVar

from plms_pipeline.intake.reasons import Reason

T = TypeVar("T")
Bad = dict[int, tuple[Reason, str]]

QUANTUM: Final = Decimal("0.000001")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NUMBER_LIMIT: Final = 64
# PostgreSQL INTEGER; BIGINT columns are held far lower by the configured limits.
INT32: Final = 2**31 - 1
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?", re.ASCII)
_NAN: Final = frozenset({"nan", "+nan", "-nan", "snan", "#n/a", "n/a", "<na>"})
_INFINITE: Final = frozenset({"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no"})
_MONEY: Final = Context(prec=40, rounding=ROUND_HALF_EVEN)


@dataclass(slots=True)
class Column(Generic[T]):
    """Parsed cells of one column: `values[i]` is None where the cell is empty or bad; `bad` says why."""

    values: list[T | None]
    bad: Bad = field(default_factory=dict)


def number_of(cell: str) -> Decimal | tuple[Reason, str]:
    """A finite number, or why the text is none."""
    if len(cell) > NUMBER_LIMIT:
        return Reason.TOO_LONG, f"a number has at most {NUMBER_LIMIT} characters"
    if _NUMBER.fullmatch(cell):
        return Decimal(cell)
    word = cell.lower()
    if word in _NAN:
        return Reason.NOT_A_NUMBER, ""
    if word in _INFINITE:
        return Reason.INFINITE, ""
    return Reason.WRONG_TYPE, "a number was expected"


def integers(cells: Sequence[str], *, limit: int) -> Column[int]:
    """Whole numbers from 0 to `limit`; `12.0` and `1.2e1` are 12, because spreadsheets and data frames write them so."""
    column: Column[int] = Column([None] * len(cells))
    for i, cell in enumerate(cells):
        if not cell:
            continue
        if cell.isascii() and cell.isdigit() and len(cell) <= 18:
            value = int(cell)
        else:
            number = number_of(cell)
            if isinstance(number, tuple):
                column.bad[i] = number
                continue
            if number < 0:
                column.bad[i] = Reason.NEGATIVE, ""
                continue
            if number.adjusted() > 18:
                column.bad[i] = Reason.OVERFLOW, ""
                continue
            value = int(number)
            if number != value:
                column.bad[i] = Reason.WRONG_TYPE, "a whole number was expected"
                continue
        if value > limit:
            column.bad[i] = (Reason.OVERFLOW if limit == INT32 else Reason.ABOVE_LIMIT), f"at most {limit}"
        else:
            column.values[i] = value
    return column


def money(cells: Sequence[str], *, limit: Decimal) -> Column[Decimal]:
    """Dollars from 0 to `limit`, rounded half-even to six places; the limit holds for the value before rounding."""
    column: Column[Decimal] = Column([None] * len(cells))
    for i, cell in enumerate(cells):
        if not cell:
            continue
        number = number_of(cell)
        if isinstance(number, tuple):
            column.bad[i] = number
        elif number < 0:
            column.bad[i] = Reason.NEGATIVE, ""
        elif number > limit:
            column.bad[i] = Reason.ABOVE_LIMIT, f"at most {limit} USD"
        else:
            # abs(): "-0.0" is a zero like any other, and equal values must hash alike.
            column.values[i] = abs(number.quantize(QUANTUM, context=_MONEY))
    return column


def numbers(cells: Sequence[str], *, low: float, high: float) -> Column[float]:
    """Floats from `low` to `high`, both included."""
    column: Column[float] = Column([None] * len(cells))
    for i, cell in enumerate(cells):
        if not cell:
            continue
        number = number_of(cell)
        if isinstance(number, tuple):
            column.bad[i] = number
            continue
        value = float(number)
        if value < low:
            column.bad[i] = (Reason.NEGATIVE, "") if low == 0 else (Reason.NOT_A_FRACTION, f"at least {low}")
        elif value > high:
            column.bad[i] = (Reason.NOT_A_FRACTION if high == 1 else Reason.ABOVE_LIMIT), f"at most {high}"
        else:
            column.values[i] = value + 0.0
    return column


def flags(cells: Sequence[str]) -> Column[bool]:
    """true, 1, yes; false, 0, no; in any case."""
    column: Column[bool] = Column([None] * len(cells))
    for i, cell in enumerate(cells):
        word = cell.lower()
        if word in _TRUE:
            column.values[i] = True
        elif word in _FALSE:
            column.values[i] = False
        elif cell:
            column.bad[i] = Reason.WRONG_TYPE, "true or false was expected"
    return column


def words(cells: Sequence[str], allowed: Sequence[str]) -> Column[str]:
    """One of a few words, in any case."""
    known = {word.lower(): word for word in allowed}
    column: Column[str] = Column([None] * len(cells))
    for i, cell in enumerate(cells):
        word = known.get(cell.lower())
        if word is not None:
            column.values[i] = word
        elif cell:
            column.bad[i] = Reason.UNKNOWN_WORD, f"one of {', '.join(allowed)}"
    return column


def lanes(cells: Sequence[str], book: Mapping[str, int]) -> Column[int]:
    """Lane numbers; `book` maps number, name and alias, case-folded, to the number."""
    column: Column[int] = Column([None] * len(cells))
    for i, cell in enumerate(cells):
        lane = book.get(cell.casefold())
        if lane is not None:
            column.values[i] = lane
        elif cell:
            column.bad[i] = Reason.UNKNOWN_LANE, ""
    return column


def texts(cells: Sequence[str], *, limit: int) -> Column[str]:
    """Printable UTF-8 text of at most `limit` characters."""
    column: Column[str] = Column([None] * len(cells))
    for i, cell in enumerate(cells):
        if not cell:
            continue
        if len(cell) > limit:
            column.bad[i] = Reason.TOO_LONG, f"at most {limit} characters"
        elif cell.isascii() and cell.isprintable():
            column.values[i] = cell
        elif (problem := _odd_text(cell)) is not None:
            column.bad[i] = problem, ""
        else:
            column.values[i] = cell
    return column


# Line and paragraph separators, and what makes a terminal show a line in another order than it is stored.
_TURNS_THE_LINE: Final = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _odd_text(cell: str) -> Reason | None:
    if any("\ud800" <= character <= "\udfff" for character in cell):
        return Reason.NOT_UTF8
    if any(character < " " or "\x7f" <= character < "\xa0" or character in _TURNS_THE_LINE for character in cell):
        return Reason.CONTROL_CHARACTER
    return None


def is_day(cell: str) -> bool:
    """Whether a moment is given as a bare date."""
    return len(cell) == 10 and _DAY.fullmatch(cell) is not None


def iso_moments(cells: Sequence[str], *, assume_utc: bool) -> Column[datetime]:
    """ISO 8601 moments in UTC; a bare date is its midnight. Without a zone: UTC if `assume_utc`, otherwise refused."""
    column: Column[datetime] = Column([None] * len(cells))
    for i, cell in enumerate(cells):
        if not cell:
            continue
        if len(cell) > NUMBER_LIMIT:
            column.bad[i] = Reason.TOO_LONG, f"a moment has at most {NUMBER_LIMIT} characters"
            continue
        try:
            moment = datetime.fromisoformat(cell) if _DAY.match(cell) else None
            if moment is not None and moment.tzinfo is None:
                if not (assume_utc or len(cell) == 10):
                    column.bad[i] = Reason.NO_TIME_ZONE, ""
                    continue
                moment = moment.replace(tzinfo=UTC)
            column.values[i] = moment.astimezone(UTC) if moment is not None else None
        except (ValueError, OverflowError):
            column.values[i] = None
        if column.values[i] is None:
            column.bad[i] = Reason.WRONG_TYPE, "an ISO 8601 moment was expected"
    return column


def epoch_moments(cells: Sequence[str], *, per_second: int) -> Column[datetime]:
    """Whole counts since 1970-01-01T00:00Z (1 000 per second: ms), cut to microseconds."""
    counts = integers(cells, limit=10**19)
    column: Column[datetime] = Column([None] * len(cells), counts.bad)
    for i, count in enumerate(counts.values):
        if count is None:
            continue
        try:
            column.values[i] = EPOCH + timedelta(microseconds=count * 1_000_000 // per_second)
        except OverflowError:
            column.bad[i] = Reason.OVERFLOW, "the year is beyond 9999"
    return column
