"""Is no fold judged with what people said only afterwards?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.annotations.hearing import Heard
from plms_pipeline.models.annotations.rules import Annotation
from plms_pipeline.models.training.fit import Training, train
from plms_pipeline.models.training.starting import known_to
from plms_pipeline.models.training.weighing import Weighed
from plms_pipeline_tests.models.worlds import small_bars, small_experiment, small_training

WEIGHING = small_experiment(annotations={"weights": {"reject": 0.0}})


def moment(instant: np.datetime64) -> datetime:
    return instant.astype("datetime64[us]").item().replace(tzinfo=UTC)  # type: ignore[no-any-return]


def trained(said_at: datetime) -> tuple[Training, Heard]:
    """The small training, with every bar of the first symbol rejected at a moment."""
    bars = small_bars()
    first, last = moment(bars.timestamp.min()), moment(bars.timestamp.max())
    word = Annotation(1, 1, bars.symbols[0], first, "reject", "r", None, (), "a", said_at, None, first, last)
    heard = Heard(bars, WEIGHING, [word])
    return train(bars, WEIGHING, weights=heard.weighing), heard


def same(one: Training, other: Training) -> list[bool]:
    """Of each fold, whether both predicted the same in it."""
    ours, theirs = one.predictions, other.predictions
    return [
        bool(np.array_equal(ours.score[ours.split == fold.split.number], theirs.score[theirs.split == fold.split.number]))
        for fold in one.folds
    ]  # fmt: skip


def test_what_was_said_after_all_bars_teaches_the_candidate_and_no_fold() -> None:
    """Somebody rejects in 2026 the trades of 2020 that lost: a fold of 2020 to 2021 then looks as if it had known."""
    deaf = small_training()
    found, heard = trained(moment(small_bars().timestamp.max()) + timedelta(days=1))
    assert all(same(found, deaf))
    assert np.array_equal(found.predictions.realised_return, deaf.predictions.realised_return)
    probe = np.ones((1, 14))
    assert found.candidate.predict(probe) != pytest.approx(deaf.candidate.predict(probe))
    assert heard.document is not None
    assert heard.document["in_folds"] == [0] * len(found.folds)
    assert "the gates judge without them" in heard.sentence


def test_a_fold_hears_what_had_been_said_before_its_test_began() -> None:
    """A word counts from the moment on at which it was said, and not a bar earlier."""
    deaf = small_training()
    begins = deaf.folds[2].test_from
    for shift, silent in ((0, 3), (-1, 2)):
        found, heard = trained(moment(begins) + timedelta(microseconds=shift))
        assert same(found, deaf) == [True] * silent + [False] * (len(deaf.folds) - silent)
        assert heard.document is not None
        assert heard.document["in_folds"] == [0] * silent + [1] * (len(deaf.folds) - silent)


def test_a_child_of_weights_that_heard_later_words_does_not_start_a_fold_from_them() -> None:
    """What was said in 2026 came into a fold of 2021 through the weights that the fold started from."""
    said_at = moment(small_bars().timestamp.max()) + timedelta(days=100)
    found, heard = trained(said_at)
    said = np.datetime64(said_at.replace(tzinfo=None), "us")
    assert found.known_to == said
    assert all(fold.known_to < fold.test_from for fold in found.folds)
    own = {"data": {"last": "2020-01-31T00:00:00Z"}, "created_at": "2026-03-01T12:00:00+00:00"}
    assert known_to({**own, "annotations": heard.document}) >= said
    # One that does not say when: nothing that was said after it.
    assert known_to({**own, "annotations": {"annotations": 2}}) == np.datetime64("2026-03-01T12:00:00.999999")
    assert known_to({**own, "annotations": {"annotations": 0}}) == np.datetime64("2020-01-31T00:00:00.999999")


def test_weights_that_do_not_fit_are_refused_whenever_they_are_told() -> None:
    """A weight too few shifts every word to its neighbour's bar."""
    with pytest.raises(BadInput, match="as many weights"):
        train(small_bars(), small_experiment(), weights=lambda _: Weighed(np.ones(3)))
