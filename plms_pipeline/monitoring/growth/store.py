"""Which runs of Dagster does the registry still need?"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import DeadLetter


def runs_of_letters(session: Session) -> frozenset[str]:
    """Failed runs of Dagster whose dead letter is not done: a retry takes job and configuration from them."""
    found = session.execute(
        select(DeadLetter.subject_id, DeadLetter.run_id).where(DeadLetter.kind == "job", DeadLetter.state != "done")
    )
    return frozenset(run for row in found for run in row if run)
