"""What do the rows say in sum?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from plms_pipeline.evidence.obligations import GOLDEN
from plms_pipeline.registry.tables import Obligation, Observation


def totals(session: Session) -> tuple[int, int, int, int]:
    """(accepted, pending, ended, observations), in the session's snapshot."""
    states = dict(session.execute(select(Obligation.state, func.count()).group_by(Obligation.state)).all())
    observations = session.scalar(select(func.count()).select_from(Observation)) or 0
    pending, ended = states.get("pending", 0), states.get("terminal", 0)
    return sum(states.values()), pending, ended, int(observations)


def by_reason(session: Session, *, since: datetime | None = None) -> list[tuple[str, str, str, int]]:
    """(kind, point, reason, how many) of observations since a moment, golden ones left out."""
    statement = select(Observation.evidence_kind, Observation.obs_point, Observation.reason, func.count()).where(
        Observation.evidence_kind != GOLDEN
    )
    if since is not None:
        statement = statement.where(Observation.at >= since)
    key = (Observation.evidence_kind, Observation.obs_point, Observation.reason)
    return [(kind, point, reason, count) for kind, point, reason, count in session.execute(
        statement.group_by(*key).order_by(*key)
    )]  # fmt: skip


def reasons_of_observer(session: Session, observer_id: str) -> dict[str, int]:
    """How often an observer wrote each reason."""
    rows = session.execute(
        select(Observation.reason, func.count())
        .where(Observation.observer_id == observer_id)
        .group_by(Observation.reason)
    )
    return dict(rows.all())


def seen_since(session: Session, since: datetime, *, limit: int) -> Sequence[Any]:
    """The newest observations: id, kind, reason, evidence_at, accepted_at, lookup_ref; golden ones left out."""
    return session.execute(
        select(
            Observation.obligation_id, Observation.evidence_kind, Observation.reason, Observation.evidence_at,
            Obligation.accepted_at, Obligation.lookup_ref, Observation.wait_ms,
        )
        .join(Obligation, Obligation.obligation_id == Observation.obligation_id)
        .where(Observation.at >= since, Observation.evidence_kind != GOLDEN)
        .order_by(Observation.at.desc())
        .limit(limit)
    ).all()  # fmt: skip


def other_digests(session: Session, *, since: datetime, limit: int) -> list[str]:
    """Observations since a moment whose observer was configured otherwise than their producer; dropped ones never were."""
    return list(
        session.scalars(
            select(Observation.obligation_id)
            .join(
                Obligation,
                and_(
                    Obligation.obligation_id == Observation.obligation_id,
                    Obligation.config_digest != Observation.config_digest,
                ),
            )
            .where(Observation.at >= since)
            .limit(limit)
        )
    )


def untold(session: Session, *, before: datetime, limit: int) -> int:
    """Observations from before a moment that were not told on the stream yet, counted up to `limit`."""
    some = (
        select(Obligation.obligation_id)
        .join(Observation, Observation.obligation_id == Obligation.obligation_id)
        .where(Obligation.publication == "due", Observation.at < before)
        .limit(limit)
        .subquery()
    )
    return int(session.scalar(select(func.count()).select_from(some)) or 0)


def observed_words(session: Session, ids: Collection[str]) -> dict[str, tuple[str, bool, str]]:
    """Obligation → (reason, found, subject) of its observation."""
    rows = session.execute(
        select(Observation.obligation_id, Observation.reason, Observation.found, Obligation.subject_id)
        .join(Obligation, Obligation.obligation_id == Observation.obligation_id)
        .where(Observation.obligation_id.in_(sorted(ids)))
    )
    return {key: (reason, found, subject) for key, reason, found, subject in rows}


def waits_of(session: Session, ids: Collection[str]) -> dict[str, tuple[str, int]]:
    """Obligation → (reason, wait_ms) of its observation."""
    rows = session.execute(
        select(Observation.obligation_id, Observation.reason, Observation.wait_ms).where(
            Observation.obligation_id.in_(sorted(ids))
        )
    )
    return {key: (reason, wait_ms) for key, reason, wait_ms in rows}
