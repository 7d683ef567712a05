"""What corrections teach: the same from the same rows, applied as scikit-learn would, silent until better than keywords."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from plms_pipeline.runs.lane_classifier import Correction, document_of, model_of, suggesting, train
from plms_pipeline.runs.lanes import by_keywords, words_of
from plms_pipeline_tests.runs.test_plan import WORDS

# Tasks in words of a house of its own, of which the keywords know none or the wrong ones.
LEDGER = ["post ledger entry", "close ledger period", "ledger posting rules", "reopen ledger", "ledger entry checks",
          "post entry to ledger", "ledger of period", "period close ledger"]  # fmt: skip
PORTAL = ["portal tile for users", "tile on portal page", "user portal login tile", "portal page layout", "new portal tile",
          "portal tile colours", "layout of portal", "login page portal"]  # fmt: skip
FEEDS = ["nightly feed from supplier", "supplier feed retry", "feed of prices", "price feed supplier", "retry nightly feed",
         "supplier prices", "nightly prices feed", "feed supplier retry"]  # fmt: skip


def corrections() -> list[Correction]:
    rows = [(text, lane) for texts, lane in ((LEDGER, 5102), (PORTAL, 4200), (FEEDS, 5101)) for text in texts]
    guesses = [by_keywords(text, WORDS) for text, _ in rows]
    return [
        Correction(text, lane, guess.lane_id if guess else None)
        for (text, lane), guess in zip(rows, guesses, strict=True)
    ]


def test_it_learns_words_that_no_keyword_knows() -> None:
    """The whole point: a house's own words find their lane after two dozen corrections."""
    model = train(corrections())
    assert model is not None
    assert model.has_learnt_enough
    assert model.accuracy >= 0.8
    assert model.keyword_accuracy == 0.0
    suggest = suggesting(model)
    for text, lane in (("close the ledger", 5102), ("a tile for the portal", 4200), ("prices feed", 5101)):
        found = suggest(text)
        assert found is not None, text
        assert (found.lane_id, found.source) == (lane, "classifier")
        assert found.confidence is not None
        assert found.confidence >= 0.6


def test_it_is_silent_about_words_that_it_does_not_know() -> None:
    """A sure answer about an unknown text is a coin with a straight face."""
    model = train(corrections())
    assert model is not None
    for text in ("", "write unit tests", "ledger migration of legacy database schema tables today", "!!!"):
        assert model.suggest(text) is None


def test_the_order_of_the_corrections_does_not_matter() -> None:
    """A model that differs from night to night cannot be explained."""
    rows = corrections()
    model = train(rows)
    shuffled = list(rows)
    random.Random(7).shuffle(shuffled)
    assert document_of(model, 24) == document_of(train(shuffled), 24)


def test_the_document_is_json_and_gives_the_same_answers_back() -> None:
    """Creating a project reads the document; it must not need scikit-learn, nor ever a pickle."""
    model = train(corrections())
    assert model is not None
    text = json.dumps(document_of(model, 24), allow_nan=False)
    again = model_of(json.loads(text))
    assert again is not None
    for example in (*LEDGER, *PORTAL, "something else entirely"):
        assert np.array_equal(again.probabilities(example), model.probabilities(example))


@pytest.mark.parametrize("lanes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(lanes: int) -> None:
    """Our few lines of numpy stand in for a fitted pipeline: the peer says what they should give."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rows = [one for one in corrections() if one.lane_id in (5102, 4200, 5101)[:lanes]]
    model = train(rows)
    assert model is not None
    rows.sort(key=lambda one: (one.lane_id, one.text))
    vectorizer: Any = TfidfVectorizer(analyzer=words_of)
    peer = LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000)
    peer.fit(vectorizer.fit_transform([one.text for one in rows]), [one.lane_id for one in rows])
    texts = [one.text for one in rows] + ["ledger ledger portal", "feed", "unknown words"]
    expected = peer.predict_proba(vectorizer.transform(texts))
    assert list(model.lanes) == list(peer.classes_)
    assert np.allclose([model.probabilities(text) for text in texts], expected, atol=1e-9)


def test_it_does_not_speak_before_it_has_learnt_enough_or_while_keywords_do_better() -> None:
    """A model of five rows that overrules the keywords makes suggestions worse."""
    assert train([]) is None
    assert train([Correction("a b", 4200, None)] * 5) is None
    few = train([one for one in corrections() if one.text in (*LEDGER[:3], *PORTAL[:3])])
    assert few is not None
    assert not few.has_learnt_enough
    assert few.suggest("close the ledger") is None
    noise = [
        Correction(f"task {number % 4} thing", (4200, 4201)[number % 2], (4200, 4201)[number % 2])
        for number in range(40)
    ]
    random.Random(3).shuffle(noise)
    mixed = [
        Correction(one.text, noise[place - 1].lane_id, noise[place - 1].lane_id) for place, one in enumerate(noise)
    ]
    model = train(mixed)
    assert model is not None
    assert model.keyword_accuracy == 1.0
    assert not model.has_learnt_enough


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"version": 2}, {"version": 1, "state": "trained"},
     {"version": 1, "state": "trained", "lanes": [1, 2], "words": ["a"], "idf": [1.0], "weights": [[1.0]], "bias": [0.0],
      "rows": 1, "accuracy": 1.0, "keyword_accuracy": 0.0},
     {"version": 1, "state": "trained", "lanes": [1], "words": ["a"], "idf": [float("nan")], "weights": [[1.0]],
      "bias": [0.0], "rows": 1, "accuracy": 1.0, "keyword_accuracy": 0.0}],
)  # fmt: skip
def test_a_document_that_is_not_whole_is_refused(document: Any) -> None:
    """Half a model would still answer."""
    with pytest.raises(ValueError, match="lane classifier"):
        model_of(document)


def test_too_few_corrections_are_a_document_without_a_model() -> None:
    """The first nights of every installation."""
    document = document_of(None, 3)
    assert document == {"version": 1, "state": "too_little", "corrections": 3}
    assert model_of(document) is None
