"""Who sends this request, and what may they do?

A principal is what remains of a token once it has been verified: a name, scopes, and whether something we trust vouched
for the name. Everything behind the door asks the principal; nothing but `tokens.py` ever sees the token.
"""

from __future__ import annotations

from dataclasses import dataclass

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.roles import SCOPES


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody or something that sends requests."""

    name: str
    scopes: frozenset[str]
    is_verified: bool
    role: str | None = None

    @property
    def actor(self) -> Actor:
        """The principal as the audit log and decisions know it."""
        return Actor(self.name, is_verified=self.is_verified)

    def may(self, scope: str) -> bool:
        """Whether the principal holds a scope."""
        return scope in self.scopes


def unchecked(actor: Actor) -> Principal:
    """The principal of every request while PLMS_AUTH=disabled: all scopes, and a name that nobody vouched for."""
    return Principal(name=actor.name, scopes=SCOPES, is_verified=False)
