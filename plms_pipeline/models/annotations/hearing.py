"""What did each fold of a training hear of what people said, and what did the candidate?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from plms_pipeline.errors import BadInput
from plms_pipeline.models.annotations.rules import Annotation
from plms_pipeline.models.annotations.weights import weighted
from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.weighing import Weighed, Weighing


class Heard:
    """What annotations make each bar weigh, and how many each fold heard; for one training.

    Attributes:
        weighing: tells the weights of a moment; None where annotations weigh nothing.

    Raises:
        BadInput: the experiment weighs annotations, and nobody knows them (`no_annotations`).
    """

    def __init__(self, bars: Bars, asked: Experiment, spoken: Sequence[Annotation] | None) -> None:
        if asked.annotations.weights and spoken is None:
            raise BadInput(
                "The experiment weighs annotations, which are in the registry; train without --output-dir, or without "
                "annotations.weights.",
                code="no_annotations",
            )
        self._bars, self._spoken, self._weights = bars, spoken or (), asked.annotations.by_word
        self._all = weighted(bars, self._spoken, self._weights)
        self._in_folds: list[int] = []
        self.weighing: Weighing | None = None if self._all is None else self._at

    def _at(self, before: np.datetime64 | None) -> Weighed:
        found = self._all if before is None else weighted(self._bars, self._spoken, self._weights, before=before)
        assert found is not None  # noqa: S101 - the experiment weighs something
        if before is not None:
            self._in_folds.append(found.spoken)
        return Weighed(found.weights, found.newest)

    @property
    def sentence(self) -> str:
        """For people."""
        return "" if self._all is None else self._all.sentence(self._in_folds)

    @property
    def document(self) -> dict[str, Any] | None:
        """For the manifest."""
        return None if self._all is None else self._all.as_document(self._weights, self._in_folds)


class Hearing:
    """What each stage of a training hears, in the order of the stages.

    Args:
        spoken: what people said of trades; None where nobody knows.
    """

    def __init__(self, bars: Bars, spoken: Sequence[Annotation] | None) -> None:
        self._bars, self._spoken = bars, spoken
        self.stages: list[Heard] = []

    def weigh(self, asked: Experiment) -> Weighing | None:
        """The weights of the next stage, or None for none.

        Raises:
            BadInput: as `Heard`.
        """
        self.stages.append(Heard(self._bars, asked, self._spoken))
        return self.stages[-1].weighing
