"""Which entries of a vector of fixed length stand for the pieces of a text?

Words, pairs of words and pieces of three to five characters, each counted at the place that its hash says (Weinberger et al.,
ICML 2009), as scikit-learn's HashingVectorizer does it with `alternate_sign=False`, to the last count. Importing that takes a
process that settles longer than all its other imports, for these few lines.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

_WORD: Final = re.compile(r"\b\w\w+\b")
_PIECES: Final = (3, 4, 5)
_MASK: Final = 0xFFFFFFFF
_MOST_NEGATIVE: Final = 1 << 31


def words_and_pairs(text: str) -> Counter[str]:
    """Words of two characters or more, in small letters, and each two that follow each other."""
    words = _WORD.findall(text.lower())
    pairs = (f"{first} {second}" for first, second in pairwise(words))
    return Counter(words) + Counter(pairs)


def pieces(text: str) -> Counter[str]:
    """Three to five characters in a row, in small letters, inside words between spaces; a shorter word counts once."""
    counts: Counter[str] = Counter()
    for word, times in Counter(text.lower().split()).items():
        padded = f" {word} "
        for length in _PIECES:
            for at in range(max(1, len(padded) - length + 1)):
                counts[padded[at : at + length]] += times
            if len(padded) <= length:
                break
    return counts


def hashed(counts: Counter[str], size: int) -> npt.NDArray[np.float64]:
    """A vector of length 1 (of zeros where nothing was counted), (size,)."""
    vector = np.zeros(size)
    for piece, times in counts.items():
        value = murmur3(piece.encode("utf-8", "surrogatepass"))
        # The absolute value of the hash read as a signed number; the most negative one has none in 32 bits.
        place = (_MASK >> 1) - (size - 1) if value == _MOST_NEGATIVE else min(value, _MASK + 1 - value)
        vector[place % size] += times
    length = np.sqrt(vector @ vector)
    return vector / length if length else vector


def murmur3(data: bytes) -> int:
    """MurmurHash3 for 32 bits with seed 0 (Appleby, 2011), in [0, 2³²)."""
    state, whole = 0, len(data) // 4 * 4
    for at in range(0, whole, 4):
        state ^= _mixed(int.from_bytes(data[at : at + 4], "little"))
        state = (_rotated(state, 13) * 5 + 0xE6546B64) & _MASK
    if whole < len(data):
        state ^= _mixed(int.from_bytes(data[whole:], "little"))
    state ^= len(data)
    state = ((state ^ state >> 16) * 0x85EBCA6B) & _MASK
    state = ((state ^ state >> 13) * 0xC2B2AE35) & _MASK
    return state ^ state >> 16


def _mixed(block: int) -> int:
    return (_rotated((block * 0xCC9E2D51) & _MASK, 15) * 0x1B873593) & _MASK


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK
