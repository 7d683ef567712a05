"""What keeps a candidate from being promoted, and why?

Noise makes money half of the time, so a good figure is no reason. A candidate passes when the lower limits of its information
coefficient and of its Sharpe ratio after costs lie above 0 at a level at which one worthless candidate in some hundreds
would pass, when its Sharpe ratio beats what the best of all trials would show by luck, and when nothing about it is too good
to be true. All is judged out of sample, on whole moments (`bootstrap`).

Every gate is judged, so that one look shows all that is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.bootstrap import (
    RESAMPLES,
    SEED,
    Interval,
    bootstrap,
    bootstrap_information,
)
from plms_pipeline.models.evaluation.deflated_sharpe import deflated_sharpe
from plms_pipeline.models.evaluation.returns import TRADING_DAYS, Floats, Weighting, portfolio_path, returns_of
from plms_pipeline.models.evaluation.thresholds import Alert

# Rows of predictions as the gates read them.
TIMESTAMP, SYMBOL, PREDICTED, ACTUAL, RETURN = "timestamp", "symbol", "predicted", "actual", "realised_return"


@dataclass(frozen=True, slots=True)
class GateConfig:
    """What a candidate must show.

    Attributes:
        level: of the central intervals whose lower limits are judged; 0.99 lets one in 200 worthless candidates pass each.
        min_information: what the lower limit of the information coefficient must exceed.
        min_sharpe: what the lower limit of the annualised Sharpe ratio after costs must exceed.
        min_deflated: least probability that the Sharpe ratio is more than the best of all trials by luck.
        min_periods: moments out of sample.
        max_information, max_sharpe: above these (annualised) something of the future has leaked into the features.
    """

    level: float = 0.99
    min_information: float = 0.0
    min_sharpe: float = 0.0
    min_deflated: float = 0.95
    min_periods: int = 250
    max_information: float = 0.5
    max_sharpe: float = 10.0
    resamples: int = RESAMPLES
    seed: int = SEED

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise BadInput(f"level is {self.level}; it lies between 0 and 1.")
        if not 0 <= self.min_deflated <= 1:
            raise BadInput(f"min_deflated is {self.min_deflated}; it is a probability.")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a candidate out of sample; None: could not be computed.

    Attributes:
        periods: moments out of sample.
        information: the information coefficient with its interval.
        sharpe: annualised, after costs, with its interval.
        deflated: probability that the Sharpe ratio is more than luck.
        trials: how many candidates were tried, this one included.
    """

    periods: int
    information: Interval
    sharpe: Interval
    deflated: float | None
    trials: int


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition: a true sentence when it passed, and the reason when it did not."""

    name: str
    passed: bool
    value: float | None
    threshold: float
    reason: str

    def as_document(self) -> dict[str, Any]:
        """The gate, as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """All gates of a candidate."""

    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing keeps the candidate from being promoted."""
        return all(gate.passed for gate in self.gates)

    @property
    def blocking(self) -> tuple[Gate, ...]:
        """The gates that did not pass."""
        return tuple(gate for gate in self.gates if not gate.passed)

    def as_document(self) -> dict[str, Any]:
        """The verdict, as JSON has it."""
        return {"passed": self.passed, "gates": [gate.as_document() for gate in self.gates]}


def evidence_of(
    predictions: pd.DataFrame, *, trials: int, config: GateConfig, periods_per_year: float = TRADING_DAYS,
    trial_variance: float | None = None, weighting: Weighting = "mean",
) -> Evidence:  # fmt: skip
    """What out-of-sample predictions show.

    Args:
        predictions: rows of `timestamp`, `symbol`, `predicted`, `actual` (the outcome that was predicted) and
            `realised_return` (simple, after costs); rows where one is unknown are left out.
        trials: how many candidates were tried, this one included.

    Raises:
        BadInput: a column is missing, (timestamp, symbol) is there twice, or returns cannot be.
        NoData: there are no rows.
    """
    wanted = (TIMESTAMP, SYMBOL, PREDICTED, ACTUAL, RETURN)
    for name in wanted:
        if name not in predictions.columns:
            raise BadInput(f"The predictions have no column `{name}`; the gates need {', '.join(wanted)}.")
    twice = int(predictions.duplicated([TIMESTAMP, SYMBOL]).sum())
    if twice:
        raise BadInput(f"{twice} rows repeat a moment and symbol, and would count twice; keep one of each.")
    path = portfolio_path(predictions, RETURN, timestamp=TIMESTAMP, kind="simple", weighting=weighting)
    returns = returns_of(path, kind="simple", periods_per_year=periods_per_year, name=RETURN)
    known = predictions[[TIMESTAMP, PREDICTED, ACTUAL]].dropna()
    predicted, actual = (_finite(known[name], name) for name in (PREDICTED, ACTUAL))
    information = bootstrap_information(
        known[TIMESTAMP], predicted, actual, resamples=config.resamples, seed=config.seed, level=config.level
    )
    resampled = bootstrap(returns, resamples=config.resamples, seed=config.seed, level=config.level)
    deflated = deflated_sharpe(returns.values, trials=trials, variance=trial_variance)
    return Evidence(
        returns.values.size, information, resampled.intervals["sharpe"],
        None if deflated is None else deflated.deflated, trials,
    )  # fmt: skip


def judge(evidence: Evidence, config: GateConfig, *, alerts: Sequence[Alert] = ()) -> GateVerdict:
    """Every gate of a candidate.

    Args:
        alerts: broken limits of its operations summary; each blocks.
    """
    gates = [
        _above("has_enough_periods_out_of_sample", float(evidence.periods), config.min_periods,
               "moments out of sample", or_equal=True),
        _above("information_coefficient_is_more_than_noise", evidence.information.low, config.min_information,
               f"the lower limit of the information coefficient ({config.level:.0%})"),
        _above("sharpe_after_costs_is_more_than_noise", evidence.sharpe.low, config.min_sharpe,
               f"the lower limit of the Sharpe ratio after costs ({config.level:.0%})"),
        _above("sharpe_is_more_than_the_luck_of_all_trials", evidence.deflated, config.min_deflated,
               f"the deflated Sharpe ratio of {evidence.trials} trials", or_equal=True),
        _below("information_coefficient_is_believable", evidence.information.point, config.max_information,
               "the information coefficient"),
        _below("sharpe_is_believable", evidence.sharpe.point, config.max_sharpe, "the annualised Sharpe ratio"),
    ]  # fmt: skip
    gates += [Gate(f"limit:{alert.code}", False, alert.value, alert.threshold, alert.message) for alert in alerts]
    return GateVerdict(tuple(gates))


def _above(name: str, value: float | None, least: float, words: str, *, or_equal: bool = False) -> Gate:
    if value is None:
        return Gate(name, False, None, least, f"{words} is unknown: too few periods, or nothing in them varies")
    passed = value >= least if or_equal else value > least
    reason = "" if passed else f"{words}: {value:.4g}, {'at least' if or_equal else 'more than'} {least:g} is needed"
    return Gate(name, passed, value, least, reason)


def _below(name: str, value: float | None, most: float, words: str) -> Gate:
    if value is None:
        return Gate(name, False, None, most, f"{words} is unknown: too few periods, or nothing in them varies")
    passed = value <= most
    reason = f"{words} is {value:.4g}: above {most:g} it is likelier that features have seen the future"
    return Gate(name, passed, value, most, "" if passed else reason)


def _finite(column: pd.Series, name: str) -> Floats:
    values = np.asarray(column, dtype=np.float64)
    if not math.isfinite(float(np.abs(values).max(initial=0.0))):
        raise BadInput(f"`{name}` holds infinite values; a prediction and its outcome are finite, or left empty.")
    return values
