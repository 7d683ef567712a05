"""How do METR agent runs become receipts?

One row is one baseline run with one task. The file knows times to the millisecond and a binarised score; dollars stay
unknown. `fatal_error_from` set means that the run was stopped from outside (usage limits, server) before the agent ended
it: its status is FAIL. The score stands beside that as the source's own verdict, because a stopped run may still have
solved its task (27 of 1 243 did) and the verdict says whether work was good, the status whether it ended.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.intake.mapping import Source, Take
from plms_pipeline.intake.sources.swebench import rate, verdict

_EXACT: Final = {
    "6101": ("hypothesis_testing", "env_scientist", "symbolic_regression", "audio_classification", "cuda_backtesting"),
    "5102": ("munge_data", "data_deduplication", "interpret_data"),
    "5101": ("wikipedia_research", "gaia", "auto_days_since"),
    "4201": ("debug_small_libs", "password_check", "credit_card_validity"),
    "4200": (
        "web_hacking", "pico_ctf", "avoid_shutdown", "esolang", "reverse_hash", "blackbox", "number_list_steganography",
    ),
}  # fmt: skip
LANE_OF_FAMILY: Final = {family: lane for lane, families in _EXACT.items() for family in families}
LANE_OF_PREFIX: Final = (("ai_rd_", "6100"), ("local_research", "5101"))
OTHER_LANE: Final = "4200"


def lane_of_family(family: str) -> str:
    """The lane of a task family: exact names, then prefixes, then Code-API."""
    if not family or family in LANE_OF_FAMILY:
        return LANE_OF_FAMILY.get(family, "")
    return next((lane for prefix, lane in LANE_OF_PREFIX if family.startswith(prefix)), OTHER_LANE)


def status_of(fatal_error_from: str) -> str:
    """FAIL when something outside the agent ended the run."""
    return "FAIL" if fatal_error_from else "SUCCESS"


SOURCE: Final = Source(
    name="metr",
    describes="METR agent-run file",
    takes={
        "run_id": Take(("run_id",), required=True),
        "task_id": Take(("task_id",), required=True),
        "provider": Take(("model",), required=True),
        "lane": Take(("task_family",), convert=lane_of_family, required=True),
        "task_kind": Take(("task_family",)),
        "started_at": Take(("started_at",), unit="epoch_ms", required=True),
        "completed_at": Take(("completed_at",), unit="epoch_ms", required=True),
        "status": Take(("fatal_error_from",), convert=status_of),
        "validation": Take(("score_binarized",), convert=verdict, required=True),
        "test_pass_rate": Take(("score_binarized",), convert=rate),
    },
    key=("run_id",),
    constants={"status": "SUCCESS"},
    unread=("score", "human_minutes"),
)
