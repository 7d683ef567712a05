"""From which candidate does a training start?

The champion, or a candidate by its id. Every file of it is compared with what was judged before a byte of experiment or model
is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from plms_pipeline.errors import BadInput, Conflict, NoData, PlmsError
from plms_pipeline.models.actions.candidates import require
from plms_pipeline.models.candidate_ids import candidate_id
from plms_pipeline.models.files.candidate import check_bytes, model_file
from plms_pipeline.models.files.written import read_document
from plms_pipeline.models.layout import files_of
from plms_pipeline.models.records import MARKET, Candidate
from plms_pipeline.models.store import champions
from plms_pipeline.models.training.experiment import Experiment, branch, experiment
from plms_pipeline.models.training.files import FOLDS, load_folds, load_model
from plms_pipeline.models.training.starting import Checkpoint, Start, folds_known_to, known_to
from plms_pipeline.registry.engine import Registry

CHAMPION: Final = "champion"
# What is wrong with the parent's files, and not with what was asked for.
LOST: Final = frozenset(
    {
        "file_missing",
        "file_unreadable",
        "run_altered",
        "model_altered",
        "summary_altered",
        "bad_manifest",
        "bad_model",
        "too_large",
    }
)


def start_from(registry: Registry, wanted: str, *, root: Path) -> Start:
    """The parent that somebody names.

    Args:
        wanted: `champion`, or the id of a candidate, whatever became of it.
        root: the data folder.

    Raises:
        BadInput: it is no id (`bad_candidate`), or of another family (`other_family`).
        NoData: there is no champion (`no_champion`), or a file is gone (`file_missing`).
        NotFound: there is no such candidate (`unknown_candidate`).
        Conflict: its files are not those that were judged (`model_altered`, `summary_altered`, `run_altered`).
    """
    parent = candidate_named(registry, wanted)
    if parent.family != MARKET:
        raise BadInput(
            f"Candidate {parent.candidate_id} is of the family {parent.family}; a training on prices starts from one of "
            f"{MARKET}: plms model list --family {MARKET}",
            code="other_family",
        )
    document = check_bytes(root, parent, with_data=False)
    kept = experiment(document["experiment"], f"The experiment of candidate {parent.candidate_id}")
    if document.get("experiment_sha256") != parent.bytes.experiment:
        raise Conflict(
            f"The manifest of candidate {parent.candidate_id} holds another experiment than the registry knows; start from "
            "another candidate.",
            code="run_altered",
        )
    model = load_model(model_file(root, parent, document), parent.bytes.model)
    folds = _folds(root / parent.folder, document)
    return Start(parent.candidate_id, parent.bytes.model, model, kept, known_to(document), folds)


def _folds(folder: Path, document: Mapping[str, Any]) -> tuple[Checkpoint, ...]:
    """The parent's models of earlier moments; none of a run that did not keep them, or whose model leaves no weights."""
    digest = files_of(document, str(folder)).get(FOLDS)
    if digest is None:
        return ()
    known = folds_known_to(document)
    models = load_folds(folder / FOLDS, digest)
    return tuple(Checkpoint(number, models[number], known[number]) for number in sorted(known.keys() & models.keys()))


def start_or_cold(registry: Registry, wanted: str, *, root: Path) -> tuple[Start | None, str]:
    """The parent, or None and why it cannot be one: for whoever asks without a person who could choose another.

    Drift that nobody answers because the files of the drifting champion were lost is the worse failure: the training begins
    from nothing, its candidate waits for a person like any other, and says so.

    Raises:
        PlmsError: as `start_from`, of anything but files that are gone, altered or damaged.
    """
    try:
        return start_from(registry, wanted, root=root), ""
    except PlmsError as error:
        if error.code not in LOST:
            raise
        return None, f"from nothing and with another experiment, because {wanted} cannot be read ({error.message})"


def candidate_named(registry: Registry, wanted: str) -> Candidate:
    """The champion (`champion`), or the candidate with this id; raises as `start_from` where there is none."""
    with registry.reading() as session:
        if wanted.strip() != CHAMPION:
            return require(session, candidate_id(wanted))
        champion = champions.current(session, MARKET)
        if champion is None:
            raise NoData(
                "There is no champion to start from: nothing was promoted yet. Train without --from, or from a candidate's id.",
                code="no_champion",
            )
        return require(session, champion.candidate_id)


def branch_of(start: Start, file: Path | None) -> Experiment:
    """The experiment of a parent, with the keys of a file in place of its own.

    Raises:
        BadInput: the file cannot be read, or what comes out is no experiment.
    """
    return start.experiment if file is None else branch(start.experiment, read_document(file), str(file))
