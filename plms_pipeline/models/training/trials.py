"""How many were tried, of which the one that is judged is the best?

Whoever tries twenty and tells of one has been lucky, and the deflated Sharpe ratio takes that luck off. What was tried is an
experiment together with the weights that it started from: the same experiment from the champion, and again from what came out,
are three throws of the dice on the same data. Over a lineage the experiments count that were tried on the data of the
ancestors, because the best of them is what is continued here. The same experiment again, on more data, is no further try: a
weekly retraining would otherwise be judged worse every week for nothing that anybody chose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """One try: SHA-256 of the experiment, and of the experiment with the weights that it started from (`recipe`)."""

    experiment: str
    recipe: str


def trial(experiment_sha256: str, started_from_sha256: str | None = None) -> Trial:
    """A try; without weights to start from the recipe is the experiment.

    Args:
        started_from_sha256: of the model whose weights were used.
    """
    if started_from_sha256 is None:
        return Trial(experiment_sha256, experiment_sha256)
    text = f"{experiment_sha256}:{started_from_sha256}"
    return Trial(experiment_sha256, hashlib.sha256(text.encode("ascii")).hexdigest())


def count(here: Collection[Trial], ancestors: Collection[str] = ()) -> int:
    """How many tries the luck of the best is taken off for.

    Args:
        here: on the same data, those that are judged now included.
        ancestors: SHA-256 of experiments that were tried on the data of ancestors.
    """
    return len({one.recipe for one in here}) + len(set(ancestors) - {one.experiment for one in here})
