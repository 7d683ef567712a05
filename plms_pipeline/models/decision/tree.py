"""What should be done with a candidate, or with a champion that is watched?

The playbook's decision tree: an anomaly of data or telemetry wins over everything and halts; broken limits, or gates that did
not pass, are the risk lead's; nothing at all means that it may be promoted, once a person has signed. It recommends: it decides
nothing and promotes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from plms_pipeline.models.decision.matrix import (
    EXPOSURE,
    OWNERS,
    WITHOUT_CAPS,
    Escalation,
    escalation_of,
    escalations,
    is_anomaly,
    owners,
)
from plms_pipeline.models.records import NewCandidate

KEEP: Final = "keep"
PROMOTE: Final = "promote"
RISK_REVIEW: Final = "risk_review"
REQUEST_RETRAIN: Final = "request_retrain"
HALT: Final = "halt"

# Of a risk review without approval.
NO_MORE_THAN_NOISE: Final = "no_more_than_noise"
LIMIT: Final = "limit:"
DATA_NOT_OK: Final = "data_not_valid"
_SAID: Final = {
    KEEP: "Nothing is to be done.",
    PROMOTE: "No alerts: it may be promoted once the risk lead has signed.",
    RISK_REVIEW: "The risk lead decides: approve with reduced caps, request a retraining, or reject.",
    REQUEST_RETRAIN: "The champion's figures have left their limits: retrain, and let the risk lead look.",
    NO_MORE_THAN_NOISE: "Gates did not pass, and no caps make more of it: request a retraining, or reject.",
    HALT: "Data or telemetry are not to be trusted: stop deployment, open a data-quality incident, then retrain.",
}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the tree says.

    Attributes:
        action: one of the words above.
        sentence: for people.
        options: decisions that make sense, the first of them recommended.
        owners: roles that must hear of it.
        escalations: the lines of the matrix that were touched.
    """

    action: str
    sentence: str
    options: tuple[str, ...]
    owners: tuple[str, ...]
    escalations: tuple[Escalation, ...]


_OPTIONS: Final = {
    KEEP: (),
    PROMOTE: ("approve", "approve_with_caps", "request_retrain", "reject", "halt"),
    RISK_REVIEW: ("approve_with_caps", "request_retrain", "reject", "halt"),
    REQUEST_RETRAIN: ("request_retrain", "halt"),
    HALT: ("halt", "request_retrain", "reject"),
}


def recommend(*, alerts: Iterable[str], blocking: Iterable[str] = (), data_ok: bool = True) -> Recommendation:
    """What to do with a candidate.

    Args:
        alerts: stable codes of broken limits of its operations summary.
        blocking: names of the gates that did not pass; `limit:…` repeat alerts.
        data_ok: whether the checks of its data found no error.
    """
    codes = _codes(alerts, blocking, data_ok=data_ok)
    if any(is_anomaly(code) for code in codes):
        return _recommended(HALT, codes)
    hard = hard_gates(blocking)
    if hard:
        found = _recommended(RISK_REVIEW, codes)
        # What is no more than noise is not made more by caps: neither the tree nor a line of the matrix may say so.
        options = tuple(word for word in found.options if word != "approve_with_caps")
        return Recommendation(
            found.action, _SAID[NO_MORE_THAN_NOISE], options, found.owners, _lines(found.escalations, options)
        )
    return _recommended(RISK_REVIEW if codes else PROMOTE, codes)


def recommend_candidate(candidate: NewCandidate) -> Recommendation:
    """What to do with a candidate, from what is kept of its evaluation."""
    gates = [name for name in candidate.blockers if name != DATA_NOT_OK]
    return recommend(alerts=candidate.alerts, blocking=gates, data_ok=DATA_NOT_OK not in candidate.blockers)


def concerning(said: Recommendation, codes: Iterable[str]) -> Recommendation:
    """The same recommendation, told also to the owners of some codes."""
    named = tuple(dict.fromkeys(codes))
    lines = tuple(dict.fromkeys((*said.escalations, *_lines(escalations(named), said.options))))
    everybody = {*said.owners, *owners(named)}
    return replace(said, owners=tuple(role for role in OWNERS if role in everybody), escalations=lines)


def watch(*, alerts: Iterable[str], data_ok: bool = True) -> Recommendation:
    """What to do about a champion whose live figures broke these limits."""
    codes = _codes(alerts, (), data_ok=data_ok)
    if any(is_anomaly(code) for code in codes):
        return _recommended(HALT, codes)
    return _recommended(REQUEST_RETRAIN if codes else KEEP, codes)


def hard_gates(blocking: Iterable[str]) -> tuple[str, ...]:
    """The gates that no caps can mend: all but limits that are broken, and limits that nobody could judge."""
    return tuple(name for name in blocking if not name.startswith(LIMIT) or is_anomaly(name.removeprefix(LIMIT)))


def _codes(alerts: Iterable[str], blocking: Iterable[str], *, data_ok: bool) -> tuple[str, ...]:
    limits = [name.removeprefix(LIMIT) for name in blocking if name.startswith(LIMIT)]
    doubtful = [name for name in blocking if not name.startswith(LIMIT) and is_anomaly(name)]
    found = [*(() if data_ok else (DATA_NOT_OK,)), *alerts, *limits, *doubtful]
    return tuple(dict.fromkeys(found))


def _recommended(action: str, codes: tuple[str, ...]) -> Recommendation:
    options = _OPTIONS[action]
    return Recommendation(action, _SAID[action], options, owners(codes), _lines(escalations(codes), options))


def _lines(found: tuple[Escalation, ...], options: tuple[str, ...]) -> tuple[Escalation, ...]:
    """The lines of the matrix, of which none speaks of caps where they cannot be decided."""
    if "approve_with_caps" in options:
        return found
    return tuple(replace(line, todo=WITHOUT_CAPS) if line == EXPOSURE else line for line in found)


def path_of(codes: Iterable[str]) -> tuple[str, ...]:
    """The escalation path of alerts as the record tells it: `owner: code`, the risk lead last, who signs."""
    steps = [f"{escalation_of(code).owner}: {code}" for code in dict.fromkeys(codes)]
    return (*steps, "risk_lead: sign-off")
