"""Which lanes are there, and what is changed about one?

Every function takes an open session and never commits; those that change something need a writing session.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import Lane, LaneGate


def cap_of(session: Session, lane_id: int) -> int | None:
    """A lane's cap, locked until the transaction ends (nobody takes a slot meanwhile); None when there is no such lane."""
    return session.scalar(select(Lane.cap).where(Lane.lane_id == lane_id).with_for_update(key_share=True))


def set_cap(session: Session, lane_id: int, cap: int) -> None:
    """Write a cap. What holds a slot keeps it: a lowered lane takes nothing new until it is below."""
    session.execute(update(Lane).where(Lane.lane_id == lane_id).values(cap=cap))


def name_taken(session: Session, lane_id: int, name: str) -> bool:
    """Whether a lane of that number or name exists."""
    query = select(Lane.lane_id).where((Lane.lane_id == lane_id) | (Lane.name == name))
    return session.scalar(query) is not None


def add(session: Session, lane_id: int, name: str, cap: int, description: str) -> None:
    """A new lane."""
    session.execute(insert(Lane).values(lane_id=lane_id, name=name, cap=cap, description=description))


def gates(session: Session, lane_id: int | None = None) -> list[dict[str, Any]]:
    """The active gates, by lane and KPI."""
    query = (
        select(LaneGate.lane_id, LaneGate.kpi_name, LaneGate.operator, LaneGate.threshold, LaneGate.blocks)
        .where(LaneGate.active)
        .order_by(LaneGate.lane_id, LaneGate.kpi_name)
    )
    if lane_id is not None:
        query = query.where(LaneGate.lane_id == lane_id)
    return [dict(row) for row in session.execute(query).mappings()]


def put_gate(
    session: Session, lane_id: int, kpi_name: str, operator: str, threshold: Any, *, blocks: bool, now: datetime
) -> Any:
    """Write a lane's gate for a KPI; what it was before, or None."""
    query = select(LaneGate).where(LaneGate.lane_id == lane_id, LaneGate.kpi_name == kpi_name)
    gate = session.scalars(query).one_or_none()
    if gate is None:
        session.add(
            LaneGate(
                lane_id=lane_id, kpi_name=kpi_name, operator=operator, threshold=threshold, blocks=blocks, active=True,
                decided_at=now,
            )
        )  # fmt: skip
        session.flush()
        return None
    before = {"operator": gate.operator, "threshold": gate.threshold, "blocks": gate.blocks, "active": gate.active}
    gate.operator, gate.threshold, gate.blocks, gate.active, gate.decided_at = operator, threshold, blocks, True, now
    session.flush()
    return before
