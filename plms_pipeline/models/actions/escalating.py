"""Whom does a candidate concern besides those whom its own evaluation names?

Two lines of the escalation matrix are no part of an evaluation: what serves breaks limits in more than 0.5 % of its trades, and
analysts reject trades. Both are facts of the registry, asked when somebody is told or decides; they name who must look, and
change neither what the tree recommends nor what may be decided.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from plms_pipeline.models.annotations.store import rejected
from plms_pipeline.models.decision.levels import LONG, needs_supervision
from plms_pipeline.models.decision.matrix import REJECTIONS, VIOLATIONS
from plms_pipeline.models.decision.tree import Recommendation, concerning, recommend_candidate
from plms_pipeline.models.records import MARKET, Candidate
from plms_pipeline.models.store import candidates, levels


def standing(session: Session, candidate: Candidate, now: datetime) -> tuple[str, ...]:
    """The codes of what concerns a candidate now, beside its own alerts."""
    if candidate.family != MARKET:
        return ()
    found = []
    if needs_supervision(levels.served(session, candidate.family, since=now - LONG, until=now)):
        found.append(VIOLATIONS)
    before = candidates.before(session, candidate)
    # What was said before the last training was told with its candidate.
    if rejected(session, since=None if before is None else before.created_at, until=now):
        found.append(REJECTIONS)
    return tuple(found)


def recommended(session: Session, candidate: Candidate, now: datetime) -> Recommendation:
    """What the tree says of a candidate, to everybody whom it concerns now."""
    return concerning(recommend_candidate(candidate), standing(session, candidate, now))
