"""What does the promoted model of estimates make of a task, in a form that every forecast can afford to ask?

A model reads all receipts whenever it is asked: seconds, and minutes for a large house. An *outlook* is what it said when it
last read them: the effect of every kind, complexity and task it knows, and what is believed of a receipt once that effect is
taken away. Receipts that came since are divided by the effects as they stood and fold into that belief, so its level is that of
this minute; only the effects themselves are of its last reading. Nothing in it knows a receipt from after the forecast.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.method import METHOD_VERSION
from plms_pipeline.estimates.policy import included
from plms_pipeline.estimates.receipts import Receipts
from plms_pipeline.estimates.state import Cell, State, state_of
from plms_pipeline.estimates.summary import Summary, decode, empty, encode, merge
from plms_pipeline.measures import BASES, MEASURES, Basis, Measure

FORMAT: Final = 1
# Read anew every night and within the hour of new receipts: one that is older was forgotten, and the priors answer.
OLDEST: Final = timedelta(hours=26)
# More receipts than this since the last reading are no longer folded in while somebody waits.
MOST_FRESH: Final = 20_000
# The summaries carry the factor of the trend (α), which no forecast of the model reads.
ALPHA: Final = 0.3

Part = tuple[Measure, Basis]
# What is known of a task before it is done, "" for what is not: kind, complexity, the task itself.
Words = tuple[str, str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One measure on one basis.

    Attributes:
        share, by_slope: how far the effects are believed.
        effects: by component and word (of a pair: provider and word), on the log scale; none is 0.
        slopes: by provider; "": one never seen.
        cells: receipts divided by the effect of their task, by (lane, provider).
        corrections: of the intervals, by lane; none is 1.
    """

    share: float
    by_slope: bool
    effects: Mapping[str, Mapping[str, float]]
    pairs: Mapping[str, Mapping[tuple[str, str], float]]
    slopes: Mapping[str, float]
    cells: Mapping[Cell, Summary]
    corrections: Mapping[int, float]

    def factor(self, provider: str, words: Words) -> float:
        """How many times as much as others a task takes its provider."""
        told = zip(("kind", "complexity", "task"), words, strict=True)
        effect = sum(self.effects.get(name, {}).get(word, 0.0) for name, word in told if word)
        pairs = (("provider_kind", words[0]), ("provider_task", words[2]))
        effect += sum(self.pairs.get(name, {}).get((provider, word), 0.0) for name, word in pairs if word)
        slope = self.slopes.get(provider, self.slopes.get("", 1.0)) if self.by_slope else 1.0
        return math.exp(self.share * effect * slope)

    def with_receipts(self, receipts: Receipts, words: list[Words], part: Part) -> Heard:
        """The same once these receipts, which came after all that it knows, are folded in."""
        values = receipts.measures[part[0]]
        taught = included(receipts.policy, part[1]) & ~np.isnan(values)
        if not taught.any():
            return self
        factors = [self.factor(str(who), one) for who, one in zip(receipts.provider, words, strict=True)]
        chosen = receipts.part(taught)
        left = values[taught] / np.asarray(factors)[taught]
        found = summaries_of(chosen.lane_id.tolist(), chosen.provider.tolist(), left, part[0])
        cells = {cell: merge(self.cells.get(cell, empty()), one) for cell, one in found.items()}
        return replace(self, cells={**self.cells, **cells})


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """What the model said when it last read the receipts, as it stands at one forecast.

    Attributes:
        as_of: no receipt that was completed later is in it; those since are folded in by `with_receipts`.
        withdrawn: parts in which the model was promoted and is not heard, because its live intervals stopped holding.
    """

    promotion_id: str
    candidate_id: str
    model_sha256: str
    as_of: datetime
    parts: Mapping[Part, Heard]
    withdrawn: tuple[Part, ...] = ()
    sha256: str = ""

    def state(self, part: Part) -> State:
        """The belief of a receipt without the effect of its task."""
        return state_of(part[0], self.parts[part].cells)

    def with_receipts(self, receipts: Receipts, words: list[Words]) -> Outlook:
        """The same with receipts that were completed after `as_of`, in canonical order."""
        if not len(receipts):
            return self
        return replace(self, parts={part: one.with_receipts(receipts, words, part) for part, one in self.parts.items()})

    def as_json(self) -> dict[str, Any]:
        """Whose forecast it is, as it is kept with the forecast."""
        return {
            "used": "model", "promotion_id": self.promotion_id, "candidate_id": self.candidate_id,
            "model_sha256": self.model_sha256, "outlook_sha256": self.sha256, "as_of": self.as_of.isoformat(),
            "parts": sorted([list(part) for part in self.parts]),
            **({"withdrawn": sorted([list(part) for part in self.withdrawn])} if self.withdrawn else {}),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unheard:
    """There is a promoted model, and the priors answer all the same: why."""

    candidate_id: str
    why: str

    def as_json(self) -> dict[str, Any]:
        """As it is kept with the forecast."""
        return {"used": "priors", "candidate_id": self.candidate_id, "why": self.why}


def summaries_of(lanes: list[int], providers: list[str], values: Any, measure: Measure) -> dict[Cell, Summary]:
    """What is remembered of values in canonical order, by (lane, provider)."""
    keys = list(zip(lanes, providers, strict=True))
    cells = sorted(set(keys))
    code = {cell: place for place, cell in enumerate(cells)}
    groups = np.fromiter((code[key] for key in keys), dtype=np.int32, count=len(keys))
    found = summarise(groups, len(cells), np.asarray(values, dtype=np.float64), measure, alpha=ALPHA)
    return {cells[group]: summary for group, summary in found.items()}


def text_of(outlook: Outlook) -> str:
    """The outlook as canonical JSON, without its own hash."""
    document = {
        "format": [FORMAT, METHOD_VERSION], "promotion_id": outlook.promotion_id, "candidate_id": outlook.candidate_id,
        "model_sha256": outlook.model_sha256, "as_of": outlook.as_of.isoformat(),
        "withdrawn": sorted([list(part) for part in outlook.withdrawn]),
        "parts": [{"measure": part[0], "basis": part[1], **_plain(one)} for part, one in sorted(outlook.parts.items())],
    }  # fmt: skip
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha_of(text: str) -> str:
    """SHA-256 (hex) of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(one: Heard) -> dict[str, Any]:
    return {
        "share": one.share, "by_slope": one.by_slope, "effects": {name: dict(found) for name, found in one.effects.items()},
        "pairs": {name: [[*pair, value] for pair, value in sorted(found.items())] for name, found in one.pairs.items()},
        "slopes": dict(one.slopes),
        "cells": [
            [lane, provider, base64.b64encode(encode(summary, alpha=ALPHA)).decode()]
            for (lane, provider), summary in sorted(one.cells.items())
        ],
        "corrections": [[lane, value] for lane, value in sorted(one.corrections.items())],
    }  # fmt: skip


def outlook_of(text: str) -> Outlook:
    """The outlook behind `text_of`.

    Raises:
        ValueError: it is none, or of another format.
    """
    try:
        document = json.loads(text)
        if document["format"] != [FORMAT, METHOD_VERSION]:
            raise ValueError(f"An outlook of format {document['format']!r} is not read.")
        parts = {(one["measure"], one["basis"]): _heard(one) for one in document["parts"]}
        withdrawn = tuple((measure, basis) for measure, basis in document["withdrawn"])
        if not all(measure in MEASURES and basis in BASES for measure, basis in (*parts, *withdrawn)):
            raise ValueError("An outlook of a measure or basis that nobody knows.")
        return Outlook(
            document["promotion_id"], document["candidate_id"], document["model_sha256"],
            datetime.fromisoformat(document["as_of"]), parts, withdrawn, sha_of(text),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError(f"This is no outlook ({type(error).__name__}).") from None


def _heard(one: Mapping[str, Any]) -> Heard:
    return Heard(
        float(one["share"]), bool(one["by_slope"]), one["effects"],
        {name: {(first, second): value for first, second, value in found} for name, found in one["pairs"].items()},
        one["slopes"],
        {(int(lane), provider): decode(base64.b64decode(text, validate=True)) for lane, provider, text in one["cells"]},
        {int(lane): float(value) for lane, value in one["corrections"]},
    )  # fmt: skip
