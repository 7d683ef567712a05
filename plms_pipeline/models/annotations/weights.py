"""How much does each bar teach, once people have spoken about the trades that were made on it?

An annotation speaks about the bars of its symbol inside of its context; without a context about one bar, the last at or before
the trade. Where several speak about a bar, the newest word stands. The experiment says what each word weighs; a word that it
does not name weighs 1, as a bar does that nobody spoke about. What people know they know afterwards: at an earlier moment only
the words count that had been said by then, so that no fold is judged with hindsight; and weights change what is learnt from
a bar, never which bars are judged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from plms_pipeline.models.annotations.rules import Annotation
from plms_pipeline.models.market.bars import Bars, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """What annotations did to a training.

    Attributes:
        weights: (bars,) 0 or more.
        bars: how many bars the newest word of each decision stands for.
        spoken: annotations that spoke about any bar.
        newest: when the last of those was said (UTC); None if nobody spoke.
        digest: SHA-256 over those annotations.
    """

    weights: Floats
    bars: Mapping[str, int]
    spoken: int
    newest: np.datetime64 | None
    digest: str

    def as_document(self, weights: Mapping[str, float], in_folds: Sequence[int]) -> dict[str, Any]:
        """What the manifest keeps.

        Args:
            weights: as the experiment has them.
            in_folds: how many annotations each fold heard, in the order of the folds.
        """
        return {
            "weights": dict(sorted(weights.items())), "annotations": self.spoken, "bars": dict(sorted(self.bars.items())),
            "newest": None if self.newest is None else f"{np.datetime_as_string(self.newest, 's')}Z",
            "in_folds": list(in_folds), "sha256": self.digest,
        }  # fmt: skip

    def sentence(self, in_folds: Sequence[int]) -> str:
        """For people: who heard what."""
        deaf = sum(1 for heard in in_folds if heard < self.spoken)
        told = f"{self.spoken} annotations weigh in the candidate"
        if not deaf:
            return f"{told} and in each of {len(in_folds)} folds"
        return (
            f"{told}; {deaf} of {len(in_folds)} folds heard fewer, because the others were said after their time: there the "
            "gates judge without them"
        )


def weighted(
    bars: Bars, annotations: Sequence[Annotation], weights: Mapping[str, float], *, before: np.datetime64 | None = None
) -> Weighted | None:
    """The weight of each bar; None when the experiment weighs nothing.

    Args:
        bars: canonical bars.
        annotations: in any order.
        weights: by decision, 0 or more.
        before: only what had been said before this moment (UTC) is heard; None: all of it.
    """
    if not weights:
        return None
    said = np.full(bars.count, "", dtype=object)
    slices, heard = dict(bars.slices()), []
    for one in sorted(annotations, key=lambda each: (each.created_at, each.annotation_id)):
        if one.symbol not in slices or (before is not None and _instant(one.created_at) >= before):
            continue
        rows = slices[one.symbol]
        first, end = _span(bars.timestamp[rows], one)
        if first == end:
            continue
        said[rows.start + first : rows.start + end] = one.decision
        heard.append(one)
    values = np.array([weights.get(word, 1.0) if word else 1.0 for word in said.tolist()], dtype=np.float64)
    counts = {word: int((said == word).sum()) for word in sorted(set(said.tolist()) - {""})}
    text = json.dumps([one.as_document() for one in heard], sort_keys=True)
    newest = max((_instant(one.created_at) for one in heard), default=None)
    return Weighted(values, counts, len(heard), newest, hashlib.sha256(text.encode()).hexdigest())


def _span(times: np.ndarray[Any, np.dtype[np.datetime64]], one: Annotation) -> tuple[int, int]:
    if one.context_window_start is None and one.context_window_end is None:
        if one.trade_timestamp is None:
            return 0, 0
        place = int(np.searchsorted(times, _instant(one.trade_timestamp), side="right"))
        return max(place - 1, 0), place
    begins = one.context_window_start or one.trade_timestamp
    ends = one.context_window_end or one.trade_timestamp
    first = 0 if begins is None else int(np.searchsorted(times, _instant(begins), side="left"))
    end = times.size if ends is None else int(np.searchsorted(times, _instant(ends), side="right"))
    return first, max(first, end)


def _instant(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
