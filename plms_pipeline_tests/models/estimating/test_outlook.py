"""Does a promoted model reach every forecast, as it was judged, and do the priors answer where it may not?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from plms_pipeline.estimates.outlook import Outlook, outlook_of, sha_of, text_of
from plms_pipeline.estimates.predictive import predict
from plms_pipeline.models.estimating.effects import Scatter
from plms_pipeline.models.estimating.forecasting import Task, forecast
from plms_pipeline.models.estimating.history import History
from plms_pipeline.models.estimating.model import Part, Trust
from plms_pipeline.models.estimating.outlooks import heard
from plms_pipeline_tests.models.estimating.shipped import world

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FULL = Part("cost_usd", Scatter(), {"effort": Trust(0.75), "spend": Trust(1.0, by_slope=True)})


def told(history: History, at: datetime) -> Outlook:
    found = heard(history, FULL, ("effort", "spend"), at=at)
    return Outlook("p", "c", "ab" * 32, at, {("cost_usd", basis): one for basis, one in found.items()})


@pytest.mark.parametrize("asked", [
    Task(4200, "a", "t3", "k"), Task(4200, "b", "t7", "k"), Task(4200, "a", "", "k"), Task(4200, "b", "never", "nor this"),
    Task(4200, "somebody new", "t1", "k"), Task(4200, "a"),
])  # fmt: skip
def test_what_forecasts_ask_is_what_was_judged(asked: Task) -> None:
    """A served figure that is not the one which was judged was approved by nobody."""
    history = world(150, task_spread=1.2)
    at = datetime.fromtimestamp(int(history.completed_ms.max()) / 1000 + 5, UTC)
    outlook = outlook_of(text_of(told(history, at)))
    for basis in ("effort", "spend"):
        wanted = forecast(history, basis, FULL, asked, at=at)
        one = outlook.parts["cost_usd", basis]
        factor = one.factor(asked.provider, (asked.kind, asked.complexity, asked.task))
        left = predict(outlook.state(("cost_usd", basis)), asked.lane_id, asked.provider)
        found = np.asarray(left.quantiles(one.corrections.get(asked.lane_id, 1.0))) * factor
        assert factor == pytest.approx(wanted.effect, rel=1e-9)
        np.testing.assert_allclose(found, wanted.quantiles, rtol=1e-6)


def test_an_outlook_survives_the_registry_and_names_itself() -> None:
    """Its hash stands beside the forecasts that used it."""
    history = world(60)
    first = told(history, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1))
    text = text_of(first)
    back = outlook_of(text)
    assert text_of(back) == text
    assert back.sha256 == sha_of(text)
    for broken in ("{}", "[]", text.replace('"format":[1', '"format":[9'), text.replace("cost_usd", "luck")):
        with pytest.raises(ValueError, match=r"outlook"):
            outlook_of(broken)
