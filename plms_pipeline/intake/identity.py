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
from typing import Final
from uuid import UUID, uuid5

# Any fixed UUID does; this one is uuid5(NAMESPACE_DNS, "intake.plms-pipeline").
NAMESPACE: Final = UUID("ab50abcf-f563-5e10-b2b6-8d50400b53c4")
# Sorts below every printable character, so joined keys order as the tuples do.
SEPARATOR: Final = "\t"
HASH_VERSION: Final = "plms-receipt/1"


def natural_key(parts: Sequence[str]) -> str:
    """The parts of a key as one text that sorts as their tuple does; parts hold no control characters (rules.py)."""
    return SEPARATOR.join(parts)


def run_id_of(source: str, key: str) -> str:
    """The registry's run id of a row of foreign history."""
    return str(uuid5(NAMESPACE, f"{source}{SEPARATOR}{key}"))


def row_sha256(source: str, values: Sequence[object]) -> str:
    """SHA-256 of the canonical text of a row's values; equal values give equal digests on every machine.

    Args:
        values: what the source gave, parsed: str, int, float, bool, Decimal with six places, aware UTC datetime, None.
    """
    parts = [HASH_VERSION, source]
    for value in values:
        if value is None:
            parts.append("")
        elif isinstance(value, datetime):
            parts.append(value.isoformat())
        else:
            parts.append(f"{value}")
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
