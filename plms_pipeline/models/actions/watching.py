"""What is due without a person? A training on changed data or after drift, and what a person decided but nobody carried out.

Everything is asked of the registry and of Dagster's runs; nothing here remembers anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from plms_pipeline.models.dataset.files import current_digest
from plms_pipeline.models.records import MARKET, RETRAIN_REQUESTED
from plms_pipeline.models.store import candidates, champions, looks
from plms_pipeline.models.training.history import Attempt, Trained, history_of, open_episode
from plms_pipeline.models.training.trigger import Decision, decide
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class Due:
    """Whether a training is due on the data as they are."""

    digest: str | None
    decision: Decision


@dataclass(frozen=True, slots=True)
class Asked:
    """A training that somebody or something asked for: a name that is given once, why, and the candidate to start from."""

    key: str
    reason: str
    start_from: str


def training_due(
    registry: Registry, data_dir: Path, attempts: Sequence[Attempt], *, now: datetime, cooldown: timedelta
) -> Due:
    """Ask whether the imported data are others than those of the last training.

    Args:
        attempts: what Dagster knows of runs that trained or train.
        cooldown: least time between the beginnings of two trainings.

    Raises:
        BadInput: the document that names the dataset is damaged.
    """
    digest = current_digest(data_dir)
    with registry.reading() as session:
        trained = [Trained(one.bytes.data, one.created_at) for one in candidates.listed(session, family=MARKET)]
    return Due(digest, decide(digest, history_of(trained, attempts), now, cooldown=cooldown))


def drift_asks(registry: Registry, family: str = MARKET) -> Asked | None:
    """The episode in which the champion of a family asks for a retraining, unless a candidate was trained since it began."""
    with registry.reading() as session:
        champion = champions.current(session, family)
        if champion is None:
            return None
        seen = looks.newest(session, family)
        newest = candidates.listed(session, family=family, limit=1)
    first = open_episode(seen, champion.promotion_id)
    if first is None or (newest and newest[0].created_at >= first.at):
        return None
    return Asked(
        f"drift:{champion.promotion_id}:{first.number}",
        f"the champion drifts since {first.at:%Y-%m-%d %H:%M}",
        champion.candidate_id,
    )


def person_asks(registry: Registry, family: str = MARKET) -> Asked | None:
    """The newest candidate of a family that a person sent back, unless another was trained since."""
    with registry.reading() as session:
        newest = candidates.listed(session, family=family, limit=1)
    if not newest or newest[0].state != RETRAIN_REQUESTED:
        return None
    back = newest[0]
    return Asked(
        f"requested:{back.candidate_id}",
        f"{back.decided_by} sent candidate {back.candidate_id} back",
        back.candidate_id,
    )
