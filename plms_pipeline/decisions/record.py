"""How is a decision told? One value for terminal, HTTP, Dagster and the next rule that asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision as it stands in the books."""

    decision_id: str
    kind: str
    subject_type: str
    subject_id: str
    decision: str
    reason: str
    requested_by: str | None
    actor: str
    actor_verified: bool
    role: str | None
    evidence_sha256: str | None
    payload: Any
    decided_at: datetime

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "decision_id": self.decision_id,
            "kind": self.kind,
            "subject_type": self.subject_type,
            "subject_id": self.subject_id,
            "decision": self.decision,
            "reason": self.reason,
            "requested_by": self.requested_by,
            "actor": self.actor,
            "actor_verified": self.actor_verified,
            "role": self.role,
            "evidence_sha256": self.evidence_sha256,
            "payload": self.payload,
            "decided_at": self.decided_at.isoformat(),
        }
