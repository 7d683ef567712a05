"""What did a champion earn on the bars that came after its training?

The same features, positions and costs as when it was judged, on bars that it was never shown: rows after the last one that
taught it, whose next bar is known. Symbols that it was not trained on are not its business; one of its own that no longer comes
is a broken feed, and told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import Bars, Floats, Instants, select
from plms_pipeline.models.training.costs import portfolio, positions, realised
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.features import features, following
from plms_pipeline.models.training.stored import Model


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """Returns of the portfolio per moment, in the order of time; `rows` of symbols they rest on; symbols that did not come."""

    moments: Instants
    values: Floats
    rows: int
    silent: tuple[str, ...]
    bars: Bars | None


@dataclass(frozen=True, slots=True)
class Trained:
    """What the manifest says of a training: its symbols, and the last moment that taught it."""

    symbols: tuple[str, ...]
    until: np.datetime64


def trained_of(manifest: Mapping[str, Any], thing: str) -> Trained:
    """What a manifest says.

    Raises:
        BadInput: it says nothing of the kind.
    """
    try:
        left_out = set(manifest.get("symbols_left_out") or ())
        symbols = tuple(str(name) for name in manifest["data"]["symbols"] if name not in left_out)
        return Trained(symbols, np.datetime64(str(manifest["candidate"]["trained_to"]).removesuffix("Z"), "us"))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{thing} does not say what was trained on ({error}); train again.", code="bad_manifest"
        ) from None


def live_returns(bars: Bars, model: Model, asked: Experiment, trained: Trained) -> Live:
    """The returns of a model after its training.

    Args:
        bars: the current dataset, history included.

    Raises:
        BadInput: the bars lack a signal that the model was trained on.
    """
    wanted = trained.symbols if asked.data.symbols is None else tuple(set(trained.symbols) & set(asked.data.symbols))
    there = tuple(name for name in wanted if name in bars.symbols)
    if not there:
        return Live(np.zeros(0, dtype="datetime64[us]"), np.zeros(0), 0, tuple(sorted(wanted)), None)
    chosen = select(bars, there)
    ended = {name for name, rows in chosen.slices() if chosen.timestamp[rows][-1] <= trained.until}
    # Silent is who stays behind while others go on.
    silent = set(wanted) - set(there) | (ended if len(ended) < len(there) else set())
    try:
        found = features(chosen, names=model.features)
    except NoData as error:
        raise BadInput(
            f"The model cannot be scored on the imported prices: {error.message}", code="other_features"
        ) from None
    ahead, _ = following(chosen, 1)
    rows = np.flatnonzero(found.usable & (chosen.timestamp > trained.until) & np.isfinite(ahead))
    if not rows.size:
        return Live(np.zeros(0, dtype="datetime64[us]"), np.zeros(0), 0, tuple(sorted(silent)), chosen)
    held = positions(model.predict(found.values[rows]), asked.trading.k)
    earned = realised(held, np.expm1(ahead[rows]), chosen.codes[rows], asked.costs)
    moments, values = portfolio(chosen.timestamp[rows], earned)
    return Live(moments, values, int(rows.size), tuple(sorted(silent)), chosen)
