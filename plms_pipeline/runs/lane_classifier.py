"""What have people's corrections taught about the lanes of tasks, and is that enough to go by?

A logistic regression over TF-IDF weights of a task's words, fitted by scikit-learn from the tasks whose lane a person
corrected. It is kept as arrays in a JSON document and applied here with numpy alone: a pickle would run whatever its author
wanted, and whoever creates a project should not wait for scikit-learn to be imported.

It may speak only when it has learnt enough (rows, lanes, and held-out accuracy not below the keywords' on the same tasks) and
is sure of the task at hand: it knows most of its words and gives one lane a clear probability. Accuracy is held out, because
on its own training rows any such model is nearly perfect.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.runs.lanes import Suggest, Suggestion, words_of

Floats = NDArray[np.float64]

VERSION: Final = 1
MIN_ROWS: Final = 20
MIN_PER_LANE: Final = 3
MIN_ACCURACY: Final = 0.6
SURE: Final = 0.6
KNOWN_WORDS: Final = 0.5
MAX_WORDS: Final = 5000
FOLDS: Final = 10


@dataclass(frozen=True, slots=True)
class Correction:
    """One task whose lane a person corrected: its words, the lane, and what the keywords would have said."""

    text: str
    lane_id: int
    keywords: int | None


@dataclass(frozen=True, slots=True, eq=False)
class LaneModel:
    """A fitted model: `weights` (lanes, words) and `bias` (lanes,) on TF-IDF vectors of unit length; `idf` (words,)."""

    lanes: tuple[int, ...]
    words: Mapping[str, int]
    idf: Floats
    weights: Floats
    bias: Floats
    rows: int
    accuracy: float
    keyword_accuracy: float

    @property
    def has_learnt_enough(self) -> bool:
        """Whether it may speak at all."""
        return self.rows >= MIN_ROWS and self.accuracy >= max(MIN_ACCURACY, self.keyword_accuracy)

    def probabilities(self, text: str) -> Floats:
        """The probability of each lane, (lanes,); what the text does not say is left to the bias."""
        counts = Counter(self.words[word] for word in words_of(text) if word in self.words)
        vector = np.zeros(len(self.words))
        for place, count in counts.items():
            vector[place] = count * self.idf[place]
        length = math.sqrt(float(vector @ vector))
        scores = self.weights @ (vector / length if length else vector) + self.bias
        odds = np.exp(scores - scores.max())
        return np.asarray(odds / odds.sum())

    def suggest(self, text: str) -> Suggestion | None:
        """The lane of a task, or None where too little was learnt or the model is not sure."""
        words = words_of(text)
        known = sum(word in self.words for word in words)
        if not self.has_learnt_enough or not words or known < KNOWN_WORDS * len(words):
            return None
        found = self.probabilities(text)
        best = int(found.argmax())
        sure = float(found[best])
        return Suggestion(self.lanes[best], "classifier", round(sure, 6)) if sure >= SURE else None


def suggesting(model: LaneModel) -> Suggest:
    """The model as something that suggests lanes."""
    return model.suggest


def train(corrections: Sequence[Correction]) -> LaneModel | None:
    """Fit the corrections; None while fewer than two lanes have three each, from which nothing can be told apart.

    The same corrections give the same model, in whatever order they come.
    """
    counts = Counter(one.lane_id for one in corrections)
    rows = sorted(
        (one for one in corrections if counts[one.lane_id] >= MIN_PER_LANE and words_of(one.text)),
        key=lambda one: (one.lane_id, one.text, one.keywords or 0),
    )
    if len({one.lane_id for one in rows}) < 2:
        return None
    fitted = _fit(rows)
    return LaneModel(
        **fitted, rows=len(rows), accuracy=_held_out(rows),
        keyword_accuracy=sum(one.keywords == one.lane_id for one in rows) / len(rows),
    )  # fmt: skip


def _held_out(rows: Sequence[Correction]) -> float:
    """Share of rows that a model fitted without them gets right. Rows are sorted by lane, so each fold has every lane."""
    folds = min(FOLDS, len(rows))
    right = 0
    for fold in range(folds):
        kept = [one for place, one in enumerate(rows) if place % folds != fold]
        left_out = [one for place, one in enumerate(rows) if place % folds == fold]
        if len({one.lane_id for one in kept}) < 2:
            continue
        model = LaneModel(**_fit(kept), rows=len(kept), accuracy=1.0, keyword_accuracy=0.0)
        right += sum(model.lanes[int(model.probabilities(one.text).argmax())] == one.lane_id for one in left_out)
    return right / len(rows)


def _fit(rows: Sequence[Correction]) -> dict[str, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(analyzer=words_of, max_features=MAX_WORDS)
    vectors = vectorizer.fit_transform([one.text for one in rows])
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000)
    model.fit(vectors, [one.lane_id for one in rows])
    weights, bias = np.ascontiguousarray(model.coef_, dtype=float), np.asarray(model.intercept_, dtype=float)
    if len(model.classes_) == 2:
        # Of two lanes scikit-learn keeps the score of the second against the first.
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, float(bias[0])])
    return {
        "lanes": tuple(int(lane) for lane in model.classes_),
        "words": {str(word): int(place) for word, place in sorted(vectorizer.vocabulary_.items())},
        "idf": np.asarray(vectorizer.idf_, dtype=float), "weights": weights, "bias": bias,
    }  # fmt: skip


def document_of(model: LaneModel | None, corrections: int) -> dict[str, Any]:
    """The model as a JSON document; without one, how many corrections there are so far."""
    if model is None:
        return {"version": VERSION, "state": "too_little", "corrections": corrections}
    places = sorted(model.words, key=model.words.__getitem__)
    return {
        "version": VERSION, "state": "trained", "corrections": corrections, "rows": model.rows,
        "lanes": list(model.lanes), "words": places, "idf": model.idf.tolist(), "weights": model.weights.tolist(),
        "bias": model.bias.tolist(), "accuracy": model.accuracy, "keyword_accuracy": model.keyword_accuracy,
        "speaks": model.has_learnt_enough,
    }  # fmt: skip


def model_of(document: Any) -> LaneModel | None:
    """The model behind `document_of`; None when the document holds none.

    Raises:
        ValueError: it is no such document, or its arrays do not fit together.
    """
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError("no document of a lane classifier")
    if document.get("state") != "trained":
        return None
    try:
        lanes = tuple(int(lane) for lane in document["lanes"])
        words = {str(word): place for place, word in enumerate(document["words"])}
        arrays = {name: np.asarray(document[name], dtype=float) for name in ("idf", "weights", "bias")}
        figures = [int(document["rows"]), float(document["accuracy"]), float(document["keyword_accuracy"])]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the document of the lane classifier is not whole ({error})") from None
    shapes = (arrays["idf"].shape, arrays["weights"].shape, arrays["bias"].shape)
    sound = all(np.isfinite(array).all() for array in arrays.values())
    if shapes != ((len(words),), (len(lanes), len(words)), (len(lanes),)) or not sound:
        raise ValueError("the arrays of the lane classifier do not fit together")
    return LaneModel(lanes, words, **arrays, rows=int(figures[0]), accuracy=figures[1], keyword_accuracy=figures[2])
