"""What was tried on which data? Append-only; every function takes an open session and never commits."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.models.training.trials import Trial, trial
from plms_pipeline.registry.tables import Candidate, ModelTrial

# A lineage longer than that has been the champion for decades.
MAX_ANCESTORS: Final = 1000


def add(session: Session, candidate_id: str, family: str, data_sha256: str, tried: Iterable[Trial]) -> None:
    """Keep what the training of a candidate tried."""
    session.add_all(
        ModelTrial(
            candidate_id=candidate_id, recipe_sha256=one.recipe, experiment_sha256=one.experiment, family=family,
            data_sha256=data_sha256,
        )
        for one in dict.fromkeys(tried)
    )  # fmt: skip
    session.flush()


def tried_on(session: Session, family: str, data: Collection[str]) -> set[Trial]:
    """Everything that a family tried on one of these data, whatever became of it; a candidate of the time before these books
    stands for its experiment.
    """
    kept = select(ModelTrial.experiment_sha256, ModelTrial.recipe_sha256).where(
        ModelTrial.family == family, ModelTrial.data_sha256.in_(data)
    )
    older = select(Candidate.experiment_sha256).where(
        Candidate.family == family,
        Candidate.data_sha256.in_(data),
        Candidate.candidate_id.not_in(select(ModelTrial.candidate_id)),
    )
    found = {Trial(experiment, recipe) for experiment, recipe in session.execute(kept)}
    return found | {trial(experiment) for experiment in session.scalars(older)}


def ancestors_data(session: Session, candidate_id: str | None) -> set[str]:
    """The content of the data of a candidate and of all those that it comes from."""
    found: set[str] = set()
    seen: set[str] = set()
    while candidate_id is not None and candidate_id not in seen and len(seen) < MAX_ANCESTORS:
        seen.add(candidate_id)
        row = session.execute(
            select(Candidate.data_sha256, Candidate.started_from).where(Candidate.candidate_id == candidate_id)
        ).one_or_none()
        if row is None:
            break
        found.add(row[0])
        candidate_id = row[1]
    return found
