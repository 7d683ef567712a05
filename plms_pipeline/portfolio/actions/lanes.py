"""Who changes a lane, and why? Caps and gates are decisions: a row with actor and reason, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.actions import decide
from plms_pipeline.errors import BadInput, Conflict, NotFound
from plms_pipeline.kpis.gates import always_the_same, condition
from plms_pipeline.portfolio.store import lanes as store
from plms_pipeline.portfolio.store import slots
from plms_pipeline.portfolio.store import status as shown
from plms_pipeline.portfolio.store.slots import lane_resource
from plms_pipeline.registry.engine import Registry

MOST_SLOTS: Final = 10_000
MOST_DESCRIPTION: Final = 500
MOST_NUMBER: Final = 2**31 - 1
"""The highest number of a lane or project: what a column of the registry holds."""
Ids = Callable[[], str]


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane with what holds its slots now, and its gates."""

    lane_id: int
    name: str
    cap: int
    taken: int
    is_active: bool
    gates: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class LaneChanged:
    """What was decided about a lane; `before` is None for what is new."""

    decision_id: str
    lane_id: int
    before: Any
    after: Any


def list_lanes(registry: Registry) -> list[LaneState]:
    """Every lane, by number."""
    with registry.reading() as session:
        lanes, taken, gates = shown.lanes(session), slots.open_counts(session), store.gates(session)
    return [
        LaneState(
            lane.lane_id, lane.name, lane.cap, taken.get(lane_resource(lane.lane_id), 0), lane.is_active,
            tuple(gate for gate in gates if gate["lane_id"] == lane.lane_id),
        )
        for lane in lanes
    ]  # fmt: skip


def set_cap(
    registry: Registry, *, clock: Clock, ids: Ids, actor: Actor, lane_id: int, cap: int, reason: str
) -> LaneChanged:
    """Decide a lane's cap. Lowered below what runs, it takes nothing new until enough has ended.

    Raises:
        NotFound: no such lane.
        BadInput: a cap outside 0 … 10,000, or no reason.
    """
    with registry.writing() as session:
        return cap_in(session, now=clock.now(), ids=ids, actor=actor, lane_id=lane_id, cap=cap, reason=reason)


def cap_in(
    session: Session, *, now: datetime, ids: Ids, actor: Actor, lane_id: int, cap: int, reason: str, payload: Any = None,
) -> LaneChanged:  # fmt: skip
    """`set_cap` in the caller's transaction; `payload` is kept beside the figures."""
    _require_slots(cap)
    before = _cap_of(session, lane_id)
    store.set_cap(session, lane_id, cap)
    decision = decide(
        session, clock_now=now, ids=ids, kind="lane_cap", subject_type="lane", subject_id=str(lane_id), decision="set",
        reason=reason, actor=actor, payload={"before": before, "after": cap, **(payload or {})},
    )  # fmt: skip
    return LaneChanged(decision, lane_id, before, cap)


def set_gate(
    registry: Registry, *, clock: Clock, ids: Ids, actor: Actor, lane_id: int, kpi: str, operator: str, threshold: Any,
    blocks: bool, reason: str,
) -> LaneChanged:  # fmt: skip
    """Decide a lane's gate for a KPI. Work that is measured from now on is held against it; measured verdicts stay.

    Raises:
        NotFound: no such lane.
        BadInput: an unknown KPI or operator, a threshold that the KPI cannot be compared with or can never reach, or no
            reason.
    """
    with registry.writing() as session:
        return gate_in(
            session, now=clock.now(), ids=ids, actor=actor, lane_id=lane_id, kpi=kpi, operator=operator,
            threshold=threshold, blocks=blocks, reason=reason,
        )  # fmt: skip


def gate_in(
    session: Session, *, now: datetime, ids: Ids, actor: Actor, lane_id: int, kpi: str, operator: str, threshold: Any,
    blocks: bool, reason: str, payload: Any = None,
) -> LaneChanged:  # fmt: skip
    """`set_gate` in the caller's transaction."""
    fault = always_the_same(kpi, condition(kpi, operator, threshold))
    if fault is not None:
        raise BadInput(f"The gate {fault}.", code="bad_threshold")
    _cap_of(session, lane_id)
    before = store.put_gate(session, lane_id, kpi, operator, threshold, blocks=blocks, now=now)
    after = {"operator": operator, "threshold": threshold, "blocks": blocks, "active": True}
    decision = decide(
        session, clock_now=now, ids=ids, kind="lane_gate", subject_type="lane", subject_id=f"{lane_id}/{kpi}",
        decision="set", reason=reason, actor=actor, payload={"before": before, "after": after, **(payload or {})},
    )  # fmt: skip
    return LaneChanged(decision, lane_id, before, after)


def add_lane(
    registry: Registry, *, clock: Clock, ids: Ids, actor: Actor, lane_id: int, name: str, cap: int, description: str,
    reason: str,
) -> LaneChanged:  # fmt: skip
    """Decide a new lane.

    Raises:
        Conflict: the number or the name is another lane's.
        BadInput: a number that no lane can have, no name, a name or a description that cannot be printed, a cap outside
            0 … 10,000, or no reason.
    """
    _require_slots(cap)
    if not 0 < lane_id <= MOST_NUMBER:
        raise BadInput(f"A lane's number lies between 1 and {MOST_NUMBER:,}; {lane_id} does not.", code="bad_lane")
    if not name.strip() or len(name) > 64 or not name.strip().isprintable():
        raise BadInput(
            f"{name[:64]!r} is no name of a lane: those are 1 to 64 characters long and stand on one line, without control "
            "characters.",
            code="bad_lane",
        )
    description = description.strip()
    if len(description) > MOST_DESCRIPTION or not description.isprintable():
        raise BadInput(
            f"The description {description[:64]!r} of lane {lane_id} cannot be listed: it stands on one line, without control "
            f"characters, and is at most {MOST_DESCRIPTION} characters long.",
            code="bad_lane",
        )
    with registry.writing() as session:
        if store.name_taken(session, lane_id, name.strip()):
            raise Conflict(
                f"There is a lane {lane_id} or {name.strip()!r} already; `plms lanes list` shows it.",
                code="lane_exists",
            )
        store.add(session, lane_id, name.strip(), cap, description)
        after = {"name": name.strip(), "cap": cap, "description": description}
        decision = decide(
            session, clock_now=clock.now(), ids=ids, kind="lane_added", subject_type="lane", subject_id=str(lane_id),
            decision="add", reason=reason, actor=actor, payload={"after": after},
        )  # fmt: skip
    return LaneChanged(decision, lane_id, None, after)


def _require_slots(cap: int) -> None:
    if not 0 <= cap <= MOST_SLOTS:
        raise BadInput(f"A cap lies between 0 and {MOST_SLOTS:,}; {cap} does not.", code="bad_cap")


def _cap_of(session: Session, lane_id: int) -> int:
    # A number that no column holds is no lane's, and a database would fail on it.
    cap = store.cap_of(session, lane_id) if 0 <= lane_id <= MOST_NUMBER else None
    if cap is None:
        raise NotFound(f"There is no lane {lane_id}; `plms lanes list` shows those that exist.", code="lane_not_found")
    return cap
