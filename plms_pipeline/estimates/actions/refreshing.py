"""How do priors move the moment that new receipts are booked?

By the function of the night, in the transaction that books them: what is believed is a function of the set of receipts, so
settlement and rebuild cannot drift apart. The obvious version adds the new receipt to a running mean, and differs from
the night for ever after the first late or overridden one.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from plms_pipeline.estimates.actions.believing import beliefs_at
from plms_pipeline.estimates.actions.calibration import append_versions
from plms_pipeline.estimates.priors import priors_of
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline.registry.engine import Registry


def hold_books(session: Session) -> None:
    """Be the only one that moves priors until the transaction ends; call it before the receipts are booked."""
    kept.hold_lock(session)


def refresh_priors(session: Session, *, at_least: datetime, now: datetime, alpha: float) -> int:
    """Append a version for every prior that the receipts of this transaction (or earlier ones) moved.

    Args:
        session: the writing session that booked the receipts and called `hold_books`.
        at_least: the priors speak of this instant or a later one: of the newest receipt, say, when the executor's clock
            runs ahead of ours. Beliefs never move backwards, so a later instant of an earlier version stands.
        now: when the versions are written.
        alpha: weight of the newest receipt in the trend.

    Returns:
        How many versions were written.
    """
    latest = kept.latest_versions(session)
    as_of = max([now, at_least, *(known.as_of for known in latest.values())])
    beliefs = beliefs_at(session, as_of, alpha=alpha)
    return append_versions(session, priors_of(beliefs), beliefs, as_of=as_of, now=now, latest=latest)


def warm_up(registry: Registry, *, now: datetime, alpha: float) -> None:
    """Compile what `refresh_priors` runs, so that the first settlement of a process does not compile with the books locked."""
    with registry.reading() as session:
        priors_of(beliefs_at(session, now, alpha=alpha))
