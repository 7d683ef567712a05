"""How do SWE-bench agent runs become receipts?

One row is one baseline run with one task. The file knows dollars, calls and whether the task was resolved, and of the time
only the day: durations stay unknown, and within its day a row stands at the second of its rank (models in name order, then
instances), marked `time_precision = day`. Work that ended is SUCCESS whether or not it was good: `resolved` is the
source's own verdict (`validation`, `test_pass_rate`), not the status.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.intake.mapping import Source, Take

LANE_OF_OWNER: Final = {"sphinx-doc": "4202", "pytest-dev": "4201", "pylint-dev": "4201"}
OTHER_LANE: Final = "4200"
_RATE: Final = {"true": "1", "false": "0"}
_VERDICT: Final = {"true": "passed", "1": "passed", "1.0": "passed", "false": "failed", "0": "failed", "0.0": "failed"}


def lane_of_owner(owner: str) -> str:
    """The lane of a repository owner; an unknown owner writes code against an API like most of them do."""
    return LANE_OF_OWNER.get(owner, OTHER_LANE) if owner else ""


def verdict(cell: str) -> str:
    """True or 1 → passed, False or 0 → failed; anything else stays as it is and is refused by the rule for words."""
    return _VERDICT.get(cell.lower(), cell)


def rate(cell: str) -> str:
    """True → 1, False → 0; numbers stay."""
    return _RATE.get(cell.lower(), cell)


SOURCE: Final = Source(
    name="swebench",
    describes="SWE-bench agent-run file",
    takes={
        "provider": Take(("model",), required=True),
        "task_id": Take(("instance_id",), required=True),
        "completed_at": Take(("run_date",), required=True),
        "lane": Take(("repo_owner",), convert=lane_of_owner, required=True),
        "task_kind": Take(("repo_owner",)),
        "cost_usd": Take(("cost_usd",), required=True),
        "api_calls": Take(("api_calls",), required=True),
        "validation": Take(("resolved",), convert=verdict, required=True),
        "test_pass_rate": Take(("resolved",), convert=rate),
    },
    key=("provider", "task_id", "completed_at"),
    constants={"status": "SUCCESS"},
)
