"""What does the registry say about who serves, and where is it written what serving did?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.models.serving.minutes import NAMES, Counts
from plms_pipeline.models.serving.served import Entry, Switch, Version
from plms_pipeline.registry.tables.models import Candidate, Champion, GuardrailSwitch, ServingMinute


def champion(session: Session, family: str) -> Entry | None:
    """The newest promotion or rollback of a family; None while nothing was ever promoted."""
    row = session.execute(
        select(Champion, Candidate.folder, Candidate.manifest_sha256)
        .join(Candidate, Candidate.candidate_id == Champion.candidate_id)
        .where(Champion.family == family)
        .order_by(Champion.sequence.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    found, folder, manifest = row
    return Entry(
        Version(found.candidate_id, found.promotion_id, found.model_sha256),
        found.sequence,
        folder,
        manifest,
        found.evaluation_sha256,
        found.data_sha256,
        {str(name): float(cap) for name, cap in (found.caps_json or {}).items()},
        found.promoted_at,
    )


def switch(session: Session, family: str) -> Switch:
    """Whether guardrails are on: what was said last; on when nobody ever said anything."""
    row = session.scalars(
        select(GuardrailSwitch).where(GuardrailSwitch.family == family).order_by(GuardrailSwitch.id.desc()).limit(1)
    ).one_or_none()
    return Switch() if row is None else Switch(row.enabled, row.reason, row.by, row.at)


def add_minutes(session: Session, family: str, book: Mapping[datetime, Counts]) -> None:
    """Add counts to those of their minutes, whoever else counts there."""
    for minute, counts in sorted(book.items()):
        values = {name: getattr(counts, name) for name in NAMES}
        session.execute(_upsert(session, {"family": family, "minute": minute, **values}))


def _upsert(session: Session, row: dict[str, Any]) -> Any:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(ServingMinute).values(row)
    more = {name: getattr(ServingMinute, name) + row[name] for name in NAMES}
    return statement.on_conflict_do_update(index_elements=["family", "minute"], set_=more)
