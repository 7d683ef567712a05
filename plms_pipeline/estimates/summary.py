"""What is remembered of one day of receipts of one (lane, provider, measure)?

Enough to fold days in order into the state of any later moment, and little enough that a night reads only what changed:
count, log moments, the exponentially weighted mean as an affine map m → a·m + b, the fading sketch, fading sums and the sums
over neighbours that say how dependent receipts are. Merging is associative, so days may be summarised on many machines and
a late receipt costs one day and one fold. The obvious running state (the last mean and variance) cannot take a late receipt
without starting over, and gives another answer for another order of arrival.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.estimates.method import METHOD, METHOD_VERSION

Floats = NDArray[np.float64]

# Fading sums: 0 weight, 1 Σl, 2 Σl²; over neighbours (l, previous): 3 weight, 4 Σl, 5 Σprevious, 6 Σl·previous.
MOMENTS: Final = 7
_HEADER: Final = struct.Struct("<4sHddqqI")
_FLOATS: Final = 6 + MOMENTS
_MAGIC: Final = b"PLDS"


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """One day, or any run of days. Logs are natural; `positions` are buckets of the measure's grid, ascending."""

    n: int
    n_zero: int
    log_mean: float
    log_m2: float
    first: float
    last: float
    ewma_a: float
    ewma_b: float
    moments: Floats
    positions: NDArray[np.int32]
    weights: Floats

    @property
    def count(self) -> int:
        """All receipts with a known value, those that are 0 among them."""
        return self.n + self.n_zero


def empty() -> Summary:
    """The summary of no receipt: the neutral element of `merge`."""
    nothing = np.zeros(0)
    return Summary(0, 0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, np.zeros(MOMENTS), nothing.astype(np.int32), nothing)


def merge(earlier: Summary, later: Summary, forgetting: float = METHOD.forgetting) -> Summary:
    """Both as one, `earlier` standing wholly before `later`. Associative; `empty()` is neutral.

    Log moments by Chan, Golub and LeVeque's pairwise update. The neighbours at the seam are counted here.
    """
    n = earlier.n + later.n
    fade = forgetting**later.n
    moments = earlier.moments * fade + later.moments
    if earlier.n and later.n:
        seam = forgetting ** (later.n - 1)
        moments[3:] += seam * np.array([1.0, later.first, earlier.last, later.first * earlier.last])
    delta = later.log_mean - earlier.log_mean
    positions = np.concatenate([earlier.positions, later.positions])
    joined, where = np.unique(positions, return_inverse=True)
    weights = np.bincount(where, np.concatenate([earlier.weights * fade, later.weights]), joined.size)
    return Summary(
        n=n,
        n_zero=earlier.n_zero + later.n_zero,
        log_mean=earlier.log_mean + delta * later.n / n if n else 0.0,
        log_m2=earlier.log_m2 + later.log_m2 + (delta * delta * earlier.n * later.n / n if n else 0.0),
        first=earlier.first if earlier.n else later.first,
        last=later.last if later.n else earlier.last,
        ewma_a=earlier.ewma_a * later.ewma_a,
        ewma_b=earlier.ewma_b * later.ewma_a + later.ewma_b,
        moments=moments,
        positions=joined.astype(np.int32),
        weights=np.asarray(weights, dtype=np.float64),
    )


