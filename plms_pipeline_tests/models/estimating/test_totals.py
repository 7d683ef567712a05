"""Do the intervals of whole projects hold when a model of estimates is heard?"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from plms_pipeline.estimates.beliefs import BasisBeliefs, Beliefs, Tally
from plms_pipeline.estimates.outlook import summaries_of
from plms_pipeline.estimates.state import state_of
from plms_pipeline.runs.pricing import prices
from plms_pipeline_tests.models.estimating.shipped import world
from plms_pipeline_tests.models.estimating.test_outlook import told

CELLS = [(4200, "a"), (4200, "b")] * 6


@pytest.mark.live
def test_totals_of_projects_hold_and_are_narrower_than_those_of_the_priors() -> None:
    """Reservations and budgets stand on the upper end: an interval that is only narrow overruns them."""
    held, narrower = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        history = world(200, task_spread=1.2, seed=seed)
        # What is to come is of the same world, with the same tasks.
        later = world(1200, task_spread=1.2, seed=1_000 + seed)
        at = datetime.fromtimestamp(int(history.completed_ms.max()) / 1000 + 1, UTC)
        outlook = told(history, at)
        tasks = rng.choice(10, len(CELLS))
        value = 0.0
        for (_, provider), task in zip(CELLS, tasks, strict=True):
            mine = later.value[(later.provider == provider) & (later.task == f"t{task}")]
            value += float(rng.choice(mine))
        cells = summaries_of(history.lane_id.tolist(), history.provider.tolist(), history.value, "cost_usd")
        tallies = {(4200, one): Tally(100, 100) for one in "ab"}
        one = BasisBeliefs({"cost_usd": state_of("cost_usd", cells)}, tallies)
        beliefs = Beliefs({"effort": one, "spend": one}, "", 1)
        words = [("k", "", f"t{task}") for task in tasks]
        model = prices(beliefs, {}, CELLS, as_of="now", heard=outlook, words=words).total.forecast["effort"]["cost_usd"]
        priors = prices(beliefs, {}, CELLS, as_of="now").total.forecast["effort"]["cost_usd"]
        held.append(model["low"] <= value <= model["high"])
        narrower.append((model["high"] - model["low"]) / (priors["high"] - priors["low"]))
    # 40 projects: 90 % ± 2.58 standard errors.
    assert 0.77 < np.mean(held) <= 1.0, np.mean(held)
    assert np.median(narrower) < 0.8
