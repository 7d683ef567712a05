"""Which experiment does a training of estimates repeat that was asked for by sending a candidate back, or by drift?

That of the candidate itself: another measure or another split of time in its place would be no answer.
"""

from __future__ import annotations

from pathlib import Path

from plms_pipeline.errors import BadInput, Conflict, NoData, NotFound
from plms_pipeline.models.actions.candidates import require
from plms_pipeline.models.candidate_ids import candidate_id
from plms_pipeline.models.estimating.experiment import EstimatesExperiment, experiment_of
from plms_pipeline.models.files.candidate import check_bytes
from plms_pipeline.models.records import ESTIMATES
from plms_pipeline.models.store import champions
from plms_pipeline.registry.engine import Registry

CHAMPION = "champion"


def experiment_like(registry: Registry, wanted: str, *, root: Path) -> EstimatesExperiment:
    """The experiment of a candidate of estimates, from its own manifest, compared with what the registry knows.

    Args:
        wanted: `champion`, or the id of a candidate, whatever became of it; empty: the default experiment.
        root: the data folder.

    Raises:
        BadInput: it is no id (`bad_candidate`), or of another family (`other_family`).
        NotFound: there is no champion (`no_champion`) or no such candidate (`unknown_candidate`), or a file is gone.
        Conflict: its files are not those that were judged.
    """
    if not wanted.strip():
        return EstimatesExperiment()
    with registry.reading() as session:
        name = wanted.strip()
        if name == CHAMPION:
            champion = champions.current(session, ESTIMATES)
            if champion is None:
                raise NotFound(
                    "There is no champion of estimates yet: train without --from, or from a candidate's id.",
                    code="no_champion",
                )
            name = champion.candidate_id
        parent = require(session, candidate_id(name))
    if parent.family != ESTIMATES:
        raise BadInput(
            f"Candidate {parent.candidate_id} is of the family {parent.family}; a training of estimates starts from one of "
            f"{ESTIMATES}: plms model list --family {ESTIMATES}",
            code="other_family",
        )
    document = check_bytes(root, parent, with_data=False)
    found = experiment_of(document.get("experiment"))
    if found.digest() != parent.bytes.experiment:
        raise Conflict(
            f"The manifest of candidate {parent.candidate_id} holds another experiment than the registry knows; start from "
            "another candidate.",
            code="run_altered",
        )
    return found


def experiment_like_or_default(registry: Registry, wanted: str, *, root: Path) -> tuple[EstimatesExperiment, str]:
    """The same; where the files of the candidate are gone or were changed the default experiment, and a sentence that says so.

    A model that stopped holding and is not trained again because its own files were lost is the worse failure.
    """
    try:
        return experiment_like(registry, wanted, root=root), ""
    except (NoData, Conflict) as error:
        return EstimatesExperiment(), f"with the default experiment, because {error.message}"
