"""In which form does HTTP tell of candidates, champions, halts and switches, and what does it ask for?"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access.forms import BecauseIn

Family = Literal["market", "estimates"]
CandidateState = Literal[
    "waiting", "approved", "promoted", "rejected", "retrain_requested", "halted", "expired", "replaced"
]
Role = Literal["risk_lead", "data_engineering", "trading_supervision", "portfolio_manager", "ml_engineer", "compliance"]
CapName = Annotated[
    str,
    Field(
        pattern=r"^(max_gross_exposure|max_net_exposure|max_turnover|max_symbol_exposure"
        r"|(sector|factor):[!-~]([ -~]{0,62}[!-~])?)$"
    ),
]
_ID = "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"
_SHA = "9c14a20125cb34a3606cb8e15a823ea46a3ad26e1c81437d49bd0498194aef87"
CANDIDATE: dict[str, Any] = {
    "candidate_id": _ID, "family": "market", "folder": "automation_runs/20260301-120000",
    "bytes": {"model": _SHA, "evaluation": _SHA, "data": _SHA, "manifest": _SHA, "experiment": _SHA}, "trials": 1,
    "gates_passed": True, "alerts": [], "action": "promote", "blockers": [], "started_from": None, "requested_by": "ann",
    "requested_by_verified": True, "reason": "weekly", "created_at": "2026-03-01T12:00:00+00:00",
    "expires_at": "2026-03-15T12:00:00+00:00", "state": "waiting", "decision_id": None, "decided_at": None,
    "decided_by": None, "caps": None,
}  # fmt: skip
CHAMPION: dict[str, Any] = {
    "promotion_id": _ID, "family": "market", "sequence": 1, "kind": "promotion", "candidate_id": _ID,
    "folder": "automation_runs/20260301-120000", "model_sha256": _SHA, "evaluation_sha256": _SHA, "data_sha256": _SHA,
    "caps": None, "decision_id": _ID, "promoted_at": "2026-03-01T12:00:00+00:00", "promoted_by": "bob",
}  # fmt: skip
HALT: dict[str, Any] = {
    "halt_id": _ID, "family": "market", "decision_id": _ID, "reason": "the feed stands still", "halted_by": "bob",
    "halted_at": "2026-03-01T12:00:00+00:00", "lifted_at": None, "lifted_by": None, "lift_decision_id": None,
}  # fmt: skip
SWITCH: dict[str, Any] = {"family": "market", "enabled": True, "reason": None, "by": None, "at": None}


class BytesOut(BaseModel):
    """SHA-256 of what a decision is about."""

    model: str
    evaluation: str = Field(description="Of operations_summary.json.")
    data: str = Field(description="Of the content of the data.")
    manifest: str
    experiment: str


class CandidateOut(BaseModel):
    """A trained model, and what became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [CANDIDATE]})
    candidate_id: str
    family: str
    folder: str
    bytes: BytesOut
    trials: int = Field(description="Experiments that were tried on the same data, this one included.")
    gates_passed: bool
    alerts: list[str]
    action: str = Field(description="What the decision tree recommends: promote, risk_review or halt.")
    blockers: list[str]
    started_from: str | None
    requested_by: str
    requested_by_verified: bool
    reason: str | None
    created_at: str
    expires_at: str
    state: str
    decision_id: str | None
    decided_at: str | None
    decided_by: str | None
    caps: dict[str, float] | None


class BlockerOut(BaseModel):
    """What keeps a candidate from going live now."""

    code: str
    sentence: str


class EscalationOut(BaseModel):
    """A line of the escalation matrix."""

    trigger: str
    owner: str
    todo: str


class RecommendationOut(BaseModel):
    """What the decision tree says."""

    action: str
    sentence: str
    options: list[str]
    owners: list[str]
    escalations: list[EscalationOut]


class ShownOut(BaseModel):
    """A candidate, looked at now."""

    candidate: CandidateOut
    recommendation: RecommendationOut
    blockers: list[BlockerOut]
    decisions: list[dict[str, Any]]
    evidence_sha256: str = Field(description="Of operations_summary.json; a decision sends it back.")


class ChampionOut(BaseModel):
    """A promotion or rollback."""

    model_config = ConfigDict(json_schema_extra={"examples": [CHAMPION]})
    promotion_id: str
    family: str
    sequence: int
    kind: str
    candidate_id: str
    folder: str
    model_sha256: str
    evaluation_sha256: str
    data_sha256: str
    caps: dict[str, float] | None
    decision_id: str
    promoted_at: str
    promoted_by: str


class PromotedOut(BaseModel):
    """The champion, and whether it is one only now."""

    champion: ChampionOut
    is_new: bool
    warnings: list[str] = Field(
        description="What whoever brought a champion back must know: guardrails off, data gone."
    )


class DecidedOut(BaseModel):
    """What was decided, its record, and the champion if it was promoted at once."""

    decision_id: str
    candidate: CandidateOut
    record: dict[str, Any]
    champion: ChampionOut | None


class HaltOut(BaseModel):
    """Promotions of a family are stopped, or were."""

    model_config = ConfigDict(json_schema_extra={"examples": [HALT]})
    halt_id: str
    family: str
    decision_id: str
    reason: str
    halted_by: str
    halted_at: str
    lifted_at: str | None
    lifted_by: str | None
    lift_decision_id: str | None


class SwitchOut(BaseModel):
    """Whether the guardrails of serving are on."""

    model_config = ConfigDict(json_schema_extra={"examples": [SWITCH]})
    family: str
    enabled: bool
    reason: str | None
    by: str | None
    at: str | None


class StopsOut(BaseModel):
    """What stops promotions."""

    halts: list[HaltOut]
    guardrails: SwitchOut


class _DecisionIn(BecauseIn):
    role: Role = Field(description="In which you decide; only risk_lead signs an approval.")
    evidence_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="Digest of the summary that you read; another one is refused."
    )
    promote: bool = Field(True, strict=True, description="Promote what is approved at once; else the sensor does.")


class DecideIn(_DecisionIn):
    """A decision about a candidate."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [
        {"decision": "approve", "role": "risk_lead", "reason": "holds out of sample", "evidence_sha256": _SHA}
    ]})  # fmt: skip
    decision: Literal["approve", "request_retrain", "reject", "halt"]


class DecideWithCapsIn(_DecisionIn):
    """An approval under caps."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [
        {"decision": "approve_with_caps", "role": "risk_lead", "reason": "half of it", "caps": {"max_gross_exposure": 0.5}}
    ]})  # fmt: skip
    decision: Literal["approve_with_caps"]
    # Strict: `true` would be a cap of 1.
    caps: dict[CapName, Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]] = Field(
        min_length=1, max_length=100, description="In multiples of the capital; only tightens what is configured.",
        # pydantic says which names are known, and not that there are no others.
        json_schema_extra={"additionalProperties": False},
    )  # fmt: skip


class RollbackIn(BecauseIn):
    """Which champion comes back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "it loses money"}]})
    to: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="A candidate that served once; default: the one before.",
    )


class GuardrailsIn(BecauseIn):
    """On or off."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"enabled": True, "reason": "tested"}]})
    enabled: bool = Field(strict=True)
