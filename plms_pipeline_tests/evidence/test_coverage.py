"""Does the proposal for the wait follow from what was seen, and from nothing else?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.evidence.coverage import LEAST_MS, MOST_MS, Seen, coverage
from plms_pipeline.evidence.heat import HOT, WARM, WEIGHTS, heat_of
from plms_pipeline.evidence.sights import REASONS


def one(seen: list[Seen], wait_ms: int = 2000) -> tuple[float | None, int | None, str]:
    [found] = coverage(seen, wait_ms=wait_ms)
    return found.ratio, found.proposed_wait_ms, found.advice


def test_evidence_that_comes_later_asks_for_a_longer_wait() -> None:
    """With 6 % found after two seconds nobody could say whether three would be enough."""
    seen = [Seen("heat", "ok", 1500.0)] * 60 + [Seen("heat", "timeout", 2600.0)] * 40
    ratio, proposed, _ = one(seen)
    assert (ratio, proposed) == (0.6, 3300)


def test_evidence_that_comes_at_once_asks_for_a_shorter_wait() -> None:
    """Absence that is told after two seconds could be told after half of one."""
    assert one([Seen("heat", "ok", 120.0)] * 50)[1] == LEAST_MS


@pytest.mark.parametrize(
    ("reason", "word"), [("dropped", "MAX_INFLIGHT"), ("redis_error", "infrastructure"), ("timeout", "never came")]
)
def test_what_no_wait_cures_proposes_no_wait(reason: str, word: str) -> None:
    """A longer wait with too few places drops more; with a backend that is away it only hurts longer."""
    seen = [Seen("heat", "ok", 100.0)] * (0 if reason == "timeout" else 30) + [Seen("heat", reason, None)] * 30
    _, proposed, advice = one(seen)
    assert proposed is None
    assert word in advice


def test_few_observations_propose_nothing() -> None:
    """Three runs on a Sunday are no reason to change production."""
    assert one([Seen("heat", "timeout", 9000.0)] * 3)[1] is None


def test_dropped_obligations_are_not_counted_as_looked_for() -> None:
    """Coverage that falls with the load would say that evidence is late when places were few."""
    assert one([Seen("heat", "ok", 1.0)] * 10 + [Seen("heat", "dropped", None)] * 90)[0] == 1.0


@given(
    st.lists(
        st.builds(Seen, st.just("heat"), st.sampled_from(REASONS), st.one_of(st.none(), st.floats(0, 1e7))), min_size=1
    ),
    st.integers(100, 10_000),
)
def test_a_proposal_is_bounded_and_coverage_a_share(seen: list[Seen], wait_ms: int) -> None:
    """Whatever is seen, nobody is told to wait for a day."""
    ratio, proposed, _ = one(seen, wait_ms)
    assert ratio is None or 0 <= ratio <= 1
    assert proposed is None or LEAST_MS <= proposed <= MOST_MS


@given(st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.one_of(st.none(), st.floats())))
def test_heat_is_a_mean_of_what_is_known(ratios: dict[str, float | None]) -> None:
    """A cost that is not a number must not make a run cold, and one that is unknown not hot."""
    heat = heat_of(ratios)
    known = [min(1.0, max(0.0, ratio)) for ratio in ratios.values() if ratio is not None and math.isfinite(ratio)]
    assert (heat is None) == (not known)
    if heat is not None:
        assert min(known) - 1e-9 <= heat.score <= max(known) + 1e-9
        assert heat.level == ("hot" if heat.score >= HOT else "warm" if heat.score >= WARM else "cold")


def test_the_weights_of_the_guide_are_kept() -> None:
    """Two runs are compared by it over months: a weight that drifts makes them incomparable."""
    heat = heat_of({"exposure": 1.0, "drawdown": 1.0, "burst": 0.0, "fee": 1.0, "churn": 0.0})
    assert heat is not None
    assert (heat.score, heat.level) == (pytest.approx(2.5 / 4.0), "warm")
