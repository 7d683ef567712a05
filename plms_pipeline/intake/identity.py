"""What makes a row the same row, and what makes it an equal one?

The natural key names a row in its source's own words; the run id of foreign history is its uuid5, so importing a file again,
from another folder or on another machine, names the same runs. `row_sha256` covers every value that the source gave. The
second within the day of a row whose time of day is unknown is not such a value: it is the rank among its neighbours in one
file, and a later file with one more model would otherwise turn every known row into a conflict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

# Any fixed UUID does; this one is uuid5(NAMESPACE_DNS, "intake.plms-pipeline").
NAMESPACE: Final = UUID("ab50abcf-f563-5e10-b2b6-8d50400b53c4")
# Sorts below every printable character, so joined keys order as the tuples do.
SEPARATOR: Final = "\t"
HASH_VERSION: Final = "plms-receipt/1"
_FIELD: Final = "\x1f"


def natural_keys(columns: Sequence[Sequence[Any]], n: int) -> list[str]:
    """The parts of each row's key as one text that sorts as their tuple does; a moment counts as its day.

    Parts hold no control characters (the rules see to that), so keys are equal only when all their parts are.
    """
    if not columns:
        return [""] * n
    return [SEPARATOR.join(parts) for parts in zip(*(_key_texts(column) for column in columns), strict=True)]


def _key_texts(column: Sequence[Any]) -> list[str]:
    return [
        part if isinstance(part, str) else part.date().isoformat() if isinstance(part, datetime) else str(part)
        for part in column
    ]


def run_ids_of(source: str, keys: Sequence[str]) -> list[str]:
    """The registry's run ids of rows of foreign history: uuid5 of source and natural key."""
    return [str(uuid5(NAMESPACE, f"{source}{SEPARATOR}{key}")) for key in keys]


def row_digests(source: str, columns: Sequence[Sequence[Any]]) -> list[str]:
    """SHA-256 of the canonical text of each row; equal values give equal digests on every machine.

    Args:
        columns: what the source gave, parsed: str, int, float, bool, Decimal with six places, aware UTC datetime, None.
    """
    prefix = f"{HASH_VERSION}{_FIELD}{source}{_FIELD}"
    texts = [_texts(column) for column in columns]
    return [hashlib.sha256((prefix + _FIELD.join(parts)).encode()).hexdigest() for parts in zip(*texts, strict=True)]


def _texts(column: Sequence[Any]) -> list[str]:
    """Each value's canonical text; None is the empty text, which no value has."""
    return [
        "" if value is None
        else value if isinstance(value, str)
        else value.isoformat() if isinstance(value, datetime)
        else str(value)
        for value in column
    ]  # fmt: skip
