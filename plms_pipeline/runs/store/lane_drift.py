"""How far did the tokens of each lane lie from their estimates, project by project?"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import Lane
from plms_pipeline.runs.store import views


def errors_by_lane(session: Session, *, most: int) -> list[tuple[int, str, list[dict[str, Any]]]]:
    """(lane, name, mean absolute errors of its newest projects as fractions, oldest first); lanes without are left out."""
    found = []
    for lane, name in session.execute(select(Lane.lane_id, Lane.name).order_by(Lane.lane_id)).all():
        ids = views.newest_projects(session, lane, limit=most)
        errors = views.lane_errors(session, ids, lane) if ids else {}
        history = [
            {"project_id": one, "mae_pct": round(errors[one][0].error / errors[one][0].estimated, 4)}
            for one in ids
            if one in errors
        ]
        if history:
            found.append((lane, name, history))
    return found
