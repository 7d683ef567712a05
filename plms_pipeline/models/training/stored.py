"""What of a model is kept, and what is believed when it comes back?

A document of plain values and named arrays of numbers: nothing that could run. A pickle would run whatever its author
wanted, on the machine that serves. What comes back is checked once more although its digest was right: an array of the wrong
length or a tree whose child lies outside of it would answer nonsense or never.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.errors import BadInput
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline.models.training.trees import TreesModel

Model: TypeAlias = LinearModel | TreesModel
Arrays: TypeAlias = Mapping[str, NDArray[Any]]

FORMAT: Final = 1
LONGEST_TREE: Final = 64
_LINEAR: Final = {"mean": "<f8", "scale": "<f8", "coefficients": "<f8"}
_TREES: Final = {"roots": "<i8", "feature": "<i8", "threshold": "<f8", "left": "<i8", "right": "<i8", "value": "<f8"}


def parts(model: Model) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The document and the arrays (little-endian) that make the model."""
    shapes = _LINEAR if isinstance(model, LinearModel) else _TREES
    document: dict[str, Any] = {"format": FORMAT, "kind": model.kind, "features": list(model.features)}
    if isinstance(model, LinearModel):
        document["intercept"] = model.intercept
    else:
        document |= {"baseline": model.baseline, "depth": model.depth}
    return document, {name: np.asarray(getattr(model, name)).astype(kind) for name, kind in shapes.items()}


def model_of(document: Mapping[str, Any], arrays: Arrays) -> Model:
    """The model that `parts` took apart.

    Raises:
        BadInput: something is missing, has the wrong shape or type, or is not a number.
    """
    try:
        if document["format"] != FORMAT:
            raise _broken(f"format {document['format']!r} is not {FORMAT}")
        features = tuple(document["features"])
        if not features or not all(isinstance(name, str) for name in features):
            raise _broken("it names no features")
        if document["kind"] == LinearModel.kind:
            return _linear(features, float(document["intercept"]), _checked(arrays, _LINEAR))
        if document["kind"] == TreesModel.kind:
            found = _checked(arrays, _TREES)
            return _trees(features, float(document["baseline"]), int(document["depth"]), found)
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(f"{type(error).__name__}: {error}") from None
    raise _broken(f"kind {document['kind']!r} is unknown")


def _broken(why: str) -> BadInput:
    return BadInput(f"The stored model cannot be used ({why}); train it again, or take another one.", code="bad_model")


def _checked(arrays: Arrays, shapes: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    found = {}
    for name, kind in shapes.items():
        values = arrays[name]
        if values.ndim != 1 or values.dtype != np.dtype(kind) or not np.isfinite(values).all():
            raise _broken(f"{name} is no row of finite numbers of type {kind}")
        found[name] = values.astype(np.dtype(kind).newbyteorder("="))
    return found


def _linear(features: tuple[str, ...], intercept: float, arrays: Arrays) -> LinearModel:
    if any(values.size != len(features) for values in arrays.values()):
        raise _broken(f"it has {len(features)} features and arrays of other lengths")
    if not np.isfinite(intercept) or not (arrays["scale"] > 0.0).all():
        raise _broken("intercept or scale is impossible")
    return LinearModel(features, arrays["mean"], arrays["scale"], arrays["coefficients"], intercept)


def _trees(features: tuple[str, ...], baseline: float, depth: int, arrays: Arrays) -> TreesModel:
    nodes = arrays["feature"].size
    if any(values.size != nodes for name, values in arrays.items() if name != "roots"):
        raise _broken("its arrays of nodes have several lengths")
    inside = all(bool(((arrays[name] >= 0) & (arrays[name] < nodes)).all()) for name in ("roots", "left", "right"))
    if not inside or not bool(((arrays["feature"] >= 0) & (arrays["feature"] < len(features))).all()):
        raise _broken("a node points outside of its tree")
    if not np.isfinite(baseline) or not 0 <= depth <= LONGEST_TREE:
        raise _broken("baseline or depth is impossible")
    nodes_of: dict[str, Any] = dict(arrays)
    return TreesModel(features, baseline, depth=depth, **nodes_of)
