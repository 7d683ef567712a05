"""What did a validator see? A value, or the reason why there is none: never a default that looks measured.

The original answered 0.0, 999, 1.0 or 12.0 when it could not measure, and nobody could tell a broken input from bad work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Value = bool | int | float


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one validator saw of one KPI.

    Attributes:
        value: what was measured; None when it could not be.
        reason: why there is no value, or what a person should know about it.
        log: what the validator saw, for the log file beside the receipt.
        away: the value is missing because a system was away, not because of the artifact: worth another try.
    """

    value: Value | None
    reason: str | None = None
    log: str = ""
    away: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", clean(self.reason) if self.reason else None)
        if self.value is None and not self.reason:
            raise ValueError("a measurement without a value needs its reason")
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise ValueError(f"{self.value} is not a measurement; say None and why")


def clean(text: str) -> str:
    """Text that came from an artifact, as every database and terminal can keep it: no NUL, no surrogates, no controls."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else " " for letter in valid)[:2000]


def unmeasured(reason: str, *, log: str = "", away: bool = False) -> Measurement:
    """A KPI that could not be measured, and why."""
    return Measurement(None, reason, log, away)


def relative_delta(actual: int, expected: int) -> float:
    """|actual − expected| / max(1, expected): the sources' formula for rows and edges (both ≥ 0).

    With nothing expected it is the plain number found, so that 0 of 0 is perfect and 3 of 0 is not.

    Raises:
        ValueError: a count is negative.
    """
    if actual < 0 or expected < 0:
        raise ValueError(f"counts cannot be negative: actual {actual}, expected {expected}")
    return abs(actual - expected) / max(1, expected)
