"""What can a rule look at, and in which unit?

Each input is read by one source (`alerts/sources/`). A unit bounds what a threshold may be: 20 for a fraction was meant as
20 %, and a rule that can never fire looks exactly like one that never had to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Unit = Literal["minutes", "ratio", "times", "count", "usd", "gib", "flag", "seconds"]
# The least and the greatest threshold that makes sense.
BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "minutes": (0, 525_600), "ratio": (0, 1), "times": (0, 1000), "count": (0, 10**9), "usd": (0, 10**8), "gib": (0, 2**20),
    "flag": (1, 1), "seconds": (0, 31_536_000),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that is measured per subject. `may_exceed`: a fraction that may be above 1 (an overrun)."""

    name: str
    source: str
    unit: Unit
    meaning: str
    may_exceed: bool = False

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest threshold."""
        low, high = BOUNDS[self.unit]
        return (low, 10.0) if self.may_exceed else (low, high)

    def shown(self, value: float) -> str:
        """A value for people."""
        if self.unit == "ratio":
            return f"{value:.1%}"
        if self.unit == "usd":
            return f"{value:,.2f} USD"
        if self.unit == "flag":
            return "yes" if value else "no"
        if self.unit == "gib":
            return f"{value:.2f} GiB"
        name = {"minutes": " min", "times": "×", "seconds": " s", "count": ""}[self.unit]
        return f"{value:,.1f}".removesuffix(".0") + name


_ALL: Final = (
    Input("minutes_to_depletion", "budget", "minutes", "minutes until a project's budget is gone at its present burn"),
    Input("overrun_ratio", "budget", "ratio", "projected overrun of a project over its budget", may_exceed=True),
    Input("daily_budget_ratio", "spending", "ratio", "settled part of a daily budget", may_exceed=True),
    Input("spent_today_usd", "spending", "usd", "what everything has spent today"),
    Input("redis_down", "redis", "flag", "Redis does not answer"),
    Input("redis_memory_ratio", "redis", "ratio", "used part of Redis' memory limit", may_exceed=True),
    Input("redis_hit_ratio", "redis", "ratio", "hits among the look-ups since the last look"),
    Input("passport_incomplete", "passports", "flag", "a run of the last day has no complete passport"),
    Input("project_blocked", "gates", "flag", "a project waits because KPI gates failed"),
    Input("invariants_broken", "nights", "count", "invariants that the newest night found broken"),
    Input("calibration_mae_ratio", "drift", "ratio", "mean error of a lane's estimates in its last projects",
          may_exceed=True),
    Input("lane_busy_ratio", "lanes", "ratio", "slot time used of a lane's cap in the last two hours", may_exceed=True),
    Input("lane_queue", "lanes", "count", "the least number of cards that waited in a lane in the last half hour"),
    Input("launcher_runs", "guards", "count", "starts outside an approved project that go on"),
    Input("rate_limited", "guards", "count", "starts that the rate refused in the last five minutes"),
    Input("failure_ratio", "failures", "ratio", "failed tasks among those of the last hour"),
    Input("dead_letters", "letters", "count", "dead letters that are owed work"),
    Input("dead_letters_growth", "letters", "count", "dead letters of the last hour less those that ended in it"),
    Input("disk_free_gib", "disk", "gib", "free space where the pipeline stores and reports"),
    Input("killswitch_on", "killswitch", "flag", "a kill switch is on"),
    Input("secrets_found", "secrets", "count", "places in what we keep that look like a secret"),
    Input("evidence_dropped_per_s", "evidence", "times", "observations dropped per second in ten minutes"),
    Input("evidence_timeout_ratio", "evidence", "ratio", "timeouts among the observations of ten minutes"),
    Input("evidence_backend_errors", "evidence", "count", "observations that ended as backend errors in five minutes"),
    Input("latency_p95_times", "latency", "times", "P95 of an endpoint over its target"),
    Input("nightly_failed", "nights", "flag", "the newest night failed, or its books were not proven"),
    Input("nightly_absent_hours", "nights", "count", "hours since a night was due whose report is not there"),
    Input("sensor_failures", "dagster", "count", "failures in a row of a sensor or schedule"),
    Input("sensor_lag_s", "dagster", "seconds", "how long a running sensor or schedule has not ticked, over its interval"),
    Input("candidate_for_risk_lead", "candidates", "flag", "a trained model waits for the risk lead"),
    Input("candidate_for_data_engineering", "candidates", "flag", "a trained model waits, and its data are in doubt"),
    Input("candidate_for_trading_supervision", "candidates", "flag", "a trained model waits whose book broke limits"),
    Input("candidate_for_portfolio_manager", "candidates", "flag", "a trained model waits that analysts doubt"),
    Input("live_data_in_doubt", "candidates", "flag", "the newest look at what serves found data that cannot be judged"),
    Input("daemon_silence_s", "daemon", "seconds", "how long the Dagster daemon has given no sign"),
)  # fmt: skip
INPUTS: Final[dict[str, Input]] = {one.name: one for one in _ALL}
SOURCES: Final[tuple[str, ...]] = tuple(dict.fromkeys(one.source for one in _ALL))
