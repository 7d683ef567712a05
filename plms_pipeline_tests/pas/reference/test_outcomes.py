"""Are the outcomes real ones, of the right lane and provider, and the same each time?"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import NoData
from plms_pipeline.intake.sources.metr import lane_of_family as intake_lane_of_family
from plms_pipeline.intake.sources.swebench import lane_of_owner as intake_lane_of_owner
from plms_pipeline.pas.reference.files import COSTS, DURATIONS, load_outcomes
from plms_pipeline.pas.reference.outcomes import Outcome, Outcomes, Sample, version_of
from plms_pipeline.pas.reference.samples import lane_of_family, lane_of_owner
from plms_pipeline_tests.pas.reference.conftest import SAMPLES

HALF_AN_HOUR = 1_800_000
BOUNDED = Outcomes(
    [Sample(4200, "a", 1.0), Sample(4200, "b", 2.0), Sample(4201, "a", 3.0)],
    [Sample(4200, "a", 10), Sample(4200, "b", 20), Sample(4201, "a", 30), Sample(4201, "a", 99)],
    longest_ms=50,
)


def rows(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(SAMPLES / name, "rt", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def test_lanes_are_those_that_the_importer_gives_the_same_rows() -> None:
    """Otherwise the executor replays a lane's work with another lane's costs."""
    assert all(str(lane_of_owner(row["repo_owner"])) == intake_lane_of_owner(row["repo_owner"]) for row in rows(COSTS))
    assert all(
        str(lane_of_family(row["task_family"])) == intake_lane_of_family(row["task_family"]) for row in rows(DURATIONS)
    )


@pytest.mark.parametrize(
    ("lane", "provider", "costs", "times"),
    [
        (4200, "a", {1.0}, {10}), (4200, "b", {2.0}, {20}), (4200, "x", {1.0, 2.0}, {10, 20}), (4201, "a", {3.0}, {30}),
        (4201, "b", {3.0}, {30}), (6100, "a", {1.0, 2.0, 3.0}, {10, 20, 30}),
    ],
)  # fmt: skip
def test_the_nearest_real_work_is_replayed(lane: int, provider: str, costs: set[float], times: set[int]) -> None:
    """By lane and provider, else by lane, else all; and never longer than the limit."""
    got = [BOUNDED.choose(1, f"k{number}", lane, provider, is_outlier=False) for number in range(200)]
    assert {float(one.cost_usd) for one in got} == costs
    assert {one.time_ms for one in got} == times


def test_the_shipped_samples_are_replayed_to_the_cent() -> None:
    """Calibration on invented outcomes tests our own assumption."""
    outcomes = load_outcomes(SAMPLES, longest_ms=HALF_AN_HOUR)
    real_costs = {Decimal(row["cost_usd"]).quantize(Decimal("0.000001")) for row in rows(COSTS)}
    real_times = {int(row["completed_at"]) - int(row["started_at"]) for row in rows(DURATIONS)}
    for number in range(300):
        one = outcomes.choose(7, f"card-{number}", 4200 + number % 3, "GPT-4 Turbo", is_outlier=False)
        assert one.cost_usd in real_costs
        assert one.time_ms in real_times
        assert one.time_ms <= HALF_AN_HOUR
        assert min(one.tokens_in, one.tokens_out, one.tokens_think) >= 0
    assert outcomes.providers["Claude 4 Sonnet (20250514)"] == "20250514"
    assert outcomes.providers["openai/gpt-4"] == "gpt-4-0613"


def test_the_same_card_has_the_same_outcome_after_a_restart() -> None:
    """A card that is run again after a crash must not cost something else."""
    first = load_outcomes(SAMPLES, longest_ms=HALF_AN_HOUR).choose(7, "card", 4200, "o1", is_outlier=False)
    assert load_outcomes(SAMPLES, longest_ms=HALF_AN_HOUR).choose(7, "card", 4200, "o1", is_outlier=False) == first
    assert load_outcomes(SAMPLES, longest_ms=HALF_AN_HOUR).choose(8, "card", 4200, "o1", is_outlier=False) != first


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=10))
def test_parts_never_exceed_the_whole(shares: list[float]) -> None:
    """What is billed for stopped work lies between nothing and everything, and grows with time."""
    whole = Outcome(1000, Decimal("1.000001"), 100, 50, 25, 0.5, 0.9)
    parts = [whole.part(share) for share in sorted(shares)]
    costs = [part.cost_usd for part in parts]
    assert costs == sorted(costs)
    assert all(0 <= part.cost_usd <= whole.cost_usd and 0 <= part.time_ms <= whole.time_ms for part in parts)
    assert whole.part(1) == whole


def test_a_folder_without_samples_is_named(tmp_path: object) -> None:
    """A traceback out of gzip does not say which option to give."""
    with pytest.raises(NoData, match="--samples"):
        load_outcomes(SAMPLES / "artifacts", longest_ms=HALF_AN_HOUR)
    with pytest.raises(NoData, match="--samples"):
        load_outcomes(SAMPLES, longest_ms=0)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("Devstral (2512)", "2512"),
        ("o1", "1"),
        ("Claude 3.5 Sonnet (Old)", "1"),
        ("GPT-5 (2025-08-07) (x)", "2025-08-07"),
    ],
)
def test_versions_are_read_from_names(name: str, version: str) -> None:
    """Snapshots compare versions; one that changes between two reads is drift that never was."""
    assert version_of(name) == version
