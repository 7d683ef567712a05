"""What would the dice say, if this were thrown again?

Every random choice of the reference executor is a hash of its seed and of what the choice is about. A generator with a
state gives other numbers when two cards arrive in another order or the process was killed in between; here the same card
meets the same fate whenever and however often it is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def draw(seed: int, *about: str | int) -> float:
    """A number in [0, 1), evenly spread over seeds and subjects."""
    digest = hashlib.sha256(json.dumps([seed, *about]).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def pick(choices: Sequence[T], seed: int, *about: str | int) -> T:
    """One of `choices`, which must not be empty."""
    return choices[int(draw(seed, *about) * len(choices))]


def between(low: float, high: float, seed: int, *about: str | int) -> float:
    """A number in [low, high)."""
    return low + (high - low) * draw(seed, *about)
