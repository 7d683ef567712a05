"""Which breaches of budgets are open, and what was done about them?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, insert, select, update
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import BreachEpisode, Hold, Project, ProjectRun

# Whoever holds a project in the name of its breach policy.
HELD_BY: Final = "system:breach_policy"
# What is being planned spends nothing; what is over, neither.
LOOKED_AT: Final = ("approved", "executing", "validating", "needs_review")


@dataclass(frozen=True, slots=True)
class Episode:
    """One breach of a budget; `answer` is what a person decided about it (go_on, stop), None while nobody has."""

    episode_id: str
    project_id: int
    policy: str
    state: str
    opened_at: datetime
    budget_usd: Decimal
    seen: Any
    decision_id: str
    answer: str | None
    answered_by: str | None
    over_at: datetime | None
    over_reason: str | None

    @property
    def waits(self) -> bool:
        """Whether a person has to decide."""
        return self.state == "open" and self.policy == "ask" and self.answer is None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "episode_id": self.episode_id, "project_id": self.project_id, "policy": self.policy, "state": self.state,
            "opened_at": self.opened_at.isoformat(), "budget_usd": float(self.budget_usd), "seen": self.seen,
            "decision_id": self.decision_id, "waits": self.waits, "answer": self.answer,
            "answered_by": self.answered_by, "over_at": None if self.over_at is None else self.over_at.isoformat(),
            "over_reason": self.over_reason,
        }  # fmt: skip


_EPISODE: Final = select(
    BreachEpisode.episode_id, BreachEpisode.project_id, BreachEpisode.policy, BreachEpisode.state,
    BreachEpisode.opened_at, BreachEpisode.budget_usd, BreachEpisode.seen_json, BreachEpisode.decision_id,
    BreachEpisode.answer, BreachEpisode.answered_by, BreachEpisode.over_at, BreachEpisode.over_reason,
)  # fmt: skip


def looked_at(session: Session) -> dict[int, bool]:
    """Projects of ours whose money is looked at → whether something of them is under way."""
    is_active = exists().where(
        ProjectRun.project_id == Project.id, ProjectRun.source == "plms", ProjectRun.status.in_(("QUEUED", "RUNNING"))
    )
    rows = session.execute(
        select(Project.id, is_active)
        .where(Project.source == "plms", Project.status.in_(LOOKED_AT))
        .order_by(Project.id)
    )
    return {project: bool(active) for project, active in rows}


def open_episode(session: Session, project_id: int) -> Episode | None:
    """The breach that a project is in, or None."""
    row = session.execute(
        _EPISODE.where(BreachEpisode.project_id == project_id, BreachEpisode.state == "open")
    ).one_or_none()
    return None if row is None else Episode(*row)


def episodes(session: Session, *, only_open: bool, limit: int = 100) -> list[Episode]:
    """Breaches, newest first."""
    query = _EPISODE.where(BreachEpisode.state == "open") if only_open else _EPISODE
    rows = session.execute(query.order_by(BreachEpisode.opened_at.desc(), BreachEpisode.episode_id).limit(limit))
    return [Episode(*row) for row in rows]


def begin(session: Session, **facts: Any) -> None:
    """A breach began and its policy acted."""
    session.execute(insert(BreachEpisode).values(**facts))


def change(session: Session, episode_id: str, **values: Any) -> None:
    """What became of a breach."""
    session.execute(
        update(BreachEpisode)
        .where(BreachEpisode.episode_id == episode_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def is_held(session: Session, project_id: int) -> bool:
    """Whether the breach policy holds a project."""
    return session.scalar(select(Hold.id).where(*_held(project_id), Hold.placed_by == HELD_BY).limit(1)) is not None


def _held(project_id: int) -> tuple[ColumnElement[bool], ...]:
    return (Hold.subject_type == "project", Hold.subject_id == str(project_id), Hold.lifted_at.is_(None))


def lift_own_hold(session: Session, project_id: int, *, at: datetime) -> tuple[int, bool]:
    """Lift what the breach policy holds; (how many holds that were, whether another one still holds the project)."""
    mine = _held(project_id)
    lifted: Any = session.execute(
        update(Hold)
        .where(*mine, Hold.placed_by == HELD_BY)
        .values(lifted_by=HELD_BY, lifted_at=at)
        .execution_options(synchronize_session=False)
    )
    return int(lifted.rowcount), session.scalar(select(Hold.id).where(*mine).limit(1)) is not None
