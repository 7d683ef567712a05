"""Is a promoted model of estimates watched: told when its intervals no longer hold, and not by chance?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from plms_pipeline.estimates.backtest import MS_PER_DAY
from plms_pipeline.models.decision.tree import watch
from plms_pipeline.models.estimating.effects import Scatter
from plms_pipeline.models.estimating.living import CODES, COVERAGE_OFF, FEWEST, WORSE, judged, lived
from plms_pipeline.models.estimating.model import Part, Trust
from plms_pipeline.models.stages import live as stage
from plms_pipeline_tests.models.estimating.shipped import world

PART = Part("cost_usd", Scatter(), {"effort": Trust(0.75), "spend": Trust(0.75)})


def told(n: int, coverage: float, least: float = 0.7) -> dict[str, Any]:
    return {"n": n, "coverage_90": coverage, "winkler_ratio": least + 0.1, "winkler_ratio_low": least}


@pytest.mark.parametrize(("n", "coverage", "least", "codes"), [
    (FEWEST - 1, 0.2, 3.0, ()), (60, 0.85, 0.7, ()), (60, 0.7, 0.7, (COVERAGE_OFF,)), (2000, 0.85, 0.7, (COVERAGE_OFF,)),
    (2000, 0.97, 0.7, (COVERAGE_OFF,)), (2000, 0.9, 0.7, ()), (2000, 0.9, 1.01, (WORSE,)), (500, 0.5, 1.5, CODES),
])  # fmt: skip
def test_a_limit_is_broken_by_more_than_chance(n: int, coverage: float, least: float, codes: tuple[str, ...]) -> None:
    """A watch that alarms on its first bad afternoon is switched off on its second."""
    found = judged("cost_usd", "spend", told(n, coverage, least))
    assert tuple(alert.code for alert in found.alerts) == codes
    assert found.judged == (n >= FEWEST)
    assert watch(alerts=codes).action == ("request_retrain" if codes else "keep")


def test_stages_know_the_codes_without_what_trains() -> None:
    assert (stage.COVERAGE_OFF, stage.WORSE) == CODES


@pytest.mark.live
def test_costs_that_jump_after_the_promotion_are_seen_and_costs_that_do_not_are_not() -> None:
    """One step ahead, on what began since: the history from before it must not dilute what is wrong now."""
    history = world(400)
    since = int(history.completed_ms[250])
    jump = np.where(np.arange(400) >= 250, np.random.default_rng(1).choice([0.02, 50.0], 400), 1.0)
    for value, is_wrong in ((history.value, False), (history.value * jump, True)):
        (found,) = lived(replace(history, value=value), PART, ("spend",), since_ms=since)
        assert found.judged
        assert 100 <= found.figures["n"] <= 150
        assert bool(found.alerts) == is_wrong, found.figures
    (nothing,) = lived(history, PART, ("spend",), since_ms=int(history.completed_ms.max()) + MS_PER_DAY)
    assert (nothing.judged, nothing.figures["n"]) == (False, 0)
