"""May something start outside an approved project, over HTTP? The actions of `plms guard`.

Who asks over HTTP has no process that we could look at: a lease that is not given back ends when its time is over, and what it
had reserved counts as spent then.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access.forms import BecauseIn, Request
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import State, requires
from plms_pipeline.instance.process import is_dead
from plms_pipeline.portfolio.actions import guards as actions
from plms_pipeline.portfolio.files import flag_reason
from plms_pipeline.portfolio.guarding import Refusal
from plms_pipeline.portfolio.policies import launcher_policy

router = APIRouter(tags=["guards"])
Viewer = Annotated[Principal, requires("portfolio.view")]
Operator = Annotated[Principal, requires("projects.start")]
Guardian = Annotated[Principal, requires("guards.write")]
Usd = Annotated[Decimal, Field(ge=0, le=99_999_999, max_digits=14, decimal_places=6, examples=["0.50"])]
_LEASE = "launch:3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"
LeaseId = Annotated[
    str, Path(pattern=r"^launch:[0-9a-f-]{8,64}$", description="What `enforce` answered.", examples=[_LEASE])
]


class EnforceIn(Request):
    """What wants to start."""

    cost_usd: Usd = Field(Decimal(0), description="What it will take at most.")


class FinishIn(Request):
    """What it took."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"spent_usd": "0.31"}]})
    spent_usd: Usd | None = Field(None, description="What it really took; null: what was reserved.")


class LeaseOut(BaseModel):
    """It may start. Give the lease back when it has ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [
        {"lease": _LEASE, "reserved_usd": "0.50", "until": "2026-03-01T13:00:00+00:00"}
    ]})  # fmt: skip
    lease: str
    reserved_usd: str
    until: str


class FinishedOut(BaseModel):
    """A lease that was given back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"lease": _LEASE, "overrun_usd": "0", "ended": None}]})
    lease: str
    overrun_usd: str = Field(description="By how much it exceeded what was reserved still; all of it is charged.")
    ended: str | None = Field(description="Why and when the lease had ended before (reset, expired); null: it went on.")


class ResetOut(BaseModel):
    """What a reset gave back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"places": 2, "freed_usd": "1.5", "kept_runs": []}]})
    places: int
    freed_usd: str
    kept_runs: list[str] = Field(description="Runs that go on: their places and reservations end with them.")


class Places(BaseModel):
    """How many places are taken, of how many."""

    taken: int
    limit: int


class HeldLease(BaseModel):
    """A place that somebody has."""

    lease: str
    holder: str
    since: str
    until: str


class RateOut(BaseModel):
    """Starts per second, and how many may go at once now."""

    per_s: float
    tokens: float


class PurseOut(BaseModel):
    """The budget of the day, in USD."""

    account: str
    limit_usd: str | None
    left_usd: str | None
    settled_usd: str
    reserved_usd: str


class GuardsOut(BaseModel):
    """What the launcher's guards say now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "killswitch": False, "killswitch_reasons": [], "killswitch_elsewhere": ["lane 6101: look"],
        "concurrency": {"taken": 1, "limit": 3},
        "leases": [{"lease": _LEASE, "holder": "http:ann", "since": "2026-03-01T12:00:00+00:00",
                    "until": "2026-03-01T13:00:00+00:00"}],
        "rate": {"per_s": 2.0, "tokens": 1.0},
        "budget": {"account": "launcher:2026-03-01", "limit_usd": "50", "left_usd": "49.5", "settled_usd": "0",
                   "reserved_usd": "0.5"},
    }]})  # fmt: skip
    killswitch: bool = Field(
        description="Whether one is on that stops what is started here: of everything, or the flag file."
    )
    killswitch_reasons: list[str]
    killswitch_elsewhere: list[str] = Field(description="Those of lanes and projects: they stop nothing here.")
    concurrency: Places
    leases: list[HeldLease]
    rate: RateOut
    budget: PurseOut


@router.get("/api/guards", response_model=GuardsOut, summary="What the guards say now")
def status(state: State, _principal: Viewer) -> dict[str, Any]:
    """Kill switch, places, rate and budget of what is started outside an approved project."""
    found = actions.guard_status(
        state.registry, clock=state.clock, policy=launcher_policy(state.settings),
        flag=lambda: flag_reason(state.settings.data_dir),
    )  # fmt: skip
    return found.as_json()


@router.post("/api/guards/enforce", response_model=LeaseOut, summary="Ask whether something may start")
def enforce(state: State, principal: Operator, body: EnforceIn | None = None) -> dict[str, Any]:
    """Pass kill switch, concurrency, rate and budget, in this order; a refusal takes nothing.

    Refused with 409 `killswitch_on` and `budget_exceeded`, with 429 and Retry-After `concurrency_limited` and `rate_limited`.
    """
    answer = actions.enforce(
        state.registry, clock=state.clock, ids=state.ids, policy=launcher_policy(state.settings),
        flag=lambda: flag_reason(state.settings.data_dir), actor=principal.actor,
        holder=f"http:{principal.actor.name}"[:255], cost_usd=body.cost_usd if body else Decimal(0), is_dead=is_dead,
    )  # fmt: skip
    if isinstance(answer, Refusal):
        raise answer.error()
    return {
        "lease": answer.lease_id, "reserved_usd": f"{answer.reserved_usd:f}", "until": answer.expires_at.isoformat()
    }  # fmt: skip


@router.post("/api/guards/{lease_id}/finish", response_model=FinishedOut, summary="Give a lease back")
def finish(lease_id: LeaseId, state: State, principal: Operator, body: FinishIn | None = None) -> dict[str, Any]:
    """Give the place back and settle what was spent; 404 `lease_not_found` when it was settled before.

    What a lease took that was reset or has expired since is charged all the same, once. That of a run ends with its run (409
    `lease_of_a_run`).
    """
    done = actions.finish(
        state.registry, lease_id, clock=state.clock, actor=principal.actor, spent_usd=body.spent_usd if body else None
    )
    return {"lease": lease_id, "overrun_usd": actions.shown_usd(done.overrun_usd), "ended": done.ended}


@router.post("/api/guards/reset", response_model=ResetOut, summary="Give back everything that the launcher holds")
def reset(body: BecauseIn, state: State, principal: Guardian) -> dict[str, Any]:
    """Every lease of the launcher is free again with its reservation, and its rate is full; what was spent stays spent.

    A run that goes on keeps its place and reservation, because it goes on spending; they end with the run.
    """
    given = actions.reset(state.registry, clock=state.clock, actor=principal.actor, reason=body.reason)
    return {
        "places": given.places, "freed_usd": actions.shown_usd(given.freed_usd), "kept_runs": list(given.kept_runs)
    }  # fmt: skip
