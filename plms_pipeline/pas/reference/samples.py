"""Which lane did a real agent run of the shipped samples belong to, and what did it take?

The lanes are those that the importers of `intake` give the same rows (intake lies above this domain; a test compares
them). Runs that something outside the agent ended say nothing about durations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from plms_pipeline.pas.reference.outcomes import Sample

_LANE_OF_OWNER: Final = {"sphinx-doc": 4202, "pytest-dev": 4201, "pylint-dev": 4201}
_FAMILIES: Final = {
    6101: "hypothesis_testing env_scientist symbolic_regression audio_classification cuda_backtesting",
    5102: "munge_data data_deduplication interpret_data",
    5101: "wikipedia_research gaia auto_days_since",
    4201: "debug_small_libs password_check credit_card_validity",
}
_LANE_OF_FAMILY: Final = {family: lane for lane, names in _FAMILIES.items() for family in names.split()}
_LANE_OF_PREFIX: Final = (("ai_rd_", 6100), ("local_research", 5101))
_OTHER_LANE: Final = 4200


def lane_of_owner(owner: str) -> int:
    """The lane of a SWE-bench repository owner."""
    return _LANE_OF_OWNER.get(owner, _OTHER_LANE)


def lane_of_family(family: str) -> int:
    """The lane of a METR task family."""
    prefixed = next((lane for prefix, lane in _LANE_OF_PREFIX if family.startswith(prefix)), _OTHER_LANE)
    return _LANE_OF_FAMILY.get(family, prefixed)


def cost_samples(rows: Iterable[Mapping[str, str]]) -> list[Sample]:
    """USD per agent run, from the rows of `swebench_agent_runs.csv.gz`."""
    return [Sample(lane_of_owner(row["repo_owner"]), row["model"], float(row["cost_usd"])) for row in rows]


def duration_samples(rows: Iterable[Mapping[str, str]]) -> list[Sample]:
    """Milliseconds per agent run, from the rows of `metr_agent_runs.csv.gz`."""
    return [
        Sample(lane_of_family(row["task_family"]), row["model"], int(row["completed_at"]) - int(row["started_at"]))
        for row in rows
        if not row["fatal_error_from"]
    ]
