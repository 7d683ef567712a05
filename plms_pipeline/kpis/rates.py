"""How often did a gate hold?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PassRate:
    """How often a lane's gate on one KPI passed: `n` evaluations, and the newest of them."""

    lane_id: int
    lane_name: str
    kpi: str
    n: int
    passed: int
    measured: int
    mean_value: float | None
    last_value: float | None
    last_pass: bool
    last_at: datetime

    @property
    def rate(self) -> float:
        """Passed / n, in [0, 1]."""
        return self.passed / self.n
