from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from plms_pipeline.errors import BadInput
from plms_pipeline.models.training.linear import fit_linear
from plms_pipeline.models.training.trees import TreesModel, fit_trees

RNG = np.random.default_rng(11)
VALUES = RNG.standard_normal((600, 4)) * [1.0, 10.0, 0.01, 1.0] + [0.0, 5.0, 0.0, 1e3]
TARGET = VALUES @ [0.3, 0.0, 20.0, -0.1] + RNG.standard_normal(600)
NAMES = ("a", "b", "c", "d")


def test_the_ridge_is_scikit_learns() -> None:
    """Arrays that predict something else than the fitted pipeline would be judged as one model and serve as another."""
    peer = make_pipeline(StandardScaler(), Ridge(alpha=10.0)).fit(VALUES, TARGET)
    assert fit_linear(NAMES, VALUES, TARGET).predict(VALUES) == pytest.approx(peer.predict(VALUES), abs=1e-10)


def test_a_warm_start_shrinks_towards_the_model_it_starts_from() -> None:
    """With hardly any data the champion's knowledge must survive; with all of it, it must not matter."""
    champion = fit_linear(NAMES, VALUES, TARGET)
    few, goal = VALUES[:5], -TARGET[:5]
    stubborn = fit_linear(NAMES, few, goal, alpha=1e9, start=champion)
    assert stubborn.slopes() == pytest.approx(champion.slopes(), abs=1e-6)
    free = fit_linear(NAMES, VALUES, TARGET, alpha=1e-9)
    assert fit_linear(NAMES, VALUES, TARGET, alpha=1e-9, start=stubborn).predict(VALUES) == pytest.approx(
        free.predict(VALUES), abs=1e-6
    )
    with pytest.raises(BadInput, match="other features"):
        fit_linear(("a", "b", "c", "x"), VALUES, TARGET, start=champion)


def test_rows_of_weight_zero_teach_nothing() -> None:
    """An annotation that rejects a trade takes it out of the next training."""
    weights = np.where(np.arange(600) < 300, 1.0, 0.0)
    spoilt = np.where(weights > 0, TARGET, 1e6)
    weighted = fit_linear(NAMES, VALUES, spoilt, weights=weights)
    assert weighted.predict(VALUES) == pytest.approx(fit_linear(NAMES, VALUES[:300], TARGET[:300]).predict(VALUES))


def test_a_feature_that_never_varies_is_harmless() -> None:
    """A signal whose feed stands still for a year must not divide by zero."""
    constant = VALUES.copy()
    constant[:, 1] = 3.0
    assert np.isfinite(fit_linear(NAMES, constant, TARGET).predict(constant)).all()


@pytest.mark.live
def test_the_trees_predict_what_scikit_learn_predicts() -> None:
    """The arrays are read from names that scikit-learn keeps private: when it moves them, this must notice."""
    peer = HistGradientBoostingRegressor(
        max_iter=30, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=20, early_stopping=False, random_state=3
    ).fit(VALUES, TARGET)
    ours = fit_trees(NAMES, VALUES, TARGET, iterations=30, leaf_rows=20, seed=3)
    fresh = RNG.standard_normal((500, 4)) * [1.0, 10.0, 0.01, 1.0] + [0.0, 5.0, 0.0, 1e3]
    assert ours.predict(fresh) == pytest.approx(peer.predict(fresh), abs=1e-12)


def test_a_value_on_the_threshold_goes_left() -> None:
    """scikit-learn's rule; the other side is the other half of the tree for every rounded price."""
    stump = TreesModel(
        ("a",), 0.0, np.array([0]), np.array([0, 0, 0]), np.array([2.0, 0.0, 0.0]), np.array([1, 1, 2]), np.array([2, 1, 2]),
        np.array([0.0, -1.0, 1.0]), 1,
    )  # fmt: skip
    assert stump.predict(np.array([[2.0], [np.nextafter(2.0, 3.0)]])).tolist() == [-1.0, 1.0]
