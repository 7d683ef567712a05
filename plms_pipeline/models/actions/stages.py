"""What is there to tell of the data, and of a candidate as it is kept?

Reads again what was written: a stage that is told here is what lies on the disk now, compared with the hashes that the registry
keeps, and not what a training once said of itself.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from plms_pipeline.errors import BadInput, PlmsError
from plms_pipeline.models.actions.checking import blockers
from plms_pipeline.models.actions.escalating import recommended
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.retraining import SNAPSHOTS, Data, dataset
from plms_pipeline.models.decision.words import APPROVE, APPROVE_WITH_CAPS
from plms_pipeline.models.evaluation.files import GATES, METRICS
from plms_pipeline.models.layout import EVALUATION as FOLDER
from plms_pipeline.models.layout import MANIFEST, SUMMARY
from plms_pipeline.models.market.files.keeping import read_bars, snapshot
from plms_pipeline.models.records import ESTIMATES, MARKET, Candidate
from plms_pipeline.models.reporting.actions import report_estimates, report_run
from plms_pipeline.models.reporting.render import markdown
from plms_pipeline.models.stages.candidate import evaluation_stage, model_stage, predictions_stage, summary_stage
from plms_pipeline.models.stages.data import bars_stage, features_stage, snapshot_stage
from plms_pipeline.models.stages.files import read_document, read_frame
from plms_pipeline.models.stages.recommendation import Obstacle, recommendation_stage
from plms_pipeline.models.stages.report import report_stage
from plms_pipeline.models.stages.stage import Stage
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.files import PREDICTIONS, verify_run
from plms_pipeline.registry.engine import Registry


def data_stages(asked: Request, *, root: Path, as_of: datetime) -> tuple[Data, Stage, Stage]:
    """Read the prices of a request, keep them by their content, and tell both.

    Args:
        root: below it lie the snapshots.
        as_of: the present, aware.

    Raises:
        BadInput, NoData, VerdictNo: as `retraining.dataset`.
    """
    data = dataset(asked, as_of=as_of)
    bars = data.examination.bars
    path, digest = snapshot(root / SNAPSHOTS, bars)
    altered = ""
    try:
        read_bars(path)
    except PlmsError as error:
        altered = error.message
    told = bars_stage(data.examination, data.digest, source=asked.dataset.name)
    return data, told, snapshot_stage(bars, digest, str(path), altered=altered)


def feature_stage(root: Path, digest: str, asked: Experiment) -> Stage:
    """The features that an experiment makes of a snapshot.

    Raises:
        NotFound, BadInput: there is no such snapshot, or it was changed.
        NoData: the history is too short.
    """
    return features_stage(read_bars(root / SNAPSHOTS / f"{digest}.parquet"), asked)


def candidate_stages(candidate: Candidate, data_dir: Path) -> tuple[Stage, Stage, Stage, Stage]:
    """Model, predictions, evaluation and summary of a candidate, as its folder has them now.

    Raises:
        NoData: the folder or a file of it is gone.
        BadInput: a file is no longer what it should be at all, or the candidate is of another family (`other_family`).
    """
    if candidate.family != MARKET:
        raise BadInput(
            f"Candidate {candidate.candidate_id} is of the family {candidate.family}, which these assets do not tell of; "
            "`plms model show` does.",
            code="other_family",
        )
    folder = data_dir / candidate.folder
    altered = ""
    try:
        verify_run(folder, candidate.bytes.manifest)
    except PlmsError as error:
        altered = error.message
    manifest, _ = read_document(folder / MANIFEST)
    gates, _ = read_document(folder / FOLDER / GATES)
    metrics, _ = read_document(folder / FOLDER / METRICS)
    summary, found = read_document(folder / FOLDER / SUMMARY)
    path = str(folder / FOLDER / SUMMARY)
    changed = "" if found == candidate.bytes.evaluation else f"{path} was changed after the evaluation; train again."
    return (
        model_stage(manifest, model_sha256=candidate.bytes.model, folder=str(folder), altered=altered),
        predictions_stage(read_frame(folder / PREDICTIONS), metrics, manifest["folds"]),
        evaluation_stage(gates["gates"]),
        summary_stage(summary, sha256=found, path=path, altered=changed),
    )


def written_report(candidate: Candidate, data_dir: Path) -> Stage:
    """Write the report of a candidate into its folder, and tell it.

    Raises:
        NotFound, BadInput: predictions, summary or manifest are missing, or no longer what they should be.
    """
    write = report_estimates if candidate.family == ESTIMATES else report_run
    page, _ = write(data_dir / candidate.folder)
    folder = "pictures"
    text = markdown.markdown(page.report, folder)
    return report_stage(str(page.path), text, markdown.pictures(page.report), folder=folder)


def recommendation(registry: Registry, candidate: Candidate, data_dir: Path, *, now: datetime) -> Stage:
    """What should be done with a candidate, and what is in the way at this moment."""
    word = APPROVE_WITH_CAPS if candidate.caps else APPROVE
    found = blockers(registry, data_dir, candidate, now=now, decision=word, caps=candidate.caps)
    with registry.reading() as session:
        said = recommended(session, candidate, now)
    return recommendation_stage(candidate, said, [Obstacle(one.code, one.sentence) for one in found])
