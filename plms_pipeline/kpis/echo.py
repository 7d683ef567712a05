"""Did the meaning come back whole?

A text is encoded, decoded and encoded again; the cosine of the first and the last vector tells what was lost. We compute it
from two vectors (`echo_vectors.npz`) or from two texts with our own embedding, and never read a cosine, nor a threshold,
that the artifact states: in the original a task could lower its own bar to 0.1.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plms_pipeline.kpis.measurement import Measurement, unmeasured

HASHED: Final = 4096
DIMENSIONS: Final = 768

Vector = npt.NDArray[np.float64]


def cosine(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """The cosine of two vectors of equal length, in [-1, 1]; scaled first, so that tiny and huge entries are safe.

    Raises:
        ValueError: another shape than one dimension each of equal length ≥ 2, not real numbers, not finite, or all zero.
    """
    if first.ndim != 1 or first.shape != second.shape or first.size < 2:
        raise ValueError(f"two vectors of equal length are needed, not shapes {first.shape} and {second.shape}")
    if first.dtype.kind not in "fiu" or second.dtype.kind not in "fiu":
        raise ValueError(f"the vectors must hold real numbers, not {first.dtype} and {second.dtype}")
    scaled = []
    for vector in (first.astype(np.float64), second.astype(np.float64)):
        if not np.isfinite(vector).all():
            raise ValueError("a vector holds NaN or an infinity")
        largest = float(np.abs(vector).max())
        if largest == 0.0:
            raise ValueError("a vector is all zero and has no direction")
        unit = vector / largest
        scaled.append(unit / np.sqrt(unit @ unit))
    return float(np.clip(scaled[0] @ scaled[1], -1.0, 1.0))


def measure_vectors(source: npt.NDArray[Any], echo: npt.NDArray[Any]) -> Measurement:
    """The cosine of two given vectors as a measurement."""
    try:
        value = cosine(source, echo)
    except ValueError as error:
        return unmeasured(f"echo_vectors.npz: {error}")
    return Measurement(round(value, 4), log=f"cosine of two vectors of {source.size} numbers\n")


def measure_texts(source: str, echo: str) -> Measurement:
    """The cosine of the embeddings of two texts as a measurement."""
    for name, text in (("source", source), ("echo", echo)):
        if not text.strip():
            return unmeasured(f"the {name} text is empty")
    first, second = embed([source, echo])
    try:
        value = cosine(first, second)
    except ValueError as error:
        return unmeasured(f"the echo texts hold nothing that can be embedded: {error}")
    return Measurement(round(value, 4), log=f"cosine of two texts embedded in {DIMENSIONS} dimensions\n")


def embed(texts: list[str]) -> npt.NDArray[np.float64]:
    """One row of 768 numbers per text: hashed word and character n-grams under a fixed random projection.

    Hashing needs no vocabulary (Weinberger et al., ICML 2009), the ±1 projection keeps cosines (Achlioptas, 2003): both
    are constants, so nothing is downloaded or fitted and equal texts have equal vectors on every machine. It sees words
    and spelling, not paraphrase.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    half = HASHED // 2
    words = HashingVectorizer(n_features=half, ngram_range=(1, 2), norm="l2", alternate_sign=False)
    grams = HashingVectorizer(n_features=half, analyzer="char_wb", ngram_range=(3, 5), norm="l2", alternate_sign=False)
    hashed = hstack([words.transform(texts), grams.transform(texts)]).tocsr()
    rows: npt.NDArray[np.float64] = np.asarray(hashed @ projection(HASHED, DIMENSIONS), dtype=np.float64)
    return rows


def projection(rows: int, columns: int) -> npt.NDArray[np.float64]:
    """A fixed matrix of ±1/sqrt(columns): the top bit of splitmix64 of the entry's number, not of any library's stream."""
    with np.errstate(over="ignore"):
        z = np.arange(1, rows * columns + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits = (z ^ (z >> np.uint64(31))) >> np.uint64(63)
    signs: npt.NDArray[np.float64] = (bits.astype(np.float64) * 2.0 - 1.0) / np.sqrt(columns)
    return signs.reshape(rows, columns)
