"""What is the project's own receipt file? One row per attempt, under the canonical names.

The rows of one run agree on project, run kind, validation and sandbox; keep them together, because a run's own status is
taken from the rows of the batch that first brings it (a run with a failed task is FAIL) and terminal states never change.
"""

from __future__ import annotations

from typing import Final

from plms_pipeline.intake.canonical import FIELDS
from plms_pipeline.intake.mapping import Source, Take

SOURCE: Final = Source(
    name="receipts",
    describes="receipt file",
    takes={field.name: Take((field.name,), required=field.required) for field in FIELDS},
    key=("run_id", "task_id", "attempt"),
    keeps_run_id=True,
)
