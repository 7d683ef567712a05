"""What do the guardrails say about the trades of a request?

The limits are those of the settings under the caps with which a person approved the champion: of two the stricter holds. A
column that a limit needs and that is not there is an error that names it; the original filled it with nothing and passed every
book. Switched off, the figures are told and nothing is judged or cut, and the answer says so in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from plms_pipeline.errors import BadInput, Unprocessable
from plms_pipeline.models.evaluation.guardrails import Guarded, GuardrailConfig, guard, with_caps
from plms_pipeline.models.records import Switch

COLUMNS: Final = ("timestamp", "symbol", "sector", "factor", "notional", "price", "position", "pnl")
_NUMBERS: Final = ("notional", "price", "position", "pnl")


@dataclass(frozen=True, slots=True)
class Judged:
    """A judged book.

    Attributes:
        document: what `/guardrails` answers, without the model's version.
        trades: how many rows were looked at.
        enforced: whether guardrails were on.
        violations: broken limits by kind.
        scaled: whether anything was cut.
    """

    document: dict[str, Any]
    trades: int
    enforced: bool
    violations: Mapping[str, int]
    scaled: bool


def in_force(configured: GuardrailConfig, caps: Mapping[str, float], switch: Switch) -> GuardrailConfig:
    """The limits that hold now.

    Raises:
        BadInput: an approval caps something that does not exist.
    """
    return replace(with_caps(configured, caps), enabled=switch.enabled)


def judge(rows: Sequence[Mapping[str, Any]], config: GuardrailConfig, switch: Switch) -> Judged:
    """Measure trades, and cut them to the limits where these are enforced.

    Args:
        rows: with the keys of `COLUMNS`; what was not sent is missing or None.
        config: the limits in force.

    Raises:
        Unprocessable: what a limit needs is missing; the message names the column.
    """
    try:
        found = guard(_frame(rows), config)
    except BadInput as error:
        raise Unprocessable(error.message, code=error.code) from None
    document = {
        "enabled": config.enabled,
        "message": _message(switch),
        "metrics": dict(found.metrics),
        "violations": [one.as_document() for one in found.violations],
        "scaled": found.scaled,
        "trades": _rows(rows, found),
        "exposures": {kind: dict(peaks) for kind, peaks in found.exposures.items()},
    }
    kinds = Counter(one.name.partition(":")[0] for one in found.violations)
    return Judged(document, len(rows), config.enabled, dict(kinds), found.scaled)


def limits(config: GuardrailConfig) -> dict[str, Any]:
    """The limits, as JSON has them."""
    return {
        "enabled": config.enabled, "enforcement": config.enforcement, "capital_base": config.capital_base,
        "tail_percentile": config.tail_percentile, "max_gross_exposure": config.max_gross_exposure,
        "max_net_exposure": config.max_net_exposure, "max_turnover": config.max_turnover,
        "max_symbol_exposure": config.max_symbol_exposure, "min_tail_return": config.min_tail_return,
        "max_tail_frequency": config.max_tail_frequency, "sector_caps": dict(config.sector_caps),
        "factor_caps": dict(config.factor_caps),
    }  # fmt: skip


def _message(switch: Switch) -> str | None:
    if switch.enabled:
        return None
    by = f" by {switch.by}" if switch.by else ""
    why = f": {switch.reason}" if switch.reason else ""
    return f"Guardrails are switched off{by}{why}. Nothing was judged and nothing was cut."


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A column where any row has a value in it: one that nobody sent is missing, not empty."""
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        values = [row.get(name) for row in rows]
        if name in _NUMBERS:
            columns[name] = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        elif any(value is not None for value in values) or not rows:
            columns[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(columns)


def _rows(rows: Sequence[Mapping[str, Any]], found: Guarded) -> list[dict[str, Any]]:
    """The rows as they were sent, with what was scaled and the notional filled in."""
    scaled = {name: found.trades[name].tolist() for name in ("notional", "position", "pnl")}
    shown = []
    for place, row in enumerate(rows):
        told = {name: value for name, value in row.items() if value is not None}
        told["timestamp"] = row["timestamp"].isoformat()
        told |= {name: values[place] for name, values in scaled.items() if not np.isnan(values[place])}
        shown.append(told)
    return shown
