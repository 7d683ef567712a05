"""How is the default model fitted, and what is it made of?

Standardised features and ridge regression: a mean, a scale and a coefficient per feature and one intercept. The fitted
model is these arrays and nothing else, so that it can be stored without pickle and predicts without scikit-learn. It may
start from another model: then only what that one misses is learnt, and coefficients shrink towards it instead of towards
zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import Floats


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """prediction = intercept + Σ coefficient · (value − mean) / scale."""

    kind: ClassVar[str] = "ridge"
    features: tuple[str, ...]
    mean: Floats
    scale: Floats
    coefficients: Floats
    intercept: float

    def predict(self, values: Floats) -> Floats:
        """Predictions for rows × features, in the order of `features`."""
        return np.asarray((values - self.mean) / self.scale @ self.coefficients + self.intercept)

    def slopes(self) -> Floats:
        """The change of the prediction per unit of each feature."""
        return np.asarray(self.coefficients / self.scale)


def fit_linear(
    features: tuple[str, ...],
    values: Floats,
    target: Floats,
    *,
    alpha: float = 10.0,
    weights: Floats | None = None,
    start: LinearModel | None = None,
) -> LinearModel:
    """Fit StandardScaler + Ridge.

    Args:
        features: names of the columns of `values`.
        values: rows × features, finite.
        target: one per row, finite.
        alpha: strength of the shrinkage, towards zero or towards `start`.
        weights: one per row, above zero on average; equal when omitted.
        start: the model to start from.

    Raises:
        BadInput: `start` knows other features.
    """
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    if start is not None and start.features != features:
        raise BadInput(
            "The model to start from knows other features; train without --from, or with its features "
            f"({', '.join(start.features)}).",
            code="other_features",
        )
    scaler = StandardScaler().fit(values, sample_weight=weights)
    # A feature that never varies is divided by one and teaches nothing.
    scaled = scaler.transform(values)
    goal = target if start is None else target - start.predict(values)
    ridge = Ridge(alpha=alpha).fit(scaled, goal, sample_weight=weights)
    mean, scale = np.asarray(scaler.mean_, dtype=np.float64), np.asarray(scaler.scale_, dtype=np.float64)
    coefficients, intercept = np.asarray(ridge.coef_, dtype=np.float64), float(ridge.intercept_)
    if start is not None:
        coefficients = coefficients + start.slopes() * scale
        intercept += float(start.predict(mean[None, :])[0])
    return LinearModel(features, mean, scale, coefficients, intercept)
