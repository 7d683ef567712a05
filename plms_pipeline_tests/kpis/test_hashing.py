"""Are the pieces of a text counted as scikit-learn counts them?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plms_pipeline.kpis.hashing import hashed, murmur3, pieces, words_and_pairs

SIZE = 2048
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.lists(
    st.sampled_from(["a", "as", "to be", "The", "naïve", "été", "x1", "\u2003", "\n", "don't", "日本語", "İ"]),
    max_size=12,
).map(" ".join)


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"", 0), (b"hello", 0x248BFA47), (b"hello, world", 0x149BBB7F),
     (b"The quick brown fox jumps over the lazy dog", 0x2E4FF723)],
)  # fmt: skip
def test_a_hash_is_the_published_one(data: bytes, value: int) -> None:
    """Another place for one piece moves every cosine that was ever measured."""
    assert murmur3(data) == value


@pytest.mark.live
@settings(deadline=None)
@given(st.binary(max_size=40))
@example(b"\xff\xff\xff\xff\xff")
def test_a_hash_is_that_of_scikit_learn(data: bytes) -> None:
    """Whatever the bytes and their number."""
    from sklearn.utils import murmurhash3_32

    assert murmur3(data) == murmurhash3_32(data, seed=0, positive=True)


@pytest.mark.live
@settings(max_examples=60, deadline=None)
@given(TEXTS)
@example("")
@example("to be or not to be, that is the question")
def test_the_pieces_of_a_text_are_those_of_scikit_learn(text: str) -> None:
    """An echo that was measured before an upgrade and one after it must be of one measure."""
    from sklearn.feature_extraction.text import HashingVectorizer

    shape = {"n_features": SIZE, "norm": "l2", "alternate_sign": False}
    words = HashingVectorizer(ngram_range=(1, 2), **shape).transform([text])
    grams = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **shape).transform([text])
    np.testing.assert_allclose(hashed(words_and_pairs(text), SIZE), words.toarray()[0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(hashed(pieces(text), SIZE), grams.toarray()[0], rtol=0, atol=1e-15)
