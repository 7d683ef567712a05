"""What is recommended about the lanes, and what does an approving person say to it, over HTTP?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access.forms import BecauseIn
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import State, of_the_books, requires
from plms_pipeline.portfolio.actions import reviews as actions

router = APIRouter(tags=["portfolio"])
Viewer = Annotated[Principal, requires("portfolio.view")]
Approver = Annotated[Principal, requires("lanes.write")]
_REVIEW: dict[str, Any] = {
    "review_id": "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11", "lane_id": 4200, "week_of": "2026-03-02", "field": "cap",
    "subject": "", "current": 4, "recommended": 5, "rule": "busy_over_90_percent",
    "evidence": {"busy_ratio": 0.97, "error_ratio": 0.01, "ended": 812}, "state": "proposed",
}  # fmt: skip
ReviewId = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$", description="A review's id.", examples=[_REVIEW["review_id"]])
]


class ReviewOut(BaseModel):
    """One recommended change of a lane with its evidence, and what became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REVIEW]})
    review_id: str
    lane_id: int
    week_of: str = Field(description="Monday of the week that was looked at (UTC).")
    field: str = Field(description="cap, gate or alpha.")
    subject: str = Field(description="The gate's KPI; empty otherwise.")
    current: float
    recommended: float
    rule: str
    evidence: dict[str, Any]
    state: str


@router.get("/api/lanes/reviews", response_model=list[ReviewOut], summary="What is recommended about the lanes")
@of_the_books
def listed(
    state: State,
    _principal: Viewer,
    review_state: Annotated[
        Literal["proposed", "applied", "rejected", "superseded", "all"], Query(alias="state")
    ] = "proposed",
) -> Any:
    """Caps, gates and the weight of the newest receipt, each with the figures behind it."""
    found = actions.proposals(state.registry, state=None if review_state == "all" else review_state)
    return [asdict(one) for one in found]


@router.post("/api/lanes/reviews/{review_id}/apply", response_model=ReviewOut, summary="Apply a recommendation")
def apply(review_id: ReviewId, body: BecauseIn, state: State, principal: Approver) -> dict[str, Any]:
    """As the caller's decision. Refused with 409: `review_is_over`, `lane_changed`, `alpha_is_a_setting`."""
    done = actions.apply_review(
        state.registry, clock=state.clock, ids=state.ids, actor=principal.actor, review_id=review_id, reason=body.reason,
        alpha=state.settings.alpha,
    )  # fmt: skip
    state.nudge("dispatch")
    return asdict(done) | {"state": "applied"}


@router.post("/api/lanes/reviews/{review_id}/reject", response_model=ReviewOut, summary="Leave a lane as it is")
def reject(review_id: ReviewId, body: BecauseIn, state: State, principal: Approver) -> dict[str, Any]:
    """As the caller's decision. Refused with 409 `review_is_over` when it was decided before."""
    done = actions.reject_review(
        state.registry, clock=state.clock, ids=state.ids, actor=principal.actor, review_id=review_id, reason=body.reason
    )  # fmt: skip
    return asdict(done) | {"state": "rejected"}
