"""Prices as decisions: what is re-priced from tokens, and what says that it cannot be."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from plms_pipeline.access.actors import Actor
from plms_pipeline.errors import BadInput
from plms_pipeline.estimates.prices.actions import prices, set_price
from plms_pipeline.estimates.prices.repricing import Paid, Repriced, measured
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Decision
from plms_pipeline.runs.actions.runway import budget_runway
from plms_pipeline_tests.runs.actions.test_runway import BELIEF, learn, wait_for
from plms_pipeline_tests.runs.shelf import Shelf
from plms_pipeline_tests.runs.worked import AT, Watch

ANN = Actor("ann", is_verified=True)
TOMORROW = AT.date() + timedelta(days=1)


def test_a_factor_is_what_the_tokens_cost_now_over_what_they_cost() -> None:
    """A million in at 2 and half a million out at 8 cost 6, where 3 were paid; a receipt without tokens says nothing."""
    paid = [Paid(3.0, 1_000_000, 500_000), Paid(9.0, None, 1)]
    found = measured(paid, 2.0, 8.0)
    assert (found.receipts, found.with_tokens, found.factor) == (2, 1, 2.0)
    assert measured([Paid(9.0, None, None)], 2.0, 8.0).factor is None
    assert measured([], 2.0, 8.0).factor is None
    # Cached tokens are priced as input, reasoning ones as output.
    assert measured([Paid(1.0, 0, 0, 1_000_000, 250_000)], 2.0, 8.0).factor == 4.0


def test_a_factor_fades_as_receipts_come_at_the_new_price() -> None:
    """The state learns the new price by itself; saying it twice would double it."""
    given: dict[str, Any] = {"lane_id": 1, "provider": "m", "from_on": TOMORROW, "receipts": 9, "with_tokens": 9}
    fading = [Repriced(**given, factor=0.25, since=n).price for n in (0, 100, 1000, 10_000)]
    assert fading == sorted(fading)
    assert (fading[0], fading[-1]) == (0.25, 1.0)
    assert Repriced(**given, factor=None, since=0).price == 1.0


def test_what_is_given_away_is_not_said_to_cost_what_it_did() -> None:
    """`plms prices set` printed "costs times 0", and every forecast went on at the old price, called re-priced."""
    given: dict[str, Any] = {"lane_id": 1, "provider": "m", "from_on": TOMORROW, "receipts": 9, "with_tokens": 9}
    free = Repriced(**given, factor=measured([Paid(3.0, 1_000_000, 0)], 0.0, 0.0).factor, since=0)
    assert free.price < 1e-5
    assert free.as_json()["factor"] < 1e-5
    # The other way no factor helps, and that is said as it is: the tokens are known.
    charged = Repriced(**given, factor=measured([Paid(0.0, 1_000_000, 0)], 2.0, 8.0).factor, since=0)
    assert (charged.factor, charged.price) == (None, 1.0)
    assert "cost nothing" in charged.sentence()


def decide(registry: Registry, provider: str = "m", **changes: Any) -> Any:
    given: dict[str, Any] = {
        "input_usd": Decimal(10), "output_usd": Decimal(80), "from_on": TOMORROW, "reason": "new list", "actor": ANN,
        "clock": Watch(AT), "ids": lambda: str(uuid4()),
    }  # fmt: skip
    return set_price(registry, provider, **{**given, **changes})


def test_a_runway_is_repriced_from_the_day_on_and_says_so(registry: Registry) -> None:
    """2000 in at 10 and 1000 out at 80 a million are 0.10, where 0.20 were paid: what is left costs half."""
    shelf = Shelf(registry)
    run_id = shelf.project(42, tokens=[1, 1])
    wait_for(shelf, run_id, "next")
    learn(shelf, BELIEF.as_json())
    done = decide(registry)
    assert done.as_json()["lanes"] == [
        {"lane_id": 4200, "receipts": 2, "receipts_with_tokens": 2, "repriced": True, "factor": 0.5}
    ]
    assert budget_runway(registry, 42, clock=Watch(AT))["left"]["repriced"] == []
    later = budget_runway(registry, 42, clock=Watch(AT + timedelta(days=1)))
    assert later["runway"]["projected_final_ci_90"] == pytest.approx([0.45, 0.75])
    (one,) = later["left"]["repriced"]
    assert (one["repriced"], one["prices_from"], one["factor"]) == (True, TOMORROW.isoformat(), 0.5)
    (listed,) = prices(registry)
    assert (listed["provider"], listed["by"], listed["input_usd_per_mtok"]) == ("m", "ann", 10.0)
    with registry.reading() as session:
        assert session.scalar(select(Decision.decision).where(Decision.kind == "provider_price")) == "set"


def test_what_has_no_tokens_stays_as_it_was_and_says_so(registry: Registry) -> None:
    """A guess would look like a price."""
    shelf = Shelf(registry)
    run_id = shelf.project(42, tokens=[])
    with registry.writing() as session:
        shelf.task(session, 42, run_id, "t0", 1, 3000, 0)
        shelf.receipt(session, 42, run_id, "old", provider="n", tokens_input=None)
    wait_for(shelf, run_id, "next")
    learn(shelf, BELIEF.as_json())
    assert decide(registry, provider="n").as_json()["lanes"][0]["repriced"] is False
    decide(registry, provider="new", from_on=AT.date())
    decide(registry, from_on=date(2020, 1, 1))
    found = budget_runway(registry, 42, clock=Watch(AT))
    (one,) = found["left"]["repriced"]
    assert (one["repriced"], one["factor"], one["receipts_with_tokens"]) == (False, None, 0)
    assert found["runway"]["projected_final_ci_90"] == pytest.approx([0.5, 1.1])


@pytest.mark.parametrize("changes", [{"input_usd": Decimal(-1)}, {"provider": " "}, {"reason": " "}])
@pytest.mark.one_database
def test_what_is_no_price_is_refused(sqlite_registry: Registry, changes: dict[str, Any]) -> None:
    """A price below nothing would pay for work."""
    with pytest.raises(BadInput):
        decide(sqlite_registry, **changes)
