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


def _bits(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")


@dataclass(slots=True)
class Seen:
    """Digests of the keys met so far, sorted, with the digests of their rows."""

    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    rows: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def take(self, receipts: Sequence[Receipt]) -> Settled:
        """Sort rows with distinct keys into fresh, unchanged and conflicting, and remember the fresh ones."""
        settled = Settled()
        keys = np.array([_bits("\t".join(map(str, r.key)).encode()) for r in receipts], np.uint64)
        rows = np.array([int(r.row_sha256[:16], 16) for r in receipts], np.uint64)
        places = np.searchsorted(self.keys, keys)
        for i, (receipt, place) in enumerate(zip(receipts, places, strict=True)):
            if place < len(self.keys) and self.keys[place] == keys[i]:
                if self.rows[place] == rows[i]:
                    settled.unchanged += 1
                else:
                    shown = receipt.natural_key
                    settled.conflicts.append(
                        rejected(receipt.line, "", shown, Reason.CONFLICT, "an earlier line of this file differs")
                    )
            else:
                settled.fresh.append(receipt)
        self._remember(keys, rows)
        return settled

    def _remember(self, keys: NDArray[np.uint64], rows: NDArray[np.uint64]) -> None:
        fresh = ~np.isin(keys, self.keys)
        merged = np.concatenate([self.keys, keys[fresh]])
        order = np.argsort(merged, kind="stable")
        self.keys, self.rows = merged[order], np.concatenate([self.rows, rows[fresh]])[order]
