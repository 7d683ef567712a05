"""Do the stages around a training start from what they say, and count as what they are?"""

from __future__ import annotations

import numpy as np
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.training.files import model_sha256
from plms_pipeline.models.training.fit import Training, parent_of
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline.models.training.successive import Succession, Trained, preset_challenger, trained_in_turn
from plms_pipeline_tests.models.worlds import small_bars, small_experiment, small_training

STUBBORN = small_experiment(model={"kind": "ridge", "alpha": 1e13})
LONGER = small_experiment(name="longer", walk_forward={"train": 200, "test": 40})


def run(asked: Succession, told: list[tuple[str, str]] | None = None) -> Trained:
    heard = told if told is not None else []
    return trained_in_turn(
        small_bars(), asked, weigh=lambda _: None, digest=model_sha256,
        told=lambda stage, what: heard.append((stage, what)),
    )  # fmt: skip


def slopes(found: Training | None) -> np.ndarray:
    assert found is not None
    assert isinstance(found.candidate, LinearModel)
    return found.candidate.slopes()


def test_a_training_starts_from_its_pretraining_and_no_fold_from_one_that_saw_its_test() -> None:
    """The source trained for hours what the training then never looked at."""
    told: list[tuple[str, str]] = []
    found = run(Succession(STUBBORN, pretraining=LONGER), told)
    assert slopes(found.training) == pytest.approx(slopes(found.pretraining), abs=1e-6)
    assert found.pretraining is not None
    for fold in found.training.folds:
        fitting = [one for one in found.pretraining.folds if one.known_to < fold.test_from]
        assert fold.start is None if not fitting else fold.start is not None and fold.start.fold == len(fitting) - 1
    # The longer windows begin later: the first folds have nothing to start from, and that is said.
    assert found.training.folds[0].start is None
    assert tuple(stage for stage, _ in told)[1:3] == ("training", "start")
    assert "start cold" in told[2][1]


@pytest.mark.parametrize(
    ("warm_start", "parent"), [("training", "training"), ("pretraining", "pretraining"), ("none", "")]
)
def test_a_challenger_starts_from_what_was_asked_for(warm_start: str, parent: str) -> None:
    """`--warm-start` that did nothing would be believed."""
    asked = Succession(
        small_experiment(), LONGER if warm_start == "pretraining" else None, STUBBORN, warm_start,  # type: ignore[arg-type]
    )  # fmt: skip
    found = run(asked)
    assert found.challenger is not None
    if not parent:
        assert found.challenger.warmth is None
        assert slopes(found.challenger) == pytest.approx(np.zeros(slopes(found.challenger).size), abs=1e-6)
    else:
        assert slopes(found.challenger) == pytest.approx(slopes(getattr(found, parent)), abs=1e-6)
        assert found.challenger.warmth is not None
        assert found.challenger.warmth.candidate_id == parent


def test_without_warm_starts_a_champion_lends_its_experiment_alone() -> None:
    """`--from champion --warm-start none` took the weights over all the same."""
    start = parent_of(small_training(), small_experiment(), name="c1", sha256="0" * 64)
    cold = run(Succession(STUBBORN, warm_start="none", start=start))
    assert cold.training.warmth is None
    assert cold.tried == run(Succession(STUBBORN)).tried
    warm = run(Succession(STUBBORN, start=start))
    assert slopes(warm.training) == pytest.approx(slopes(small_training()), abs=1e-6)
    # And a pretraining stands between them.
    chain = run(Succession(STUBBORN, pretraining=LONGER, start=start))
    assert chain.pretraining is not None
    assert chain.pretraining.warmth is not None
    assert chain.pretraining.warmth.candidate_id == "c1"
    assert chain.training.warmth is not None
    assert chain.training.warmth.candidate_id == "pretraining"


def test_every_stage_is_a_try() -> None:
    """Whoever looks at three walk-forwards and keeps the best one has thrown the dice three times."""
    found = run(Succession(small_experiment(), LONGER, small_experiment(model={"kind": "boosting", "iterations": 2})))
    assert len({one.recipe for one in found.tried}) == 3
    assert found.tried[1].experiment == small_experiment().digest()
    # Warm weights make it another try than the same experiment from cold.
    assert found.tried[1] not in run(Succession(small_experiment())).tried


def test_the_preset_challenger_is_the_other_kind_on_the_same_walk_forward() -> None:
    """A challenger that is judged on other time is no challenger."""
    asked = small_experiment(name="n" * 64)
    other = preset_challenger(asked)
    assert (other.model.kind, other.plan) == ("boosting", asked.plan)
    assert preset_challenger(small_experiment(model={"kind": "boosting"})).model.kind == "ridge"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"warm_start": "pretraining"}, "nothing_to_start_from"),
        ({"pretraining": LONGER, "warm_start": "none"}, "pretraining_does_not_fit"),
        ({"pretraining": small_experiment(target={"horizon": 2})}, "pretraining_does_not_fit"),
        ({"pretraining": small_experiment(model={"kind": "boosting"})}, "pretraining_does_not_fit"),
        ({"pretraining": small_experiment(data={"features": ["rsi_14"]})}, "pretraining_does_not_fit"),
        ({"challenger": LONGER}, "other_walk_forward"),
        ({"challenger": small_experiment(data={"symbols": ["SIM000"]})}, "other_walk_forward"),
    ],
)
def test_stages_that_do_not_fit_together_are_refused_before_anything_is_trained(
    given: dict[str, object], code: str
) -> None:
    """After an hour of pretraining it was found that its weights fit nothing."""
    with pytest.raises(BadInput) as refused:
        Succession(small_experiment(), **given)  # type: ignore[arg-type]
    assert refused.value.code == code


def test_a_boosting_refuses_a_pretraining() -> None:
    """It would train both, and use one."""
    with pytest.raises(BadInput, match="boosting cannot start"):
        both = small_experiment(model={"kind": "boosting"})
        Succession(both, pretraining=both)
