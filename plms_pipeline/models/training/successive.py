"""What is trained before a training, and what against it?

The source had three stages: a pretraining whose weights nobody ever used, the training, and a reinforcement whose policy was
neither what was evaluated nor what was served. Here a pretraining leaves weights, of the candidate and of each fold, from which
the training starts under the rules of every warm start; and in place of reinforcement a challenger is trained on the same
walk-forward and compared moment by moment. It learns nothing by reinforcement, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import Bars, Floats
from plms_pipeline.models.training.experiment import BoostingSection, Experiment, branch
from plms_pipeline.models.training.features import FeatureFunction, backward_features
from plms_pipeline.models.training.fit import Model, Training, parent_of, train
from plms_pipeline.models.training.starting import Start
from plms_pipeline.models.training.trials import Trial, trial
from plms_pipeline.models.training.weighing import Weighing

PRETRAINING: Final = "pretraining"
TRAINING: Final = "training"
REINFORCEMENT: Final = "reinforcement"
HONESTLY: Final = "challenger; no reinforcement learning happens"
WarmStart: TypeAlias = Literal["training", "pretraining", "none"]


@dataclass(frozen=True, slots=True)
class Succession:
    """What is trained in one run.

    Attributes:
        training: the experiment of the candidate.
        pretraining: trained first; its weights are what the training starts from.
        challenger: trained afterwards, to be compared with.
        warm_start: `training`: each stage starts from the one before it, the first from `start`; `pretraining`: training and
            challenger start from the pretraining; `none`: each stage starts cold.
        start: the candidate that all begins with.

    Raises:
        BadInput: the stages do not fit together (`pretraining_does_not_fit`, `nothing_to_start_from`, `other_walk_forward`).
    """

    training: Experiment
    pretraining: Experiment | None = None
    challenger: Experiment | None = None
    warm_start: WarmStart = "training"
    start: Start | None = None

    def __post_init__(self) -> None:
        if self.warm_start == "pretraining" and self.pretraining is None:
            raise BadInput(
                "--warm-start pretraining needs a pretraining to start from; name one with --pretrain-config.",
                code="nothing_to_start_from",
            )
        if self.pretraining is not None:
            _refuse_unfit(self.pretraining, self.training, self.warm_start)
        if self.challenger is not None:
            _refuse_other_time(self.challenger, self.training)

    @property
    def stages(self) -> tuple[str, ...]:
        """Their names, in order."""
        given = ((PRETRAINING, self.pretraining), (TRAINING, self.training), (REINFORCEMENT, self.challenger))
        return tuple(name for name, asked in given if asked is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What came of a succession; `tried` counts every stage, because the figures of each are seen."""

    training: Training
    pretraining: Training | None
    challenger: Training | None
    tried: tuple[Trial, ...]


def preset_challenger(training: Experiment) -> Experiment:
    """The challenger where none is named: a boosting where a ridge is trained, and a ridge where a boosting is."""
    kind = "ridge" if isinstance(training.model, BoostingSection) else "boosting"
    return branch(training, {"name": f"{training.name[:53]}-challenger", "model": {"kind": kind}}, "The challenger")


def trained_in_turn(
    bars: Bars, asked: Succession, *, weigh: Callable[[Experiment], Floats | Weighing | None], digest: Callable[[Model], str],
    told: Callable[[str, str], None], function: FeatureFunction = backward_features,
) -> Trained:  # fmt: skip
    """Train the stages one after the other.

    Args:
        weigh: what each bar teaches under an experiment (`fit.train`).
        digest: SHA-256 of the file of a model.
        told: hears the name of each stage as it begins, and of each start.
        function: what computes the features.

    Raises:
        BadInput, NoData: as `fit.train`, for any stage.
    """
    tried: list[Trial] = []

    def one(stage: str, experiment: Experiment, start: Start | None) -> tuple[Training, Start]:
        told(stage, f"{experiment.model.kind}, {len(bars.symbols)} symbols, {bars.count} bars")
        found = train(bars, experiment, weights=weigh(experiment), start=start, function=function)
        if found.warmth is not None:
            told("start", f"{stage} starts {found.warmth.sentence}")
        tried.append(trial(experiment.digest(), None if found.warmth is None else found.warmth.weights_sha256))
        return found, parent_of(found, experiment, name=stage, sha256=digest(found.candidate))

    first = None if asked.warm_start == "none" else asked.start
    before: tuple[Training, Start] | None = None
    if asked.pretraining is not None:
        before = one(PRETRAINING, asked.pretraining, first)
    training, left = one(TRAINING, asked.training, first if before is None else before[1])
    challenger = None
    if asked.challenger is not None:
        starts = {"training": left, "pretraining": None if before is None else before[1], "none": None}
        challenger, _ = one(REINFORCEMENT, asked.challenger, starts[asked.warm_start])
    return Trained(training, None if before is None else before[0], challenger, tuple(tried))


def _refuse_unfit(pretraining: Experiment, training: Experiment, warm_start: WarmStart) -> None:
    if warm_start == "none":
        raise BadInput(
            "--warm-start none uses no weights, and a pretraining leaves nothing else; leave --pretrain-config out, or add "
            "--skip-pretraining.",
            code="pretraining_does_not_fit",
        )
    names = ("model.kind", "target", "data.features")
    ours, theirs = (_shape(one) for one in (training, pretraining))
    other = [name for name, one, two in zip(names, ours, theirs, strict=True) if one != two]
    if isinstance(training.model, BoostingSection):
        raise BadInput(
            "A boosting cannot start from the weights of a pretraining; train a ridge, or leave --pretrain-config out.",
            code="pretraining_does_not_fit",
        )
    if other:
        raise BadInput(
            f"The pretraining has another {' and '.join(other)} than the training, which so cannot start from its weights; "
            "let both have the same.",
            code="pretraining_does_not_fit",
        )


def _shape(asked: Experiment) -> tuple[object, object, object]:
    return asked.model.kind, asked.target, asked.data.features


def _refuse_other_time(challenger: Experiment, training: Experiment) -> None:
    if challenger.plan != training.plan or challenger.data.symbols != training.data.symbols:
        raise BadInput(
            "The challenger is judged on other moments or symbols than the training, and cannot be compared with it; let "
            "walk_forward, data.symbols and target.horizon be the same.",
            code="other_walk_forward",
        )
