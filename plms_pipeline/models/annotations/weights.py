"""How much does each bar teach, once people have spoken about the trades that were made on it?

An annotation speaks about the bars of its symbol inside of its context; without a context about one bar, the last at or before
the trade. Where several speak about a bar, the newest word stands. The experiment says what each word weighs; a word that it
does not name weighs 1, as a bar does that nobody spoke about. What people know they know afterwards: weights change what
is learnt from a bar, and never which bars are judged.
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
        digest: SHA-256 over those annotations.
    """

    weights: Floats
    bars: Mapping[str, int]
    spoken: int
    digest: str

    def as_document(self, weights: Mapping[str, float]) -> dict[str, Any]:
        """What the manifest keeps; `weights` as the experiment has them."""
        return {
            "weights": dict(sorted(weights.items())), "annotations": self.spoken, "bars": dict(sorted(self.bars.items())),
            "sha256": self.digest,
        }  # fmt: skip


def weighted(bars: Bars, annotations: Sequence[Annotation], weights: Mapping[str, float]) -> Weighted | None:
    """The weight of each bar; None when the experiment weighs nothing.

    Args:
        bars: canonical bars.
        annotations: in any order.
        weights: by decision, 0 or more.
    """
    if not weights:
        return None
    said = np.full(bars.count, "", dtype=object)
    slices, heard = dict(bars.slices()), []
    for one in sorted(annotations, key=lambda each: (each.created_at, each.annotation_id)):
        if one.symbol not in slices:
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
    return Weighted(values, counts, len(heard), hashlib.sha256(text.encode()).hexdigest())


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
