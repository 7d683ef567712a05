"""What will each task take, as known when it began: the prior, moved by what is known of the task?

Receipts are divided by the effect of their task, the priors' own engine forecasts what is left, and its quantiles are
multiplied by the effect of the task in question. So level, shape, drift and the adaptive correction are those of the
priors, word for word, and the model answers for nothing but the difference that the task makes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from plms_pipeline.estimates.backtest import MS_PER_DAY, backtest
from plms_pipeline.measures import Basis
from plms_pipeline.models.estimating.effects import Explained, explain
from plms_pipeline.models.estimating.history import Floats, History
from plms_pipeline.models.estimating.model import Part, Trust


@dataclass(frozen=True, slots=True)
class Task:
    """A task before it is done; "" for what is not known."""

    lane_id: int
    provider: str
    task: str = ""
    kind: str = ""
    complexity: str = ""


@dataclass(frozen=True, slots=True)
class TaskForecast:
    """The 39 quantiles of a task from the model and from the prior alone, in the measure's unit."""

    quantiles: tuple[float, ...]
    prior: tuple[float, ...]
    effect: float

    def as_json(self) -> dict[str, object]:
        """For machines: medians, 90 % intervals, and by which factor the task differs."""
        low, median, high = (self.quantiles[place] for place in (1, 19, 37))
        prior_low, prior_median, prior_high = (self.prior[place] for place in (1, 19, 37))
        return {
            "median": median, "low": low, "high": high, "factor": self.effect, "quantiles": list(self.quantiles),
            "prior": {"median": prior_median, "low": prior_low, "high": prior_high},
        }  # fmt: skip


def prior_quantiles(history: History, basis: Basis) -> Floats:
    """The priors' quantiles of every row that teaches a basis, one step ahead and corrected. (rows, 39)."""
    return backtest(history.outcomes(basis), history.measure, today=_after(history)).quantiles


def quantiles(history: History, basis: Basis, explained: Explained, trust: Trust) -> Floats:
    """The model's quantiles of every row that teaches a basis, one step ahead and corrected. (rows, 39)."""
    factor = np.exp(moved(explained, trust)[history.taught[basis]])
    outcomes = history.outcomes(basis)
    left = replace(outcomes, value=outcomes.value / factor)
    return backtest(left, history.measure, today=_after(history)).quantiles * factor[:, None]


def moved(explained: Explained, trust: Trust) -> Floats:
    """By how much the prior of each row is moved, on the log scale."""
    return trust.share * explained.effect * (explained.slope if trust.by_slope else 1.0)


def forecast(history: History, basis: Basis, part: Part, task: Task, *, at: datetime) -> TaskForecast:
    """What a task takes that begins now, by the very functions that the model was judged with.

    Args:
        history: what was completed by `at`.
    """
    asked = history.and_one_more(
        lane_id=task.lane_id, provider=task.provider, task=task.task, kind=task.kind, complexity=task.complexity,
        at_ms=round(at.timestamp() * 1000),
    )  # fmt: skip
    explained = explain(asked, part.scatter)
    found = quantiles(asked, basis, explained, part.trust[basis])[-1]
    factor = float(np.exp(moved(explained, part.trust[basis])[-1]))
    return TaskForecast(tuple(found.tolist()), tuple(prior_quantiles(asked, basis)[-1].tolist()), factor)


def _after(history: History) -> date:
    """The day after everything: corrections are asked for up to there."""
    last = int(max(history.started_ms.max(initial=0), history.completed_ms.max(initial=0)))
    return (datetime.fromtimestamp(last // MS_PER_DAY * MS_PER_DAY / 1000, UTC) + timedelta(days=1)).date()
