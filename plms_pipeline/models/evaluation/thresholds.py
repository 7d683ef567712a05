"""Which limits does an operator set on a candidate's figures, and which are broken?

A limit that cannot be compared because its figure is unknown is an alert of its own: a limit on exposure that never speaks
because nobody recorded the trades is taken for a kept one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.guardrails import exceeds

Source = Literal["risk", "guardrails", "drift"]


@dataclass(frozen=True, slots=True)
class Alert:
    """A limit that is broken, or cannot be judged (`value` None).

    Attributes:
        code: stable name for programs.
        metric: the figure's name in the summary.
        message: for people.
    """

    code: str
    metric: str
    value: float | None
    threshold: float
    message: str

    def as_document(self) -> dict[str, Any]:
        """The alert, as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit on one figure: `floor` is broken from above, `ceiling` from below; a drawdown is compared by its size."""

    threshold: str
    source: Source
    metric: str
    kind: Literal["floor", "ceiling"]
    code: str
    words: str


RULES: Final = (
    Rule("min_sharpe", "risk", "sharpe", "floor", "sharpe_below_minimum", "The annualised Sharpe ratio"),
    Rule("max_drawdown", "risk", "max_drawdown", "ceiling", "drawdown_above_limit", "The deepest drawdown"),
    Rule(
        "max_gross_exposure", "guardrails", "gross_exposure_peak",
        "ceiling", "gross_exposure_above_limit", "Peak gross exposure",
    ),
    Rule("max_turnover", "guardrails", "turnover_rate", "ceiling", "turnover_above_limit", "Turnover per period"),
    Rule(
        "min_tail_return", "guardrails", "tail_return_quantile",
        "floor", "tail_return_below_floor", "The tail quantile",
    ),
    Rule(
        "max_tail_frequency", "guardrails", "tail_event_frequency",
        "ceiling", "tail_events_above_limit", "The share of tail events",
    ),
    Rule(
        "max_symbol_exposure", "guardrails", "max_symbol_exposure",
        "ceiling", "symbol_exposure_above_limit", "Peak exposure to a symbol",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OperationsThresholds:
    """Limits on a candidate's summary; None is no limit.

    `min_sharpe` is annualised; `max_drawdown` a positive fraction; exposures and turnover are multiples of the capital base;
    `min_tail_return` is money. A tail event is a moment below `min_tail_return`.

    Raises:
        BadInput: a limit is no finite number, or cannot be compared.
    """

    min_sharpe: float | None = None
    max_drawdown: float | None = None
    max_gross_exposure: float | None = None
    max_turnover: float | None = None
    min_tail_return: float | None = None
    max_tail_frequency: float | None = None
    max_symbol_exposure: float | None = None

    def __post_init__(self) -> None:
        for rule in RULES:
            limit = getattr(self, rule.threshold)
            if limit is not None and not math.isfinite(limit):
                raise BadInput(f"{rule.threshold} is {limit}; a limit is a finite number, or left out.")
            if limit is not None and limit < 0 and rule.kind == "ceiling":
                raise BadInput(f"{rule.threshold} is {limit}; it is compared with sizes, so it is 0 or more.")
        if self.max_tail_frequency is not None and self.min_tail_return is None:
            raise BadInput("max_tail_frequency counts returns below min_tail_return; set that, too.")

    def as_document(self) -> dict[str, float | None]:
        """Every limit by its name, null where there is none."""
        return asdict(self)


def alerts_of(
    thresholds: OperationsThresholds, *, risk: Mapping[str, float | None], guardrails: Mapping[str, float | None] | None
) -> tuple[Alert, ...]:
    """What is broken or cannot be judged, in the order of the thresholds.

    Args:
        risk: the figures of `risk`.
        guardrails: those of the trades; None without trades.
    """
    found = []
    for rule in RULES:
        limit = getattr(thresholds, rule.threshold)
        if limit is None:
            continue
        value = (risk if rule.source == "risk" else guardrails or {}).get(rule.metric)
        found.append(judged(rule, value, float(limit)))
    return tuple(alert for alert in found if alert is not None)


def judged(rule: Rule, value: float | None, limit: float) -> Alert | None:
    """The alert of one figure under one limit; None where it is kept."""
    if value is None:
        why = "there are no trades to take it from" if rule.source == "guardrails" else "it could not be computed"
        message = f"{rule.words} is unknown ({why}), so {rule.threshold} = {limit:g} cannot be judged."
        return Alert(f"{rule.metric}_unknown", rule.metric, None, limit, message)
    if rule.kind == "floor":
        broken, side = exceeds(limit, value), "below its floor"
    else:
        broken, side = exceeds(abs(value), limit), "beyond its limit"
    if not broken:
        return None
    return Alert(
        rule.code, rule.metric, value, limit, f"{rule.words} is {value:.6g}, {side} {rule.threshold} = {limit:g}."
    )
