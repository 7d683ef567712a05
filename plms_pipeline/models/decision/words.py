"""What may be decided about a candidate, by whom, and what does it become?

Five words. What goes live is signed by the risk lead; a halt may be called by anybody who may decide at all. A candidate that
was rejected, expired or replaced stays so: whoever wants it back trains it again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from plms_pipeline.errors import BadInput, Conflict, Forbidden
from plms_pipeline.models.decision.matrix import RISK_LEAD, ROLES
from plms_pipeline.models.records import APPROVED, HALTED, REJECTED, RETRAIN_REQUESTED, WAITING

APPROVE: Final = "approve"
APPROVE_WITH_CAPS: Final = "approve_with_caps"
REQUEST_RETRAIN: Final = "request_retrain"
REJECT: Final = "reject"
HALT: Final = "halt"
BECOMES: Final[dict[str, str]] = {
    APPROVE: APPROVED, APPROVE_WITH_CAPS: APPROVED, REQUEST_RETRAIN: RETRAIN_REQUESTED, REJECT: REJECTED, HALT: HALTED,
}  # fmt: skip
DECISIONS: Final = tuple(BECOMES)
APPROVALS: Final = (APPROVE, APPROVE_WITH_CAPS)
# Which words a state still admits. An approval can be taken back until it has been promoted.
ADMITS: Final[dict[str, tuple[str, ...]]] = {
    WAITING: DECISIONS,
    APPROVED: (REQUEST_RETRAIN, REJECT, HALT),
    HALTED: (APPROVE, APPROVE_WITH_CAPS, REQUEST_RETRAIN, REJECT),
}
# What `/guardrails` enforces of an approval (`guardrails.with_caps`): these, and a sector's or a factor's own.
CAPS: Final = ("max_gross_exposure", "max_net_exposure", "max_turnover", "max_symbol_exposure")
_MEMBER: Final = re.compile(r"(sector|factor):[!-~]([ -~]{0,62}[!-~])?")


def decision_of(word: str) -> str:
    """One of the five words.

    Raises:
        BadInput: it is none (`unknown_decision`).
    """
    if word not in BECOMES:
        raise BadInput(f"{word[:64]!r} is no decision; decide one of {', '.join(DECISIONS)}.", code="unknown_decision")
    return word


def role_of(role: str, decision: str) -> str:
    """The role in which somebody decides.

    Raises:
        BadInput: nobody has this role (`unknown_role`).
        Forbidden: it may not sign what goes live (`needs_risk_lead`).
    """
    named = role.strip().lower().replace("-", "_").replace(" ", "_")
    if named not in ROLES:
        raise BadInput(f"{role[:64]!r} is no role; decide as one of {', '.join(ROLES)}.", code="unknown_role")
    if decision in APPROVALS and named != RISK_LEAD:
        raise Forbidden(
            f"A model goes live when the risk lead signs; {named} may request_retrain, reject or halt.",
            code="needs_risk_lead",
        )
    return named


def caps_of(caps: Mapping[str, Any] | None, decision: str) -> dict[str, float] | None:
    """The caps of a decision: multiples of the capital base that `/guardrails` enforces.

    Raises:
        BadInput: caps without `approve_with_caps` or the other way round (`caps_not_asked`, `caps_missing`), a cap that
            nobody enforces (`unknown_cap`), or one that is no finite number of 0 or more (`bad_cap`).
    """
    given = dict(caps or {})
    if decision != APPROVE_WITH_CAPS:
        if given:
            raise BadInput(f"{decision} takes no caps; decide approve_with_caps to set them.", code="caps_not_asked")
        return None
    if not given:
        raise BadInput(f"approve_with_caps needs a cap, for instance {CAPS[0]}=0.5.", code="caps_missing")
    for name, value in given.items():
        if name not in CAPS and not _MEMBER.fullmatch(name):
            known = ", ".join((*CAPS, "sector:NAME", "factor:NAME"))
            raise BadInput(f"{name[:64]!r} is no cap; there are {known}.", code="unknown_cap")
        if not _is_cap(value):
            raise BadInput(f"{name} is {str(value)[:40]}; a cap is a finite number, 0 or more.", code="bad_cap")
    return {name: float(given[name]) for name in sorted(given)}


def _is_cap(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value) and value >= 0
    except OverflowError:  # a whole number beyond all floats
        return False


def next_state(state: str, decision: str, candidate_id: str) -> str:
    """What a candidate becomes.

    Raises:
        Conflict: it can no longer be decided about so (`already_decided`).
    """
    if decision not in ADMITS.get(state, ()):
        left = ", ".join(ADMITS.get(state, ())) or "nothing"
        raise Conflict(
            f"Candidate {candidate_id} is {state.replace('_', ' ')}; what can still be decided about it: {left}. Train "
            "again for another candidate.",
            code="already_decided",
        )
    return BECOMES[decision]
