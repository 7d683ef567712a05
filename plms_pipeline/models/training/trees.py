"""How is the challenger fitted, and what is it made of?

Histogram gradient boosting of scikit-learn, unrolled into arrays: for each node the feature, the threshold, the two
children and the value. So it is stored like the ridge, without pickle, and predicts by walking arrays; a test holds the
walk equal to scikit-learn's own. On planted signals the boosting found less than the ridge at ten times the cost: it is
there to be beaten, not to be the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from plms_pipeline.models.market.bars import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class TreesModel:
    """prediction = baseline + Σ over trees of the value of the leaf that a row reaches.

    Nodes of all trees lie in one sequence; `roots` are the places of the trees. A row goes to `left` when its value is at
    most the threshold, else to `right`; a leaf points to itself on both sides.
    """

    kind: ClassVar[str] = "boosting"
    features: tuple[str, ...]
    baseline: float
    roots: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    depth: int

    def predict(self, values: Floats) -> Floats:
        """Predictions for rows × features (finite), in the order of `features`."""
        total = np.full(values.shape[0], self.baseline)
        rows = np.arange(values.shape[0])
        for root in self.roots.tolist():
            place = np.full(values.shape[0], root, dtype=np.int64)
            for _ in range(self.depth):
                goes_left = values[rows, self.feature[place]] <= self.threshold[place]
                place = np.where(goes_left, self.left[place], self.right[place])
            total += self.value[place]
        return total


def fit_trees(
    features: tuple[str, ...],
    values: Floats,
    target: Floats,
    *,
    iterations: int = 100,
    learning_rate: float = 0.05,
    leaves: int = 15,
    leaf_rows: int = 100,
    seed: int = 0,
    weights: Floats | None = None,
) -> TreesModel:
    """Fit HistGradientBoostingRegressor without early stopping (its validation rows would be drawn at random in time).

    Args:
        features: names of the columns of `values`.
        values: rows × features, finite.
        target: one per row, finite.
        iterations: trees.
        learning_rate: shrinkage of each tree.
        leaves: at most, per tree.
        leaf_rows: at least, per leaf.
        seed: of the binning's sample.
        weights: one per row; equal when omitted.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    fitted: Any = HistGradientBoostingRegressor(
        max_iter=iterations,
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        min_samples_leaf=leaf_rows,
        early_stopping=False,
        random_state=seed,
    ).fit(values, target, sample_weight=weights)
    # scikit-learn has no public view of its trees; the test compares predictions, so a change there is noticed.
    trees = [stage[0].nodes for stage in fitted._predictors]
    sizes = np.array([tree.size for tree in trees], dtype=np.int64)
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    nodes = np.concatenate(trees)
    offset, own = np.repeat(roots, sizes), np.arange(nodes.size)
    is_leaf = nodes["is_leaf"].astype(bool)
    return TreesModel(
        features,
        float(np.ravel(fitted._baseline_prediction)[0]),
        roots,
        np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int64),
        np.where(is_leaf, 0.0, nodes["num_threshold"]).astype(np.float64),
        np.where(is_leaf, own, nodes["left"].astype(np.int64) + offset),
        np.where(is_leaf, own, nodes["right"].astype(np.int64) + offset),
        np.where(is_leaf, nodes["value"], 0.0).astype(np.float64),
        int(nodes["depth"].max()),
    )
