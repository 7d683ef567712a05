"""Who must look at a trained model that waits, and may what serves be trusted?

A candidate waits for the risk lead, who signs, and for the owner of each of its alerts, by the escalation matrix; for trading
supervision while what serves breaks too many limits, for the portfolio manager when analysts rejected trades. A champion
whose newest look found data that cannot be judged is an incident of the data.
"""

from __future__ import annotations

from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.store import facts
from plms_pipeline.models.actions.escalating import recommended
from plms_pipeline.models.decision.matrix import OWNERS
from plms_pipeline.models.decision.tree import HALT
from plms_pipeline.models.store import candidates

MOST = 200


def look(asked: Asked) -> Seen:
    """Candidates that wait, once for each role that must look at them; families whose live data are in doubt."""
    with asked.registry.reading() as session:
        waiting = [one for one in candidates.waiting(session, limit=MOST) if one.expires_at > asked.now]
        live = facts.newest_live_looks(session)
        told = [(one, recommended(session, one, asked.now)) for one in waiting]
    readings = []
    for one, said in told:
        because = ", ".join(one.alerts)[:120] or "no alerts"
        detail = f"{one.family}, {because}; recommended: {said.action.replace('_', ' ')}"
        readings += [
            Reading(f"candidate_for_{role}", f"candidate:{one.candidate_id}", 1.0, asked.now, detail)
            for role in OWNERS
            if role in said.owners
        ]
    readings += [
        Reading(
            "live_data_in_doubt", f"family:{family}", float(action == HALT), asked.now,
            f"look of {at:%Y-%m-%d %H:%M} UTC: {', '.join(alerts)[:160] or 'no alerts'}",
        )
        for family, action, alerts, at in live
    ]  # fmt: skip
    return Seen(tuple(readings))