def merge_all(summaries: Sequence[Summary], forgetting: float = METHOD.forgetting) -> Summary:
    """Many summaries in order as one: what `merge` gives pair by pair, at the price of one pass.

    Years of days are thousands of merges per (lane, provider), and each pairwise one sorts the buckets again.
    """
    parts = [summary for summary in summaries if summary.count]
    if not parts:
        return empty()
    counts = np.asarray([part.n for part in parts])
    n = int(counts.sum())
    # What each part has faded by: the receipts in all later parts.
    fades = forgetting ** (n - np.cumsum(counts)).astype(np.float64)
    moments = (np.asarray([part.moments for part in parts]) * fades[:, None]).sum(axis=0)
    known = [(part, fade) for part, fade in zip(parts, fades, strict=True) if part.n]
    for (earlier, _), (later, fade) in pairwise(known):
        seam = fade * forgetting ** (later.n - 1)
        moments[3:] += seam * np.array([1.0, later.first, earlier.last, later.first * earlier.last])
    means = np.asarray([part.log_mean for part in parts])
    mean = float(counts @ means / n) if n else 0.0
    a_later = np.append(np.cumprod([part.ewma_a for part in reversed(parts)])[::-1], 1.0)
    weights = np.concatenate([part.weights * fade for part, fade in zip(parts, fades, strict=True)])
    positions = np.concatenate([part.positions for part in parts])
    dense = np.bincount(positions, weights) if positions.size else np.zeros(0)
    joined = np.flatnonzero(np.bincount(positions)) if positions.size else positions
    return Summary(
        n=n,
        n_zero=sum(part.n_zero for part in parts),
        log_mean=mean,
        log_m2=float(sum(part.log_m2 for part in parts) + counts @ (means - mean) ** 2),
        first=known[0][0].first if known else 0.0,
        last=known[-1][0].last if known else 0.0,
        ewma_a=float(a_later[0]),
        ewma_b=float(np.asarray([part.ewma_b for part in parts]) @ a_later[1:]),
        moments=moments,
        positions=joined.astype(np.int32),
        weights=np.asarray(dense[joined], dtype=np.float64),
    )


def encode(summary: Summary, *, alpha: float, forgetting: float = METHOD.forgetting) -> bytes:
    """A summary as bytes: equal summaries give equal bytes. They name the method, so that an older one is not read."""
    scalars = [
        summary.log_mean, summary.log_m2, summary.first, summary.last, summary.ewma_a, summary.ewma_b, *summary.moments,
    ]  # fmt: skip
    return b"".join([
        _HEADER.pack(_MAGIC, METHOD_VERSION, alpha, forgetting, summary.n, summary.n_zero, summary.positions.size),
        np.asarray(scalars, dtype="<f8").tobytes(),
        summary.positions.astype("<i4").tobytes(),
        summary.weights.astype("<f8").tobytes(),
    ])  # fmt: skip


def decode(data: bytes) -> Summary:
    """The summary behind `encode`.

    Raises:
        ValueError: the bytes are no summary.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise ValueError("These bytes are no day summary.")
    _, _, _, _, n, n_zero, buckets = _HEADER.unpack_from(data)
    if len(data) != _HEADER.size + 8 * _FLOATS + 12 * buckets:
        raise ValueError("This day summary is cut short.")
    scalars = np.frombuffer(data, "<f8", _FLOATS, _HEADER.size).astype(np.float64)
    start = _HEADER.size + 8 * _FLOATS
    positions = np.frombuffer(data, "<i4", buckets, start).astype(np.int32)
    weights = np.frombuffer(data, "<f8", buckets, start + 4 * buckets).astype(np.float64)
    log_mean, log_m2, first, last, ewma_a, ewma_b = (float(value) for value in scalars[:6])
    return Summary(n, n_zero, log_mean, log_m2, first, last, ewma_a, ewma_b, scalars[6:], positions, weights)


def is_current(data: bytes, *, alpha: float, forgetting: float = METHOD.forgetting) -> bool:
    """Whether stored bytes were made by this method with these constants; otherwise the day is summarised again."""
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        return False
    _, version, stored_alpha, stored_forgetting, *_ = _HEADER.unpack_from(data)
    return bool((version, stored_alpha, stored_forgetting) == (METHOD_VERSION, alpha, forgetting))


def digest(data: bytes) -> str:
    """SHA-256 of an encoded summary, hexadecimal."""
    return hashlib.sha256(data).hexdigest()
