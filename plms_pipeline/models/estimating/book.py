"""Which receipts is a model of estimates trained on, in all measures, and what identifies them?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.policy import included
from plms_pipeline.estimates.receipts import Kinds, Receipts
from plms_pipeline.measures import BASES, MEASURES, Measure
from plms_pipeline.models.estimating.history import History, Mask

NUMBERS: Final = ("lane_id", "started_ms", "completed_ms")
WORDS: Final = ("provider", "task", "kind", "complexity")


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """Columns of (n,) in canonical order: `NUMBERS`, `WORDS`, each measure (NaN where unknown), each basis (is it taught?)."""

    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return int(self.columns["lane_id"].size)

    def history(self, measure: Measure) -> History:
        """The receipts that know a measure."""
        known: Mask = ~np.isnan(self.columns[measure])
        own = {name: self.columns[name][known] for name in (*NUMBERS, *WORDS)}
        return History(
            measure=measure, value=self.columns[measure][known],
            taught={basis: self.columns[basis][known] for basis in BASES}, **own,
        )  # fmt: skip

    def digest(self) -> str:
        """SHA-256 (hex) of the content."""
        found = hashlib.sha256()
        for name in (*NUMBERS, *MEASURES, *BASES):
            found.update(name.encode() + np.ascontiguousarray(self.columns[name]).tobytes())
        for name in WORDS:
            words = [str(word).encode() for word in self.columns[name]]
            found.update(name.encode() + b"".join(len(word).to_bytes(4, "little") + word for word in words))
        return found.hexdigest()


def book_of(receipts: Receipts, kinds: Kinds) -> Book:
    """The columns of receipts, with what is known of their tasks."""
    known = [
        kinds.get((str(run), str(task)), ("", "")) for run, task in zip(receipts.run_id, receipts.task_id, strict=True)
    ]
    return Book({
        "lane_id": receipts.lane_id, "started_ms": receipts.started_ms, "completed_ms": receipts.completed_ms,
        "provider": receipts.provider, "task": receipts.task_id,
        "kind": np.asarray([*(kind for kind, _ in known), None], dtype=object)[:-1],
        "complexity": np.asarray([*(word for _, word in known), None], dtype=object)[:-1],
        **{str(measure): values for measure, values in receipts.measures.items()},
        **{str(basis): included(receipts.policy, basis) for basis in BASES},
    })  # fmt: skip
