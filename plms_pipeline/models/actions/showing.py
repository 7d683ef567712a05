"""What is there to see of candidates and champions? One value for terminal, HTTP and Dagster."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from plms_pipeline.clock import Clock
from plms_pipeline.decisions import store as decided
from plms_pipeline.decisions.record import Decided
from plms_pipeline.models.actions import checking
from plms_pipeline.models.actions.candidates import require
from plms_pipeline.models.actions.checking import Blocker
from plms_pipeline.models.actions.escalating import recommended
from plms_pipeline.models.decision.record import KIND
from plms_pipeline.models.decision.tree import Recommendation
from plms_pipeline.models.decision.words import APPROVE
from plms_pipeline.models.records import Candidate, Champion, Halt, Switch
from plms_pipeline.models.store import candidates, champions, switches
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class Shown:
    """A candidate with what the tree recommends, what keeps it from going live now, and what was decided about it."""

    candidate: Candidate
    recommendation: Recommendation
    blockers: tuple[Blocker, ...]
    decisions: tuple[Decided, ...]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        said = self.recommendation
        return {
            "candidate": self.candidate.as_json(),
            "recommendation": {
                "action": said.action, "sentence": said.sentence, "options": list(said.options),
                "owners": list(said.owners), "escalations": [asdict(line) for line in said.escalations],
            },
            "blockers": [asdict(one) for one in self.blockers],
            "decisions": [one.as_json() for one in self.decisions],
            # Whoever decides sends it back: what was shown is what is decided about.
            "evidence_sha256": self.candidate.bytes.evaluation,
        }  # fmt: skip


def show(registry: Registry, root: Path, candidate_id: str, *, clock: Clock, decision: str = APPROVE) -> Shown:
    """One candidate, looked at now: its files are read and compared.

    Raises:
        NotFound: there is none (`unknown_candidate`).
    """
    with registry.reading() as session:
        candidate = require(session, candidate_id)
        rows = decided.listed(session, kind=KIND, subject_type="candidate", subject_id=candidate_id)
        said = recommended(session, candidate, clock.now())
    found = checking.blockers(registry, root, candidate, now=clock.now(), decision=decision)
    return Shown(candidate, said, found, tuple(rows))


def listed(
    registry: Registry, *, family: str | None = None, state: str | None = None, limit: int = 100
) -> list[Candidate]:
    """Candidates, newest first."""
    with registry.reading() as session:
        return candidates.listed(session, family=family, state=state, limit=limit)


def history(registry: Registry, family: str, *, at: datetime | None = None, limit: int = 100) -> list[Champion]:
    """Promotions and rollbacks, newest first; with `at` only what was live at that moment."""
    with registry.reading() as session:
        if at is None:
            return champions.history(session, family, limit=limit)
        found = champions.at(session, family, at)
    return [] if found is None else [found]


def stops(registry: Registry, family: str) -> tuple[list[Halt], Switch]:
    """Open halts of a family, and the switch of its guardrails."""
    with registry.reading() as session:
        return switches.open_halts(session, family), switches.guardrails(session, family)
