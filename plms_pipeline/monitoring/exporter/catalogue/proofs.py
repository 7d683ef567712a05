"""What the nights proved, and whom alerts told."""

from __future__ import annotations

from typing import Final

from plms_pipeline.measures import MEASURES
from plms_pipeline.monitoring.exporter.catalogue.lanes import LANE
from plms_pipeline.monitoring.exporter.series import Label, Series
from plms_pipeline.registry.tables.vocabulary import BASES

NIGHTS: Final = ("ok", "fail", "unknown", "error")
SEVERITIES: Final = ("P0", "P1", "P2", "P3")
ALERT_STATES: Final = ("ok", "pending", "firing", "acked", "resolved")
DELIVERY_STATES: Final = ("pending", "done", "dead", "withdrawn")
_BOARD: Final = "PLMS reference, 10"
_NEVER: Final = "No night was proven yet, or the newest proof cannot be read."

_INVARIANTS: Final = (
    Series("plms_invariants_status", "gauge", "nights", "1: every invariant holds; 0: one is broken.", _BOARD, absent=_NEVER),
    Series("plms_invariants_violations_total", "gauge", "nights", "Rows that break an invariant.", _BOARD, absent=_NEVER),
    Series("plms_invariants_checks_total", "gauge", "nights", "Invariants that were checked.", _BOARD, absent=_NEVER),
    Series("plms_invariants_checks_passed", "gauge", "nights", "Invariants that hold.", _BOARD, absent=_NEVER),
    Series("plms_invariants_checks_failed", "gauge", "nights", "Invariants that are broken.", _BOARD, absent=_NEVER),
    Series(
        "plms_invariants_last_check_timestamp", "gauge", "nights", "When they were proven last, in seconds of the epoch.",
        _BOARD, absent=_NEVER,
    ),
    Series(
        "plms_invariants_violations_by_check", "gauge", "nights", "Rows that break it.", _BOARD, (Label("check_name"),),
        absent=_NEVER,
    ),
    Series(
        "plms_invariants_critical_violations", "gauge", "nights",
        "Rows that break an invariant of severity ERROR: the books are wrong, not only weak.", _BOARD, absent=_NEVER,
    ),
    Series(
        "plms_invariants_time_to_fix_seconds", "gauge", "nights",
        "From the first broken proof to the next clean one, mean of the last 30 days.", _BOARD,
        absent="Nothing was broken and put right in that time.",
    ),
    Series(
        "plms_invariants_status_history", "gauge", "nights", "Proofs of the last 30 days by what they said.", _BOARD,
        (Label("status", NIGHTS),),
    ),
    Series(
        "plms_nightly_last_timestamp_seconds", "gauge", "nights", "The instant of the newest nightly report.", "issue 5",
        absent=_NEVER,
    ),
    Series("plms_nightly_status", "gauge", "nights", "1: the newest night is not broken.", "issue 5", absent=_NEVER),
    Series(
        "plms_calibration_coverage_ratio", "gauge", "nights",
        "Share of the receipts that lay in their 90 % interval one step ahead, as the newest night found it.", "guide 000, 10",
        (Label("basis", BASES), Label("measure", MEASURES), LANE), absent="Nothing was forecast there.",
    ),
)  # fmt: skip

_UNTIL: Final = "This registry has no tables of alerts."
_ALERTS: Final = (
    Series(
        "plms_alerts", "gauge", "registry", "Alerts by severity and state.", "issue 5",
        (Label("severity", SEVERITIES), Label("state", ALERT_STATES)), absent=_UNTIL,
    ),
    Series(
        "plms_alerts_open", "gauge", "registry", "Subjects for which a rule fires, acknowledged or not.", "issue 5",
        (Label("rule"),), absent=_UNTIL,
    ),
    Series(
        "plms_alert_checks_oldest_age_seconds", "gauge", "registry",
        "Since the facts that were looked at longest ago were looked at.", "issue 5", absent=_UNTIL,
    ),
    Series(
        "plms_alert_checks_failed", "gauge", "registry", "Kinds of facts that could not be read at their last look.",
        "issue 5", absent=_UNTIL,
    ),
    Series(
        "plms_alert_deliveries", "gauge", "registry", "Messages by channel and state.", "issue 5",
        (Label("channel"), Label("state", DELIVERY_STATES)), absent=_UNTIL,
    ),
    Series(
        "plms_alert_deliveries_oldest_age_seconds", "gauge", "registry", "How long the first that has not gone out waits.",
        "issue 5", absent=_UNTIL,
    ),
)  # fmt: skip

PROOFS: Final = (*_INVARIANTS, *_ALERTS)
