"""Do the switches do what they say, as often as they say?"""

from __future__ import annotations

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.pas.reference.faults import MEANINGS, Faults, parse_faults


def test_switches_are_read_in_order() -> None:
    """`all` first and one exception after it is how a soak test is written."""
    faults = parse_faults(["all=0.5", "lost=0", "missed-heartbeats=1"], 3)
    assert faults.rates["lost"] == 0
    assert faults.rates["missed_heartbeats"] == 1
    assert set(faults.rates) == set(MEANINGS)


@pytest.mark.parametrize("switch", ["dupplicate=0.1", "lost", "lost=", "lost=2", "lost=-0.1", "lost=nan", "=1"])
def test_a_switch_that_means_nothing_is_refused(switch: str) -> None:
    """A proof that ran without its faults proves nothing and looks the same."""
    with pytest.raises(BadInput):
        parse_faults([switch], 0)


def test_a_fault_strikes_at_its_rate_and_never_without_one() -> None:
    """What is not switched on must not happen."""
    faults = Faults(5, {"lost": 0.2})
    hits = sum(faults.strikes("lost", number) for number in range(10_000))
    assert 1800 < hits < 2200
    assert not any(faults.strikes("late", number) for number in range(1000))
    assert all(Faults(5, {"late": 1.0}).strikes("late", number) for number in range(100))


def test_faults_strike_independently() -> None:
    """When the card that is late is always the one that is lost, half of the combinations are never tried."""
    faults = Faults(5, {"lost": 0.5, "late": 0.5})
    both = sum(faults.strikes("lost", n) and faults.strikes("late", n) for n in range(10_000))
    assert 2300 < both < 2700
