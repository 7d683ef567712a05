"""Which keys did a dry run already meet in this file?

An import asks the registry, which holds the earlier batches; a dry run writes nothing, so it remembers sixteen bytes per
row: 64 bits of the key's digest and 64 of the row's. Of a million keys two share 64 bits once in forty million files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.intake.canonical import Receipt
from plms_pipeline.intake.reasons import Reason, rejected
from plms_pipeline.intake.settling import Settled


@dataclass(slots=True)
class Seen:
    """Digests of the keys met so far, sorted, with the digests of their rows."""

    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    rows: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def split(self, receipts: Sequence[Receipt]) -> Settled:
        """Sort rows into fresh, unchanged and conflicting, as the registry would if earlier batches lay in it."""
        settled = Settled()
        keys = _keys(receipts)
        places = np.searchsorted(self.keys, keys)
        for receipt, key, place in zip(receipts, keys, places, strict=True):
            if place == len(self.keys) or self.keys[place] != key:
                settled.fresh.append(receipt)
            elif self.rows[place] == _row(receipt):
                settled.unchanged += 1
            else:
                where = "an earlier line of this file differs"
                settled.conflicts.append(rejected(receipt.line, "", receipt.natural_key, Reason.CONFLICT, where))
        return settled

    def remember(self, receipts: Sequence[Receipt]) -> None:
        """Remember rows whose keys are new."""
        merged = np.concatenate([self.keys, _keys(receipts)])
        order = np.argsort(merged, kind="stable")
        rows = np.array([_row(receipt) for receipt in receipts], np.uint64)
        self.keys, self.rows = merged[order], np.concatenate([self.rows, rows])[order]


def _keys(receipts: Sequence[Receipt]) -> NDArray[np.uint64]:
    texts = ("\t".join(map(str, receipt.key)) for receipt in receipts)
    return np.array([int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) for text in texts], np.uint64)


def _row(receipt: Receipt) -> int:
    return int(receipt.row_sha256[:16], 16)
