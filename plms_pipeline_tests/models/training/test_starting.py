"""Does a training take over what its parent learnt, and never what that had seen of a test?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.training.experiment import Experiment, branch
from plms_pipeline.models.training.fit import Training, train
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline.models.training.starting import Start, known_to
from plms_pipeline_tests.models.worlds import small_bars, small_experiment, small_training

# So stubborn that whatever starts warm is its parent again.
STUBBORN = small_experiment(model={"kind": "ridge", "alpha": 1e13})
NEVER = np.datetime64("1990-01-01", "us")


def parent(known: np.datetime64, **changes: object) -> Start:
    start = Start("c0", "0" * 64, small_training().candidate, small_experiment(), known)
    return replace(start, **changes)  # type: ignore[arg-type]


def warm(start: Start, asked: Experiment = STUBBORN) -> Training:
    return train(small_bars(), asked, start=start)


def slopes(model: object) -> object:
    assert isinstance(model, LinearModel)
    return model.slopes()


def test_a_fold_that_its_parent_may_have_seen_starts_cold() -> None:
    """What the champion learnt from a test block came back as skill in that very block."""
    cold = train(small_bars(), STUBBORN)
    second = cold.folds[1].test_from
    taught = pytest.approx(small_training().candidate.slopes(), abs=1e-6)  # type: ignore[union-attr]
    for known, warm_folds in (
        (small_bars().timestamp.max(), 0),
        (second, len(cold.folds) - 2),
        (second - np.timedelta64(1, "us"), len(cold.folds) - 1),
        (NEVER, len(cold.folds)),
    ):
        found = warm(parent(known))
        starts_cold = len(cold.folds) - warm_folds
        assert [slopes(one.model) == taught for one in found.folds] == [False] * starts_cold + [True] * warm_folds
        for one, other in zip(found.folds[:starts_cold], cold.folds[:starts_cold], strict=True):
            assert np.array_equal(slopes(one.model), slopes(other.model))  # type: ignore[arg-type]
        # The candidate itself is judged by nothing that is known yet.
        assert slopes(found.candidate) == taught
        assert found.warmth is not None
        assert (found.warmth.warm_folds, found.warmth.cold_folds) == (warm_folds, starts_cold)


def test_an_embargo_keeps_the_parent_away_as_well() -> None:
    """Bars next to a test are alike, whoever learnt from them."""
    asked = small_experiment(model={"kind": "ridge"}, walk_forward={"train": 150, "test": 40, "embargo": 5})
    first = train(small_bars(), asked).folds[0].test_from
    calendar = np.unique(small_bars().timestamp)
    place = int(np.searchsorted(calendar, first))
    folds = [warm(parent(calendar[place - back]), asked).warmth for back in (5, 6)]
    assert folds[0] is not None
    assert folds[1] is not None
    assert (folds[0].cold_folds, folds[1].cold_folds) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": {"kind": "boosting", "iterations": 2}}, "only a ridge"),
        ({"target": {"horizon": 2}}, "another target"),
        ({"data": {"features": list(small_training().candidate.features[:3])}}, "other features"),
    ],
)
def test_weights_that_do_not_fit_are_not_used_and_that_is_said(changes: dict[str, object], why: str) -> None:
    """A boosting that silently began anew was taken for a continued champion."""
    asked = small_experiment(**changes)
    found, cold = warm(parent(NEVER), asked), train(small_bars(), asked)
    assert found.warmth is not None
    assert why in (found.warmth.why_cold or "")
    assert why in found.warmth.sentence
    assert found.warmth.as_document()["weights"] is False
    assert (found.warmth.warm_folds, found.warmth.cold_folds) == (0, len(found.folds))
    assert np.array_equal(found.predictions.score, cold.predictions.score)


def test_what_a_grandparent_saw_is_known_as_well() -> None:
    """Weights carry what they were taught through every branch."""
    own = {"data": {"last": "2020-01-31T00:00:00Z"}}
    assert known_to(own) == np.datetime64("2020-01-31")
    later = {"known_to": "2021-01-31T00:00:00Z"}
    assert known_to({**own, "warm_start": {"weights": True, **later}}) == np.datetime64("2021-01-31")
    assert known_to({**own, "warm_start": {"weights": False, **later}}) == np.datetime64("2020-01-31")
    assert known_to({**own, "warm_start": None}) == np.datetime64("2020-01-31")


def test_a_branch_changes_the_keys_it_names_and_no_others() -> None:
    """A branch that fell back to defaults elsewhere compared two differences at once."""
    base = small_experiment(
        name="base", model={"kind": "boosting", "leaves": 7}, guardrails={"sector_caps": {"a": 0.1}}
    )
    assert branch(base, {}) == base
    found = branch(base, {"seed": 9, "model": {"iterations": 3}, "walk_forward": {"test": 50}})
    assert (found.name, found.seed, found.walk_forward.train, found.walk_forward.test) == ("base", 9, 150, 50)
    assert found.model.model_dump() == {**base.model.model_dump(), "iterations": 3}
    assert branch(base, {"model": {"kind": "ridge"}}).model == small_experiment().model
    assert branch(base, {"guardrails": {"sector_caps": {"b": 0.2}}}).guardrails.sector_caps == {"b": 0.2}
    for wrong in ({"alhpa": 1}, {"model": {"alpha": 1.0}}, {"model": 3}, {"walk_forward": None}):
        with pytest.raises(BadInput, match=r"b\.yaml cannot be used"):
            branch(base, wrong, "b.yaml")
