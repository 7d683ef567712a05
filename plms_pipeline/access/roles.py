"""Which scopes does each role hold?

A route asks for a scope, never for a role: what an operator may do can then change without touching a route. Each role
of people holds everything that the one before it holds; PAS may report what happened and nothing else.
"""

from __future__ import annotations

from types import MappingProxyType

from plms_pipeline.errors import BadInput

_VIEWER = frozenset({"projects.view", "portfolio.view", "ops.view"})
_OPERATOR = _VIEWER | {"projects.start", "projects.simulate"}
_APPROVER = _OPERATOR | {"approvals.write", "kpi.override"}
_ADMIN = _APPROVER | {"guards.write", "lanes.write", "tokens.write"}

ROLES: MappingProxyType[str, frozenset[str]] = MappingProxyType(
    {
        "viewer": _VIEWER,
        "operator": _OPERATOR,
        "approver": _APPROVER,
        "admin": _ADMIN,
        "pas": frozenset({"hooks.write"}),
    }
)
SCOPES: frozenset[str] = frozenset().union(*ROLES.values())


def scopes_of(role: str) -> frozenset[str]:
    """The scopes that a role holds.

    Raises:
        BadInput: there is no such role (`unknown_role`).
    """
    try:
        return ROLES[role]
    except KeyError:
        raise BadInput(f"There is no role {role!r}; choose one of {', '.join(ROLES)}.", code="unknown_role") from None
