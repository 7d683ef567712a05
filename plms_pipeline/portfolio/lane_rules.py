"""What should change about a lane, and on what evidence?

A table of rules over a week of a lane's minutes, its verdicts and its receipts. A rule that has too little to go by says
nothing: a cap that follows three tasks would follow chance. What is in trouble is lowered before what is busy is raised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from plms_pipeline.portfolio.aimd import Signal

LEAST_ENDED: Final = 50
BUSY: Final = 0.90
MOST_ERRORS: Final = 0.05
MOST_OF_A_KIND: Final = 0.01
SHORT_TASK_MS: Final = 600_000
SLOW_QUEUE: Final = 10.0
LEAST_FAILED: Final = 10
FALSE_POSITIVES: Final = 0.20
ALPHAS: Final = (0.1, 0.2, 0.3, 0.5, 0.7)
BETTER_BY: Final = 0.05


@dataclass(frozen=True, slots=True)
class LaneWeek:
    """A week of one lane: slot time offered and used (ms), tasks ended and how, and what they took and waited together (ms)."""

    cap: int
    cap_ms: int
    busy_ms: int
    ended: int
    failed: int
    out_of_memory: int
    timeouts: int
    duration_ms: int
    waited_ms: int

    @property
    def busy(self) -> float:
        """Part of the offered slot time that was used."""
        return self.busy_ms / self.cap_ms if self.cap_ms else 0.0

    @property
    def errors(self) -> float:
        """Part of the ended tasks that failed."""
        return self.failed / self.ended if self.ended else 0.0

    @property
    def task_ms(self) -> float:
        """Mean time that a task held its slot."""
        return self.duration_ms / self.ended if self.ended else 0.0

    @property
    def wait_ms(self) -> float:
        """Mean time that a task was eligible before it got a slot."""
        return self.waited_ms / self.ended if self.ended else 0.0

    @property
    def evidence(self) -> dict[str, Any]:
        """The figures behind a recommendation."""
        return {
            "busy_ratio": round(self.busy, 4), "error_ratio": round(self.errors, 4), "ended": self.ended,
            "failed": self.failed, "out_of_memory": self.out_of_memory, "timeouts": self.timeouts,
            "mean_task_ms": round(self.task_ms), "mean_wait_ms": round(self.wait_ms),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class GateWeek:
    """A week of one gate: how often it failed work, and the measured values that a person then let pass."""

    kpi_name: str
    operator: str
    threshold: float
    failed: int
    let_pass: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One change that the evidence speaks for. `subject`: the gate's KPI; empty for caps and α."""

    field: str
    subject: str
    current: float
    recommended: float
    rule: str
    evidence: dict[str, Any]


_LOWER: Final[tuple[tuple[str, Callable[[LaneWeek], bool]], ...]] = (
    ("errors_over_5_percent", lambda week: week.errors > MOST_ERRORS),
    ("out_of_memory", lambda week: week.out_of_memory / week.ended > MOST_OF_A_KIND),
    ("timeouts", lambda week: week.timeouts / week.ended > MOST_OF_A_KIND),
    # Tasks wait although slots are free: what is behind the lane does not keep up, and more slots would not help it.
    ("slow_queue", lambda week: week.busy < BUSY and week.wait_ms > SLOW_QUEUE * max(1.0, week.task_ms)),
)


def signal_of(week: LaneWeek) -> tuple[Signal, str]:
    """Whether the cap should move, and the rule that says so (empty: none does)."""
    if week.ended < LEAST_ENDED or week.cap_ms <= 0:
        return "hold", ""
    for rule, holds in _LOWER:
        if holds(week):
            return "lower", rule
    if week.busy > BUSY and week.errors < MOST_ERRORS and week.task_ms <= SHORT_TASK_MS:
        return "raise", "busy_over_90_percent"
    return "hold", ""


def cap_review(week: LaneWeek) -> Recommendation | None:
    """The recommended cap: a quarter more or less, at least one, never below one."""
    signal, rule = signal_of(week)
    step = max(1, week.cap // 4)
    wanted = {"raise": week.cap + step, "lower": max(1, week.cap - step), "hold": week.cap}[signal]
    if wanted == week.cap or week.cap <= 0:
        return None
    return Recommendation("cap", "", week.cap, wanted, rule, week.evidence)


def gate_review(week: GateWeek) -> Recommendation | None:
    """The recommended threshold of a gate whose failures people overrule: just loose enough for the middle of those cases.

    Not for the worst of them: one reckless override would take the gate away.
    """
    overruled = sorted(value for value in week.let_pass if math.isfinite(value))
    if week.failed < LEAST_FAILED or len(overruled) / week.failed <= FALSE_POSITIVES:
        return None
    middle = overruled[len(overruled) // 2] if week.operator in (">=", ">") else overruled[(len(overruled) - 1) // 2]
    is_looser = middle < week.threshold if week.operator in (">=", ">") else middle > week.threshold
    if week.operator not in (">=", ">", "<=", "<") or not is_looser:
        return None
    evidence = {"failed": week.failed, "let_pass": len(overruled), "values": [overruled[0], middle, overruled[-1]]}
    return Recommendation("gate", week.kpi_name, week.threshold, middle, "false_positive_verdicts", evidence)


def alpha_review(series: Sequence[Sequence[float]], *, alpha: float) -> Recommendation | None:
    """The recommended weight of the newest receipt: that which forecasts the lane's receipts best, if it is clearly better.

    Args:
        series: per provider, a measure of the lane's receipts in order of completion; only positive ones count. A provider
            has a level of its own, so that following the order in which providers take turns would be no forecast.
        alpha: the weight in force.
    """
    logs = [[math.log(value) for value in values if value > 0 and math.isfinite(value)] for values in series]
    logs = [values for values in logs if len(values) > 1]
    if sum(map(len, logs)) < LEAST_ENDED:
        return None
    steps = sum(len(values) - 1 for values in logs)
    errors = {
        candidate: sum(_errors(values, candidate) for values in logs) / steps for candidate in sorted({*ALPHAS, alpha})
    }
    best = min(errors, key=lambda candidate: (errors[candidate], abs(candidate - alpha)))
    if best == alpha or errors[best] > (1.0 - BETTER_BY) * errors[alpha]:
        return None
    evidence = {
        "receipts": steps + len(logs), "providers": len(logs),
        "mean_absolute_log_error": {str(one): round(errors[one], 5) for one in errors},
    }  # fmt: skip
    return Recommendation("alpha", "", alpha, best, "forecasts_better", evidence)


def _errors(logs: Sequence[float], alpha: float) -> float:
    """Sum of the absolute errors of the exponentially weighted mean, one step ahead."""
    mean, total = logs[0], 0.0
    for value in logs[1:]:
        total += abs(value - mean)
        mean += alpha * (value - mean)
    return total
