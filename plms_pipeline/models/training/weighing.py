"""How much does each bar teach, as it was known at a moment?

What people say of bars they say afterwards. A fold that is judged on 2021 and was taught with weights of 2026 is judged with
hindsight, so each asks for the weights of its own time; only the candidate, which is judged by nothing that is known yet,
is taught with all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import Bars, Floats
from plms_pipeline.models.training.experiment import Experiment


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """Weights of bars, 0 or more, and the newest moment (UTC) at which anything was said that they rest on."""

    values: Floats
    newest: np.datetime64 | None = None


# The weights as they were known before a moment (UTC); None: now.
Weighing: TypeAlias = Callable[[np.datetime64 | None], Weighed]


def weighing_of(bars: Bars, asked: Experiment, given: Floats | Weighing | None) -> Weighing | None:
    """Weights of the bars that an experiment asks for; None: all alike.

    Args:
        given: one weight for each of `bars` at every moment, or what tells them.

    Raises:
        BadInput: they do not fit the bars (`bad_weights`), at once or when they are asked for.
    """
    if given is None:
        return None
    wanted = asked.data.symbols
    mine = None if wanted is None else np.isin(bars.codes, [bars.symbols.index(name) for name in wanted])

    def at(before: np.datetime64 | None) -> Weighed:
        found = given(before) if callable(given) else Weighed(given)
        values = found.values
        if values.size != bars.count or not (np.isfinite(values) & (values >= 0.0)).all():
            raise BadInput(f"There are {bars.count} bars; give as many weights, each 0 or more.", code="bad_weights")
        return found if mine is None else Weighed(values[mine], found.newest)

    if not callable(given):
        at(None)
    return at
