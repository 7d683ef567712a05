"""Does a model that is read back from disk still say what it said when it was trained?

The newest rows as the candidate scored them, kept beside it: whoever promotes it loads the stored bytes, scores the stored bars
again and compares. Another library, another processor or another version of the features is found before it serves, not by its
losses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import Bars, select
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.manifest import instant
from plms_pipeline.models.training.scoring import Scores, score
from plms_pipeline.models.training.stored import Model

SCHEMA_VERSION: Final = 1
ROWS: Final = 5
RELATIVE: Final = 1e-9
ABSOLUTE: Final = 1e-12
_FIGURES: Final = ("score", "position")


def golden(model: Model, bars: Bars, asked: Experiment) -> dict[str, Any]:
    """The newest rows of each symbol as a model scores them; numbers are exact in JSON.

    Raises:
        NoData: no bar has features.
    """
    found = _scores(model, bars, asked)
    rows = [
        {"symbol": symbol, "window_end": instant(end), "score": float(value), "position": float(position)}
        for symbol, end, value, position in zip(
            found.symbols, found.window_end, found.score, found.position, strict=True
        )
    ]
    return {"schema_version": SCHEMA_VERSION, "rows": rows}


def disagreements(document: Mapping[str, Any], model: Model, bars: Bars, asked: Experiment) -> tuple[str, ...]:
    """The rows in which a model says something else than was kept of it, each as a sentence.

    Raises:
        BadInput: the document is none of ours.
        NoData: no bar has features.
    """
    kept = _kept(document)
    now = {(row["symbol"], row["window_end"]): row for row in golden(model, bars, asked)["rows"]}
    if not kept or set(kept) != set(now):
        return (f"{len(set(kept) ^ set(now))} rows are not the same ones",)
    return tuple(
        f"{symbol} at {end}: {name} was {kept[symbol, end][name]!r} and is {row[name]!r}"
        for (symbol, end), row in sorted(now.items())
        for name in _FIGURES
        if not math.isclose(row[name], kept[symbol, end][name], rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    )


def _kept(document: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, float]]:
    rows: Any = document.get("rows") if document.get("schema_version") == SCHEMA_VERSION else None
    try:
        return {(row["symbol"], row["window_end"]): {name: float(row[name]) for name in _FIGURES} for row in rows}
    except (KeyError, TypeError, ValueError):
        raise BadInput("The golden rows are none of version 1; train again.", code="bad_golden") from None


def _scores(model: Model, bars: Bars, asked: Experiment) -> Scores:
    chosen = bars if asked.data.symbols is None else select(bars, asked.data.symbols)
    k, horizon = asked.trading.k, asked.target.horizon
    try:
        return score(model, chosen, k=k, horizon=horizon, last=ROWS)
    except NoData:
        # The newest bars stand still; somewhere before them there were features, or there would be no candidate.
        return score(model, chosen, k=k, horizon=horizon, last=None)
