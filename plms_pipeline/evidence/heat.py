"""How hot did it run? Five ratios, each between 0 and 1, and their weighted mean, with the guide's weights and limits.

Exposure is what was spent of the budget; drawdown the share of tasks that failed; burst by how much more was spent than
estimated; fee the share of blocking gates that failed; churn the repeated attempts per task. What is not known is left out
and said so; when nothing is known there is no heat to speak of, and none is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["cold", "warm", "hot"]
WEIGHTS: Final[Mapping[str, float]] = {"exposure": 1.0, "drawdown": 1.0, "burst": 1.0, "fee": 0.5, "churn": 0.5}
WARM: Final = 0.45
HOT: Final = 0.70


@dataclass(frozen=True, slots=True)
class Heat:
    """The weighted mean of the ratios that are known, and its level."""

    score: float
    level: Level
    ratios: Mapping[str, float | None]

    def fields(self) -> dict[str, str]:
        """The fields of its record."""
        known = {name: ratio for name, ratio in self.ratios.items() if ratio is not None}
        return {
            "heat_level": self.level, "heat_score": f"{self.score:.6f}", "inputs": f"{len(known)}/{len(self.ratios)}",
            **{name: f"{ratio:.6f}" for name, ratio in sorted(known.items())},
        }  # fmt: skip


def share(part: float | None, whole: float | None) -> float | None:
    """part / whole; None when either is unknown, or there is no whole."""
    return None if part is None or not whole else part / whole


def heat_of(ratios: Mapping[str, float | None]) -> Heat | None:
    """The heat of what is known; None when nothing is.

    Raises:
        KeyError: a ratio has no weight.
    """
    clamped = {
        name: None if ratio is None or not math.isfinite(ratio) else min(1.0, max(0.0, ratio))
        for name, ratio in ratios.items()
    }
    known = {name: ratio for name, ratio in clamped.items() if ratio is not None}
    if not known:
        return None
    score = sum(WEIGHTS[name] * ratio for name, ratio in known.items()) / sum(WEIGHTS[name] for name in known)
    return Heat(score, "hot" if score >= HOT else "warm" if score >= WARM else "cold", clamped)
