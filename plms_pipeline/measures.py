"""Which quantities does a receipt measure, and in which units?

Named once, because tokens, milliseconds and dollars appear in every domain and a second spelling is how units get lost.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Measure: TypeAlias = Literal["tokens", "duration_ms", "cost_usd"]
Basis: TypeAlias = Literal["effort", "spend"]

MEASURES: Final[tuple[Measure, ...]] = ("tokens", "duration_ms", "cost_usd")
BASES: Final[tuple[Basis, ...]] = ("effort", "spend")

UNITS: Final[dict[Measure, str]] = {"tokens": "tokens", "duration_ms": "ms", "cost_usd": "USD"}
