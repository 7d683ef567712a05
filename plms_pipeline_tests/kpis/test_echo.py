"""Cosines that we compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cosine as scipy_distance

from plms_pipeline.kpis.echo import cosine, embed, measure_texts, measure_vectors, projection

VECTORS = arrays(np.float64, 8, elements=st.floats(-1e3, 1e3, allow_subnormal=False)).filter(
    lambda v: np.abs(v).max() > 1e-3
)
GUIDE = "The loader reads each file once, checks every row against its rules, and keeps what is broken with the reason."


@given(VECTORS, VECTORS)
def test_agrees_with_scipy(first: np.ndarray, second: np.ndarray) -> None:
    """An independent implementation."""
    assert cosine(first, second) == pytest.approx(1 - scipy_distance(first, second), abs=1e-9)


@given(VECTORS, VECTORS, st.floats(1e-6, 1e6))
def test_does_not_depend_on_length_or_order(first: np.ndarray, second: np.ndarray, scale: float) -> None:
    """Only the direction counts."""
    assert cosine(first * scale, second) == pytest.approx(cosine(second, first), abs=1e-9)
    assert cosine(first, first) == pytest.approx(1.0)
    assert -1.0 <= cosine(first, second) <= 1.0


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_tiny_and_huge_entries_neither_vanish_nor_overflow(size: float) -> None:
    """The naive formula gives 0/0 or infinity here, and NaN would have to fail."""
    vector = np.array([1.0, 2.0, 3.0])
    assert cosine(vector * size, vector) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (np.zeros(3), np.ones(3), "all zero"),
        (np.array([1.0, np.nan]), np.ones(2), "NaN"),
        (np.array([1.0, np.inf]), np.ones(2), "NaN or an infinity"),
        (np.ones(3), np.ones(4), "equal length"),
        (np.ones((2, 2)), np.ones((2, 2)), "equal length"),
        (np.array([1.0]), np.array([1.0]), "equal length"),
        (np.array(["a", "b"]), np.array(["a", "b"]), "real numbers"),
        (np.array([1 + 2j, 1]), np.array([1 + 2j, 1]), "real numbers"),
        (np.array([True, False]), np.array([True, False]), "real numbers"),
    ],
)
def test_vectors_without_a_cosine_say_why(first: np.ndarray, second: np.ndarray, reason: str) -> None:
    """A number of ours where there is none would pass or fail for no reason."""
    found = measure_vectors(first, second)
    assert found.value is None
    assert reason in str(found.reason)


def test_equal_texts_have_cosine_one_and_unrelated_ones_little() -> None:
    """The gate stands at 0.82."""
    other = "Bananas grow well where summers are long, wet and hot, but frost kills the young plants overnight."
    assert measure_texts(GUIDE, GUIDE).value == pytest.approx(1.0)
    assert float(measure_texts(GUIDE, other).value or 0) < 0.4


def test_a_small_change_keeps_the_echo_and_a_large_one_loses_it() -> None:
    """Monotone in what was lost."""
    small = GUIDE.replace("keeps", "stores")
    half = GUIDE[: len(GUIDE) // 2]
    values = [float(measure_texts(GUIDE, text).value or 0) for text in (GUIDE, small, half)]
    assert values == sorted(values, reverse=True)
    assert values[1] > 0.82 > values[2]


def test_the_embedding_is_the_same_on_every_machine() -> None:
    """Nothing is fitted: a text's vector must not depend on its neighbours, the day or the library's random stream."""
    together, alone = embed([GUIDE, "something else"]), embed([GUIDE])
    assert np.array_equal(together[0], alone[0])
    assert together.shape == (2, 768)
    signs = np.sign(projection(4, 8)).astype(int).tolist()
    assert signs == [[_sign(row * 8 + column) for column in range(8)] for row in range(4)]


def _sign(index: int) -> int:
    """splitmix64 (Steele, Lea and Flood, 2014) in plain integers."""
    mask = 2**64 - 1
    z = (index + 1) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return 1 if (z ^ (z >> 31)) >> 63 else -1


def test_the_projection_keeps_cosines() -> None:
    """Johnson and Lindenstrauss: 768 dimensions are enough for our texts to a few hundredths."""
    generator = np.random.default_rng(5)
    first = generator.random((20, 512)) * (generator.random((20, 512)) < 0.1)
    matrix = projection(512, 768)
    before = np.array([cosine(first[i], first[i + 1]) for i in range(19)])
    after = np.array([cosine(first[i] @ matrix, first[i + 1] @ matrix) for i in range(19)])
    assert np.abs(before - after).max() < 0.12


@pytest.mark.parametrize(("source", "echo"), [("", "a"), ("a", " "), ("!!", "??")])
def test_empty_texts_have_no_echo(source: str, echo: str) -> None:
    """Two empty texts are not a perfect echo."""
    found = measure_texts(source, echo)
    assert found.value is None or abs(float(found.value)) < 0.5
