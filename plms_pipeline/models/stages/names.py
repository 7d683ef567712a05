"""Which stages are there, and which sentences must be true of each?

Plain tables that import nothing heavy: Dagster reads them whenever a process of it starts. Names of checks are sentences that
are true when they pass; what is behind each is found out by the other modules of this folder, by the gates, and by what keeps a
promotion back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MARKET_BARS, DATASET_SNAPSHOT, FEATURE_MATRIX = "market_bars", "dataset_snapshot", "feature_matrix"
CANDIDATE_MODEL, CANDIDATE_PREDICTIONS = "candidate_model", "candidate_predictions"
CANDIDATE_EVALUATION, OPERATIONS_SUMMARY = "candidate_evaluation", "operations_summary"
CANDIDATE_REPORT, PROMOTION_RECOMMENDATION = "candidate_report", "promotion_recommendation"
PROMOTED_MODEL, LIVE_MONITOR = "promoted_model", "live_monitor"
ESTIMATES_MONITOR: Final = "estimates_monitor"


@dataclass(frozen=True, slots=True)
class CheckName:
    """A sentence about an asset. `is_blocking`: while it is false, nothing is promoted."""

    name: str
    asset: str
    description: str
    is_blocking: bool = False
    is_warning: bool = False


# Which findings about a file of prices make which sentence untrue.
BAR_FINDINGS: Final[dict[str, tuple[str, ...]]] = {
    "every_row_can_be_read": ("unreadable_values", "unusable_symbol", "implausible_time"),
    "prices_are_above_zero": ("non_positive_prices", "implausible_magnitude"),
    "no_high_is_below_its_low": ("high_below_low", "range_misses_open_or_close"),
    "no_volume_is_negative": ("negative_volume",),
    "no_bar_is_there_twice": ("duplicate_rows", "conflicting_duplicates"),
    "no_bar_is_of_the_future": ("future_timestamp",),
    "time_is_not_shuffled": ("shuffled_time", "unordered_rows"),
    "prices_are_no_returns": ("returns_as_prices",),
    "no_bar_is_missing": ("gaps",),
    "the_feed_does_not_stand_still": ("stale_feed",),
    "the_last_bar_is_recent": ("stale_end",),
    "no_split_is_left_unadjusted": ("suspicious_splits",),
}
# These are for a person to judge, and keep training back under strict validation only.
_SUSPICIONS: Final = frozenset(
    {"no_bar_is_missing", "the_feed_does_not_stand_still", "the_last_bar_is_recent", "no_split_is_left_unadjusted"}
)
STRICT: Final = "passes_strict_validation"
SNAPSHOT_HASH: Final = "snapshot_is_what_its_hash_says"
NO_LOOK_AHEAD: Final = "no_feature_sees_the_future"
FILES_UNCHANGED: Final = "files_are_as_they_were_trained"
OUTCOMES_LATER: Final = "every_outcome_is_later_than_its_prediction"
NO_LEVELS: Final = "realised_returns_are_no_price_levels"
OUT_OF_SAMPLE: Final = "every_prediction_is_out_of_sample"
NO_LIMIT_BROKEN: Final = "no_limit_is_broken"
SUMMARY_UNCHANGED: Final = "summary_is_the_registered_one"
LIVE_FEED: Final = "live_prices_can_be_trusted"
LIVE_DRIFT, LIVE_RISK = "live_returns_do_not_drift", "live_risk_is_within_its_limits"
LIVE_INTERVALS, LIVE_GAIN = "live_intervals_hold", "priors_are_no_better_live"

GATES: Final[dict[str, str]] = {
    "has_enough_periods_out_of_sample": "There are enough moments out of sample to say anything.",
    "information_coefficient_is_more_than_noise": "The lower limit of the information coefficient lies above zero.",
    "sharpe_after_costs_is_more_than_noise": "The lower limit of the Sharpe ratio after costs lies above zero.",
    "sharpe_is_more_than_the_luck_of_all_trials": "The Sharpe ratio beats what the best of all trials shows by luck.",
    "information_coefficient_is_believable": "The information coefficient is not too good to be true.",
    "sharpe_is_believable": "The Sharpe ratio is not too good to be true.",
}

# Which codes of `actions/checking.py` make which sentence untrue; what has no line here speaks of stored files.
FILES_AS_JUDGED: Final = "hashes_are_unchanged"
OBSTACLES: Final[dict[str, tuple[str, ...]]] = {
    "every_gate_is_passed": (
        "gates_failed",
        "caps_needed",
        "cap_loosens",
        "caps_do_not_mend",
        "caps_not_enforced",
    ),
    "data_are_sound": ("data_anomaly",),
    "candidate_has_not_expired": ("candidate_expired",),
    FILES_AS_JUDGED: (
        "model_altered",
        "summary_altered",
        "run_altered",
        "data_altered",
        "data_unknown",
        "file_missing",
    ),
    "golden_results_are_verified": ("golden_failed", "bad_golden", "bad_model"),
    "promotion_is_not_halted": ("promotion_halted", "live_data_in_doubt"),
    "guardrails_are_on": ("guardrails_off",),
    "service_levels_hold": ("slo_breached",),
}

CHECKS: Final[tuple[CheckName, ...]] = (
    *(
        CheckName(name, MARKET_BARS, f"Nothing of these was found: {', '.join(found)}.", is_warning=name in _SUSPICIONS)
        for name, found in BAR_FINDINGS.items()
    ),
    CheckName(
        STRICT, MARKET_BARS, "Nothing at all was found, so that `--strict-validation` trains on it.", is_warning=True
    ),
    CheckName(SNAPSHOT_HASH, DATASET_SNAPSHOT, "The snapshot holds the bars that its name says.", is_blocking=True),
    CheckName(
        NO_LOOK_AHEAD, FEATURE_MATRIX, "No feature of the past changes when only the future does.", is_blocking=True
    ),
    CheckName(
        FILES_UNCHANGED, CANDIDATE_MODEL, "Model, experiment and predictions have the bytes that the registry knows.",
        is_blocking=True,
    ),
    CheckName(
        OUTCOMES_LATER, CANDIDATE_PREDICTIONS, "No prediction was made when its outcome was known.", is_blocking=True
    ),
    CheckName(
        OUT_OF_SAMPLE, CANDIDATE_PREDICTIONS, "Every prediction lies behind what its model was trained on.",
        is_blocking=True,
    ),
    CheckName(NO_LEVELS, CANDIDATE_PREDICTIONS, "Returns are returns, and not the prices themselves.", is_blocking=True),
    *(CheckName(name, CANDIDATE_EVALUATION, told, is_blocking=True) for name, told in GATES.items()),
    CheckName(
        NO_LIMIT_BROKEN, OPERATIONS_SUMMARY, "No limit that was set for the operations summary is broken.", is_blocking=True
    ),
    CheckName(
        SUMMARY_UNCHANGED, OPERATIONS_SUMMARY, "The summary has the bytes that a decision is about.", is_blocking=True
    ),
    *(
        CheckName(name, PROMOTION_RECOMMENDATION, f"None of these is in the way: {', '.join(codes)}.", is_blocking=True)
        for name, codes in OBSTACLES.items()
    ),
    CheckName(LIVE_FEED, LIVE_MONITOR, "The prices since the training are no anomaly: they win over everything else."),
    CheckName(LIVE_DRIFT, LIVE_MONITOR, "What the champion earns is distributed as what was approved."),
    CheckName(LIVE_RISK, LIVE_MONITOR, "Sharpe ratio, drawdown and tail of the champion are within their limits."),
    CheckName(LIVE_INTERVALS, ESTIMATES_MONITOR, "What was begun since the promotion took what its 90 % intervals said."),
    CheckName(LIVE_GAIN, ESTIMATES_MONITOR, "The priors do not forecast better what was begun since the promotion."),
)  # fmt: skip


def checks_of(asset: str) -> tuple[CheckName, ...]:
    """The sentences about an asset, in the order in which they are told."""
    return tuple(one for one in CHECKS if one.asset == asset)
