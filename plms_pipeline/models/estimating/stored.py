"""What of a model of estimates is kept, what is believed when it comes back, and does it still say what it said?

A document of plain values and arrays of numbers, as the other family: nothing that could run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.errors import BadInput
from plms_pipeline.measures import BASES, MEASURES, Measure
from plms_pipeline.models.estimating.book import Book
from plms_pipeline.models.estimating.effects import COMPONENTS, Scatter, explain
from plms_pipeline.models.estimating.forecasting import quantiles
from plms_pipeline.models.estimating.model import EstimatesModel, Part, Trust

FORMAT: Final = 1
KIND: Final = "estimates"
GOLDEN_ROWS: Final = 5
RELATIVE: Final = 1e-6
Arrays = Mapping[str, NDArray[Any]]


def parts(model: EstimatesModel) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The document and the arrays (little-endian) that make the model."""
    document = {
        "format": FORMAT, "kind": KIND, "components": list(COMPONENTS),
        "serves": sorted([list(pair) for pair in model.serves]),
        "parts": {
            measure: {
                "noise": part.scatter.noise,
                "trust": {b: {"share": one.share, "by_slope": one.by_slope} for b, one in part.trust.items()},
            }
            for measure, part in model.parts.items()
        },
    }  # fmt: skip
    arrays = {
        f"variances.{measure}": np.asarray(part.scatter.variances, "<f8") for measure, part in model.parts.items()
    }
    return document, arrays


def model_of(document: Mapping[str, Any], arrays: Arrays) -> EstimatesModel:
    """The model that `parts` took apart.

    Raises:
        BadInput: something is missing, has the wrong shape or type, or is impossible (`bad_model`).
    """
    try:
        if document["format"] != FORMAT or document["kind"] != KIND or document["components"] != list(COMPONENTS):
            raise _broken("it is of another format, kind or set of effects")
        if not set(document["parts"]) <= set(MEASURES):
            raise _broken("it is of measures that nobody knows")
        found = {name: _part(name, one, arrays[f"variances.{name}"]) for name, one in document["parts"].items()}
        serves = frozenset((measure, basis) for measure, basis in document["serves"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _broken(f"{type(error).__name__}: {error}") from None
    if not all(measure in found and basis in BASES for measure, basis in serves):
        raise _broken("it serves what it has no part for")
    return EstimatesModel(found, serves)


def _part(measure: Measure, document: Mapping[str, Any], variances: NDArray[Any]) -> Part:
    if variances.dtype != np.dtype("<f8") or variances.shape != (len(COMPONENTS),):
        raise _broken(f"the variances of {measure} have the wrong shape or type")
    noise = float(document["noise"])
    if not (np.isfinite(variances).all() and (variances > 0).all() and math.isfinite(noise) and noise > 0):
        raise _broken(f"a variance of {measure} is impossible")
    trust = {b: Trust(float(document["trust"][b]["share"]), bool(document["trust"][b]["by_slope"])) for b in BASES}
    if not all(0.0 <= one.share <= 1.0 for one in trust.values()):
        raise _broken(f"a share of {measure} is impossible")
    return Part(measure, Scatter(tuple(variances.tolist()), noise), trust)


def _broken(why: str) -> BadInput:
    return BadInput(f"The stored model cannot be used ({why}); train it again, or take another one.", code="bad_model")


def golden(model: EstimatesModel, book: Book) -> dict[str, Any]:
    """The newest forecasts of every measure and basis as the model makes them; numbers are exact in JSON."""
    rows = []
    for measure, part in sorted(model.parts.items()):
        history = book.history(measure)
        explained = explain(history, part.scatter)
        for basis in BASES:
            found = quantiles(history, basis, explained, part.trust[basis])[-GOLDEN_ROWS:]
            rows += [
                {"measure": measure, "basis": basis, "row": row, "low": one[1], "median": one[19], "high": one[37]}
                for row, one in enumerate(found.tolist())
            ]
    return {"schema_version": FORMAT, "rows": rows}


def disagreements(document: Mapping[str, Any], model: EstimatesModel, book: Book) -> tuple[str, ...]:
    """The rows in which a model says something else than was kept of it, each as a sentence.

    Raises:
        BadInput: the document is none of ours (`bad_golden`).
    """
    kept, now = document.get("rows"), golden(model, book)["rows"]
    if document.get("schema_version") != FORMAT or not isinstance(kept, list):
        raise BadInput("The golden rows are none of version 1; train again.", code="bad_golden")
    if not kept or [_key(one) for one in kept] != [_key(one) for one in now]:
        return ("the rows are not the same ones",)
    return tuple(
        f"{one['measure']} {one['basis']} row {one['row']}: {name} was {old[name]!r} and is {one[name]!r}"
        for old, one in zip(kept, now, strict=True)
        for name in ("low", "median", "high")
        if not math.isclose(one[name], old[name], rel_tol=RELATIVE)
    )


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("measure"), row.get("basis"), row.get("row")
