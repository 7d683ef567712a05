"""What the champion of estimates last said, for whoever forecasts. Functions take an open session and never commit."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import EstimateOutlook


def put_outlook(
    session: Session, promotion_id: str, *, as_of: datetime, changes: int, sha256: str, document: str
) -> None:
    """Replace what was said before, by whichever champion."""
    session.execute(delete(EstimateOutlook))
    session.add(
        EstimateOutlook(promotion_id=promotion_id, as_of=as_of, changes=changes, sha256=sha256, document=document)
    )
    session.flush()


def withdraw_outlook(session: Session) -> None:
    """Let the priors answer until the champion can be read again."""
    session.execute(delete(EstimateOutlook))
