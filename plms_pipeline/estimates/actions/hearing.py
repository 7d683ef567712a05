"""Whom does a forecast ask: the promoted model of estimates, or the priors alone?

The model is heard where it beat the priors, as long as what it said is its own, whole, and fresh. Everywhere else the priors
answer, and the forecast says why. No file is read here: whoever reads the receipts for the model compares its file first.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from plms_pipeline.estimates.outlook import MOST_FRESH, OLDEST, Outlook, Unheard, outlook_of, sha_of
from plms_pipeline.estimates.receipts import Receipts
from plms_pipeline.estimates.store import outlooks as store
from plms_pipeline.estimates.store import receipts as books


def heard_at(session: Session, as_of: datetime) -> Outlook | Unheard | None:
    """What the promoted model says at an instant, from receipts completed by then.

    Args:
        as_of: aware.

    Returns:
        None where no model was ever promoted: nothing is to be said about it.
    """
    serving = store.promoted(session)
    if serving is None:
        return None
    stored = store.outlook_of(session, serving.promotion_id)
    if stored is None:
        return Unheard(serving.candidate_id, "it has not read the receipts since its promotion")
    if stored.as_of > as_of:
        return Unheard(serving.candidate_id, "it read receipts that were not there yet at the time of the forecast")
    if as_of - stored.as_of > OLDEST:
        return Unheard(serving.candidate_id, f"it last read the receipts at {stored.as_of:%Y-%m-%d %H:%M} UTC")
    if sha_of(stored.document) != stored.sha256:
        return Unheard(serving.candidate_id, "what it said was altered")
    try:
        found = outlook_of(stored.document)
    except ValueError as error:
        return Unheard(serving.candidate_id, str(error))
    if (found.promotion_id, found.model_sha256) != (serving.promotion_id, serving.model_sha256):
        return Unheard(serving.candidate_id, "what it said is of another model")
    if not found.parts:
        return Unheard(serving.candidate_id, "its live intervals stopped holding")
    first = stored.as_of.astimezone(UTC).date()
    fresh = books.receipts_since(session, first, until=as_of)
    fresh = fresh.part(fresh.completed_ms > round(stored.as_of.timestamp() * 1000))
    if len(fresh) > MOST_FRESH:
        return Unheard(serving.candidate_id, f"{len(fresh)} receipts came since it last read them")
    return found.with_receipts(fresh, _words(session, fresh, stored.as_of)) if len(fresh) else found


def _words(session: Session, receipts: Receipts, since: datetime) -> list[tuple[str, str, str]]:
    known = store.kinds_since(session, since.astimezone(UTC).date())
    return [
        (*known.get((str(run), str(task)), ("", "")), str(task))
        for run, task in zip(receipts.run_id, receipts.task_id, strict=True)
    ]
