"""What becomes of a candidate that nobody decides about? It expires. Time approves nothing."""

from __future__ import annotations

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import SCHEDULE, Actor
from plms_pipeline.clock import Clock
from plms_pipeline.models.records import EXPIRED
from plms_pipeline.models.store import candidates
from plms_pipeline.registry.engine import Registry


def expire(registry: Registry, *, clock: Clock, actor: Actor = SCHEDULE, limit: int = 100) -> tuple[str, ...]:
    """End the candidates that waited for their decision, or for their promotion, until their time was over.

    Returns:
        Their ids, those that waited longest first.
    """
    now = clock.now()
    with registry.reading() as session:
        if not candidates.overdue(session, now, limit=1):
            return ()
    ended = []
    with registry.writing() as session:
        for one in candidates.overdue(session, now, limit=limit):
            if candidates.expire(session, one.candidate_id, was=one.state):
                audit.record(
                    session, at=now, actor=actor, action="candidate.expire", subject=f"candidate:{one.candidate_id}",
                    outcome=EXPIRED, details={"was": one.state, "family": one.family},
                )  # fmt: skip
                ended.append(one.candidate_id)
    return tuple(ended)
