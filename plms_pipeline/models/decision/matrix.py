"""Who judges which alert?

The escalation matrix of the playbook as data: a stable alert code names the trigger, a trigger its owner and what the owner
does. Whoever gets a code that nobody knows is the risk lead: an alert without an owner is one that everybody leaves to the
others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RISK_LEAD: Final = "risk_lead"
DATA_ENGINEERING: Final = "data_engineering"
TRADING_SUPERVISION: Final = "trading_supervision"
PORTFOLIO_MANAGER: Final = "portfolio_manager"
OWNERS: Final = (RISK_LEAD, DATA_ENGINEERING, TRADING_SUPERVISION, PORTFOLIO_MANAGER)
# Who may sign a decision; only the risk lead signs off what goes live.
ROLES: Final = (*OWNERS, "ml_engineer", "compliance")


@dataclass(frozen=True, slots=True)
class Escalation:
    """One line of the matrix."""

    trigger: str
    owner: str
    todo: str


PERFORMANCE: Final = Escalation(
    "drawdown or Sharpe alert",
    RISK_LEAD,
    "look at it in depth, simulate what caps and costs would change, approve or deny",
)
EXPOSURE: Final = Escalation("guardrail alert", RISK_LEAD, "approve with reduced caps, request a retraining, or reject")
# Where a gate did not pass, too.
WITHOUT_CAPS: Final = "request a retraining, or reject"
DRIFT: Final = Escalation(
    "drift above its limit", DATA_ENGINEERING, "validate the feeds, rebuild with --strict-validation, coordinate"
)
UNKNOWN: Final = Escalation(
    "a figure that cannot be judged", DATA_ENGINEERING, "find out why it is missing; the limit on it speaks for nobody"
)
DATA: Final = Escalation(
    "data or telemetry anomaly", DATA_ENGINEERING, "open a data-quality incident, watch fresh returns, then retrain"
)
SUPERVISION: Final = Escalation(
    "guardrail violations of more than 0.5 % of trades", TRADING_SUPERVISION,
    "review annotations and manual overrides, tell compliance",
)  # fmt: skip
ANALYSTS: Final = Escalation(
    "analysts reject trades", PORTFOLIO_MANAGER, "judge their rationale, update the strategy notes, feed it back"
)

# What no evaluation says of itself (`actions/escalating.py`).
VIOLATIONS: Final = "guardrail_violations_above_share"
REJECTIONS: Final = "annotations_reject"
_BY_CODE: Final[dict[str, Escalation]] = {
    "sharpe_below_minimum": PERFORMANCE, "drawdown_above_limit": PERFORMANCE,
    "gross_exposure_above_limit": EXPOSURE, "turnover_above_limit": EXPOSURE, "tail_return_below_floor": EXPOSURE,
    "tail_events_above_limit": EXPOSURE, "symbol_exposure_above_limit": EXPOSURE, "value_at_risk_below_floor": EXPOSURE,
    "psi_above_limit": DRIFT, "js_above_limit": DRIFT, "ks_above_limit": DRIFT,
    VIOLATIONS: SUPERVISION, REJECTIONS: ANALYSTS,
    "information_coefficient_is_believable": DATA, "sharpe_is_believable": DATA,
    "data_not_valid": DATA, "feed_is_stale": DATA,
}  # fmt: skip


def escalation_of(code: str) -> Escalation:
    """The line of the matrix for an alert code."""
    if code.endswith("_unknown"):
        return UNKNOWN
    return _BY_CODE.get(code, PERFORMANCE)


def is_anomaly(code: str) -> bool:
    """Whether a code speaks of data or telemetry rather than of the model: it wins over everything else."""
    return escalation_of(code) in (DATA, UNKNOWN)


def escalations(codes: Iterable[str]) -> tuple[Escalation, ...]:
    """The lines of the matrix that some alerts touch, each once, in the order of the codes."""
    return tuple(dict.fromkeys(escalation_of(code) for code in codes))


def owners(codes: Iterable[str]) -> tuple[str, ...]:
    """Who must hear of a candidate with these alerts: the owners of the matrix, and the risk lead, who signs in any case."""
    found = {line.owner for line in escalations(codes)} | {RISK_LEAD}
    return tuple(owner for owner in OWNERS if owner in found)
