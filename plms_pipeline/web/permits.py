"""May somebody do this in the Dagster UI, and if not, what are they told?

The front door asks before a request reaches Dagster; Dagster asks again (`Grants`) when it greys out a button and when it
executes a mutation. Both answers come from the same tables, so that what is shown is what holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.roles import ROLES
from plms_pipeline.web.demands import Demand, Facts, forged_tag, scopes_for
from plms_pipeline.web.origins import Refusal
from plms_pipeline.web.rules import PERMISSIONS, STRICTEST, scopes_of_job

# Looks on, and no more: as a viewer does, but nobody knows who it is.
NAMELESS = Principal("anonymous:ui", ROLES["viewer"], is_verified=False)
SIGN_IN = "sign in at /login"
# Whose run a permission may be about: what a job needs counts besides.
_ABOUT_JOBS = frozenset(
    {
        "launch_pipeline_execution",
        "launch_pipeline_reexecution",
        "launch_partition_backfill",
        "cancel_partition_backfill",
        "terminate_pipeline_execution",
    }
)


def verdict(principal: Principal, demands: Iterable[Demand], facts: Facts) -> Refusal | None:
    """Why somebody is refused what a request asks for, or None. The strictest of its mutations decides.

    Args:
        principal: who asks; `NAMELESS` when nobody knows.
        demands: what each mutation of the request needs.
        facts: what was looked up about the runs, backfills and jobs that they name.
    """
    for demand in demands:
        lacking = sorted(scopes_for(demand, facts) - principal.scopes)
        what = demand.field[:60]
        if lacking and principal is NAMELESS:
            return Refusal(401, "sign_in_needed", f"You are looking on without a name; {SIGN_IN} for {what}.")
        if lacking:
            return Refusal(
                403, "missing_scope", f"Missing scope: {', '.join(lacking)} ({what}; you are {shown(principal)})."
            )
        if not demand.is_known:
            return Refusal(403, "unknown_mutation", f"Nobody has said yet who may do {what}, so nobody may.")
        if demand.is_unclear:
            return Refusal(
                400, "launch_not_understood", f"The tags of {what} are no list of key and value; write them so."
            )
        if (tag := forged_tag(demand, facts)) is not None:
            return Refusal(
                403, "reserved_tag", f"The tag {tag[:60]!r} is set by the pipeline and by nobody else ({what})."
            )
    return None


def shown(principal: Principal) -> str:
    """Somebody as they are told who they are."""
    return f"{principal.name}, {principal.role or 'without a role'}"


@dataclass(frozen=True, slots=True)
class Grants:
    """What somebody may do, as Dagster's request context asks it (`dagster_internals.Grants`)."""

    principal: Principal

    def reason_against(self, permission: str) -> str | None:
        """Why Dagster's permission is not given, whatever it is wanted for; None: it is."""
        wanted = PERMISSIONS.get(permission)
        return self._lack(STRICTEST if wanted is None else frozenset({wanted}))

    def reason_against_job(self, permission: str, job: str) -> str | None:
        """Why Dagster's permission is not given for a job; None: it is."""
        reason = self.reason_against(permission)
        if reason is None and permission in _ABOUT_JOBS:
            reason = self._lack(scopes_of_job(job))
        return reason

    def _lack(self, wanted: frozenset[str]) -> str | None:
        lacking = sorted(wanted - self.principal.scopes)
        if not lacking:
            return None
        if self.principal is NAMELESS:
            return f"You are looking on without a name; {SIGN_IN}."
        return f"Missing scope: {', '.join(lacking)} (you are {shown(self.principal)})."
