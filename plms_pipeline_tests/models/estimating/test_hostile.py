"""Do odd receipts train a model that nobody should hear, or break the command that trains it?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from plms_pipeline.errors import NoData
from plms_pipeline.estimates.outlook import outlook_of, text_of
from plms_pipeline.models.estimating.effects import Scatter, explain
from plms_pipeline.models.estimating.fitting import fit
from plms_pipeline.models.estimating.history import History
from plms_pipeline.models.estimating.judging import Limits, judge
from plms_pipeline.models.estimating.walkforward import Plan, walk_forward
from plms_pipeline_tests.models.estimating.shipped import world
from plms_pipeline_tests.models.estimating.test_outlook import NOON, told

WORLDS: dict[str, Any] = {
    "one value": lambda one: replace(one, value=np.full(len(one), 0.25)),
    "nothing but zeros": lambda one: replace(one, value=np.zeros(len(one))),
    "half zeros": lambda one: replace(one, value=np.where(np.arange(len(one)) % 2, 0.0, one.value)),
    "huge": lambda one: replace(one, value=one.value * 1e9),
    "tiny": lambda one: replace(one, value=one.value * 1e-9),
    "one outlier": lambda one: replace(one, value=np.where(np.arange(len(one)) == 20, 1e12, one.value)),
    "never a success": lambda one: replace(one, taught={**one.taught, "effort": np.zeros(len(one), dtype=bool)}),
    "all at one moment": lambda one: replace(
        one, started_ms=np.full(len(one), 10**12), completed_ms=np.full(len(one), 10**12 + 5)
    ),
    "every task new": lambda one: replace(
        one, task=np.asarray([f"n{place}" for place in range(len(one))], dtype=object)
    ),
    "words like mark-up": lambda one: replace(
        one, task=np.asarray(["'\"<b>"] * len(one), dtype=object), provider=np.asarray(["a'\"|"] * len(one), dtype=object)
    ),
}  # fmt: skip


@pytest.mark.parametrize("odd", WORLDS)
def test_odd_receipts_give_finite_effects_and_an_outlook(odd: str) -> None:
    """A NaN in what every forecast asks would be an estimate of nothing, approved and reserved."""
    history: History = WORLDS[odd](world(80))
    found = explain(history, Scatter())
    assert np.isfinite(found.effect).all()
    assert np.isfinite(found.slope).all()
    back = outlook_of(text_of(told(history, NOON)))
    for one in back.parts.values():
        factor = one.factor("a", ("k", "", "t1"))
        assert np.isfinite(factor)
        assert 1e-6 < factor < 1e6


@pytest.mark.live
@pytest.mark.parametrize("odd", WORLDS)
def test_a_model_of_odd_receipts_is_judged_and_does_not_pass_by_a_division(odd: str) -> None:
    """Zero by zero is no gain: what nobody can be better at is left to the priors."""
    history: History = WORLDS[odd](world(260, task_spread=0.0))
    try:
        walked = walk_forward(history, Plan(blocks=2))
    except NoData:
        return
    assert np.isfinite(fit(history.head(100)).scatter.noise)
    for basis in ("effort", "spend"):
        found = judge(walked.forecasts[basis], Limits(rows=50))  # type: ignore[index]
        assert not found.passed
        json.dumps(found.as_document(), allow_nan=False)
