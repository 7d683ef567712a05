"""What is asked of a training, whoever asks: a terminal, a schedule, or a decision that sent a candidate back?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from plms_pipeline.models.evaluation.gates import GateConfig
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.starting import Start
from plms_pipeline.models.training.successive import Succession, WarmStart


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be trained, on what, by whom.

    `trials`: how many candidates were tried on these data at least, this one included; the luck of the best of them is taken
    off. The registry counts those that it knows (`retrain`'s `trials_of`); this may only raise it. `thresholds`: limits that
    go before those of the experiment. `has_report`: whether report.html and report.md are written, too. `start`: the candidate
    that it starts from, of whose experiment this one is a branch. `pretraining`, `challenger`, `warm_start`: the stages around
    the training (`Succession`). `strict`: what the experiment says when None. `has_regimes`: whether regimes are told anew.

    Raises:
        BadInput: the stages do not fit together.
    """

    dataset: Path
    experiment: Experiment
    strict: bool | None = None
    symbol: str | None = None
    trials: int = 1
    thresholds: OperationsThresholds = field(default_factory=OperationsThresholds)
    gates: GateConfig = field(default_factory=GateConfig)
    requested_by: str | None = None
    reason: str | None = None
    has_report: bool = True
    start: Start | None = None
    pretraining: Experiment | None = None
    challenger: Experiment | None = None
    warm_start: WarmStart = "training"
    has_regimes: bool = False

    def __post_init__(self) -> None:
        _ = self.succession

    @property
    def succession(self) -> Succession:
        """What is trained."""
        return Succession(self.experiment, self.pretraining, self.challenger, self.warm_start, self.start)

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """All that are trained, the candidate's first."""
        return tuple(one for one in (self.experiment, self.pretraining, self.challenger) if one is not None)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that run, by the names of the source and in its order, and then the report."""
        regimes = ("regimes",) if self.has_regimes else ()
        report = ("report",) if self.has_report else ()
        return ("dataset", *regimes, *self.succession.stages, "evaluation", *report)

    @property
    def is_strict(self) -> bool:
        """Whether data about which anything was found are refused."""
        return self.experiment.data.strict_validation if self.strict is None else self.strict

    @property
    def limits(self) -> OperationsThresholds:
        """The limits of the experiment, but for those that the request names itself."""
        named = {name: limit for name, limit in self.thresholds.as_document().items() if limit is not None}
        return replace(self.experiment.thresholds.limits, **named)
