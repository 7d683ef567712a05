"""Why can a row be refused?

Codes are stable and few, because people count and filter by them; the sentence says the rule. A row has one reason, the
first that applies in the order of the columns, so that inserted + unchanged + quarantined is always the number of rows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Reason(StrEnum):
    """Stable code of a refusal."""

    EMPTY = "empty"
    WRONG_TYPE = "wrong_type"
    NOT_A_NUMBER = "not_a_number"
    INFINITE = "infinite"
    NEGATIVE = "negative"
    OVERFLOW = "overflow"
    ABOVE_LIMIT = "above_limit"
    NOT_A_FRACTION = "not_a_fraction"
    TOO_LONG = "too_long"
    NOT_UTF8 = "not_utf8"
    CONTROL_CHARACTER = "control_character"
    UNKNOWN_LANE = "unknown_lane"
    UNKNOWN_WORD = "unknown_word"
    NO_TIME_ZONE = "no_time_zone"
    BEFORE_START = "completed_before_started"
    IN_THE_FUTURE = "in_the_future"
    TOO_OLD = "too_old"
    TOO_MANY_IN_A_DAY = "too_many_in_a_day"
    INCONSISTENT = "inconsistent"
    CONFLICT = "conflict"
    WRONG_CELL_COUNT = "wrong_cell_count"
    BAD_QUOTING = "bad_quoting"
    NOT_JSON = "not_json"


RULES: Final[dict[Reason, str]] = {
    Reason.EMPTY: "a key or required column must not be empty",
    Reason.WRONG_TYPE: "the cell is not of the column's type",
    Reason.NOT_A_NUMBER: "NaN is not a measurement; leave the cell empty when the value is unknown",
    Reason.INFINITE: "an infinite value is not a measurement",
    Reason.NEGATIVE: "a measurement cannot be negative",
    Reason.OVERFLOW: "the number does not fit the column",
    Reason.ABOVE_LIMIT: "the value is above the configured limit",
    Reason.NOT_A_FRACTION: "the value is outside its range",
    Reason.TOO_LONG: "the cell is longer than the column allows",
    Reason.NOT_UTF8: "the bytes are not UTF-8",
    Reason.CONTROL_CHARACTER: "control characters are not allowed in text",
    Reason.UNKNOWN_LANE: "the lane is neither registered nor an alias",
    Reason.UNKNOWN_WORD: "the word is not one of those allowed",
    Reason.NO_TIME_ZONE: "a moment needs a zone, for example 2025-07-20T12:00:00Z",
    Reason.BEFORE_START: "it cannot end before it started",
    Reason.IN_THE_FUTURE: "it cannot have ended after the present moment",
    Reason.TOO_OLD: "it ended before the first day that is kept",
    Reason.TOO_MANY_IN_A_DAY: "a day holds at most 86 400 rows whose time of day is unknown",
    Reason.INCONSISTENT: "the values contradict each other",
    Reason.CONFLICT: "the key is known with other values, and the books are append-only",
    Reason.WRONG_CELL_COUNT: "the row has another number of cells than the header",
    Reason.BAD_QUOTING: "the quotes of the row are not closed or closed wrongly",
    Reason.NOT_JSON: "the line is not one JSON object",
}


class Rejected(NamedTuple):
    """One refused row: where, which cell, why. `text` is one sentence for people."""

    line: int
    column: str
    value: str
    reason: Reason
    text: str


def rejected(line: int, column: str, value: str, reason: Reason, detail: str = "") -> Rejected:
    """A refusal whose sentence is the rule, followed by `detail` when the rule alone does not say it all."""
    return Rejected(line, column, value, reason, RULES[reason] + (f": {detail}" if detail else ""))
