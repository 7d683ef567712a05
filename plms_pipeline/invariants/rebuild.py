"""Are stored summaries and priors what the receipts give when they are computed again?

Counts must agree exactly. Sums of floats may differ in their last bits between machines and library versions, so everything
else is compared to 1e-9 relative; what is stored as nine digits to one unit of the ninth, because a difference in
the sixteenth may turn the rounding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np

from plms_pipeline.estimates.beliefs import RECEIPTS, Beliefs, DayFact
from plms_pipeline.estimates.priors import ANY, Prior
from plms_pipeline.estimates.summary import Summary, decode, digest
from plms_pipeline.measures import MEASURES
from plms_pipeline.registry.types import to_usd

RELATIVE: Final = 1e-9
NINTH_DIGIT: Final = 1.0001e-8
_COUNTS: Final = frozenset({"n", "n_zero"})
Key = tuple[int | None, str, str]


def differing_facts(stored: Iterable[DayFact], rebuilt: Iterable[DayFact]) -> list[str]:
    """How the stored summaries of one day differ from those of its receipts, one sentence per summary."""
    left, right = ({_key(fact): fact for fact in facts} for facts in (stored, rebuilt))
    wrong = []
    for key in sorted(left.keys() | right.keys()):
        if key not in left:
            problem = "is missing"
        elif key not in right:
            problem = "has no receipts behind it"
        else:
            problem = _fact_problem(left[key], right[key])
        if problem:
            fact = left.get(key) or right[key]
            wrong.append(f"{fact.measure} ({fact.basis}) of lane {fact.lane_id}, {fact.provider}: {problem}")
    return wrong


def _key(fact: DayFact) -> tuple[int, str, str, str]:
    return fact.lane_id, fact.provider, fact.measure, fact.basis


def _fact_problem(stored: DayFact, rebuilt: DayFact) -> str:
    if stored.n != rebuilt.n:
        return f"counts {stored.n}, the receipts give {rebuilt.n}"
    if stored.digest != digest(stored.summary):
        return "its bytes are not those that were hashed"
    if stored.summary == rebuilt.summary:
        return ""
    if stored.measure == RECEIPTS:
        return "its counts are not those of the receipts"
    try:
        agrees = _agree(decode(stored.summary), decode(rebuilt.summary))
    except ValueError as error:
        return f"cannot be read ({error})"
    return "" if agrees else "its numbers are not those of the receipts"


def _agree(left: Summary, right: Summary) -> bool:
    if (left.n, left.n_zero) != (right.n, right.n_zero) or not np.array_equal(left.positions, right.positions):
        return False
    scalars = [[each.log_mean, each.log_m2, each.first, each.last, each.ewma_a, each.ewma_b] for each in (left, right)]
    pairs = (scalars, (left.moments, right.moments), (left.weights, right.weights))
    return all(np.allclose(a, b, rtol=RELATIVE, atol=1e-300) for a, b in pairs)


def differing_priors(stored: Mapping[Key, str], rebuilt: Sequence[Prior], beliefs: Beliefs) -> list[str]:
    """How the newest priors differ from those that the receipts give.

    Args:
        stored: (lane or None, provider, basis) → JSON text of the newest version.
        rebuilt: the priors of `beliefs`.
        beliefs: says which (lane, provider) ever had a receipt: a prior whose receipts were all excluded since stays in the
            append-only table and is no offender; a prior that never had any is.
    """
    fresh = {prior.key: prior.body for prior in rebuilt}
    wrong = []
    for key in sorted(stored.keys() | fresh.keys(), key=repr):
        if key not in stored:
            problem = "is missing"
        elif key not in fresh:
            problem = "" if _ever_had_receipts(key, beliefs) else "no receipt was ever booked for it"
        else:
            problem = body_problem(stored[key], fresh[key])
        if problem:
            wrong.append(f"estimate_versions lane_id={key[0]} provider_name={key[1]} basis={key[2]}: {problem}")
    return wrong


def _ever_had_receipts(key: Key, beliefs: Beliefs) -> bool:
    lane, provider, basis = key
    cells = next((part.tallies for name, part in beliefs.bases.items() if name == basis), {})
    return any(lane in (None, cell[0]) and provider in (ANY, cell[1]) for cell in cells)


def body_problem(text: str, fresh: Mapping[str, Any]) -> str:
    """How a stored prior's JSON differs from a rebuilt body; empty when it does not."""
    try:
        stored = json.loads(text)
    except ValueError:
        return "its JSON cannot be read"
    if not isinstance(stored, dict):
        return "its JSON is no object"
    return next((f"{path}: {a} is stored, the receipts give {b}" for path, a, b in _differences(stored, fresh, "")), "")


def _differences(stored: Any, fresh: Any, path: str) -> Iterable[tuple[str, Any, Any]]:
    if isinstance(stored, Mapping) and isinstance(fresh, Mapping):
        for name in sorted(stored.keys() | fresh.keys()):
            yield from _differences(stored.get(name), fresh.get(name), f"{path}.{name}" if path else str(name))
    elif isinstance(stored, list) and isinstance(fresh, list) and len(stored) == len(fresh):
        for place, (a, b) in enumerate(zip(stored, fresh, strict=True)):
            yield from _differences(a, b, f"{path}[{place}]")
    elif not _same(stored, fresh, exactly=path.rpartition(".")[2] in _COUNTS):
        yield path, stored, fresh


def _same(stored: Any, fresh: Any, *, exactly: bool) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (stored, fresh))
    if exactly or not numbers:
        return bool(stored == fresh)
    return math.isclose(stored, fresh, rel_tol=NINTH_DIGIT)


def column_problem(text: str, columns: Mapping[str, Any]) -> str:
    """How the sources' columns of a prior differ from its JSON, which is what was hashed; empty when they do not.

    Args:
        text: the JSON.
        columns: `<measure>_mean` and `<measure>_stddev` per measure, as stored (money as Decimal).
    """
    try:
        body = json.loads(text)
        numbers = {measure: dict(body.get(measure) or {}) for measure in MEASURES}
    except (ValueError, TypeError, AttributeError):
        return "its JSON is no object of measures"
    for measure, found in numbers.items():
        for name in ("mean", "stddev"):
            column = f"{measure}_{name}"
            if not _column_agrees(columns[column], found.get(name)):
                return f"{column} is {columns[column]}, its JSON says {found.get(name)}"
    return ""


def _column_agrees(column: Any, number: Any) -> bool:
    if column is None or number is None:
        return column is None and number is None
    if isinstance(column, Decimal):
        return column == to_usd(number)
    return math.isclose(column, number, rel_tol=RELATIVE)
