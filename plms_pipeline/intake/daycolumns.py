"""Which columns does the Parquet file of a day of receipts have?

Plain data without Arrow, because Dagster shows the schema and every process of it would pay for the import.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MOMENT: Final = "timestamp[us, tz=UTC]"


class DayColumn(NamedTuple):
    """One column: `kind` is Arrow's name of its type."""

    name: str
    kind: str
    is_nullable: bool
    meaning: str


COLUMNS: Final = (
    DayColumn("run_id", "string", False, "Run of the receipt."),
    DayColumn("task_id", "string", False, "Task of the run."),
    DayColumn("attempt", "int32", False, "Attempt at the task, from 1."),
    DayColumn("lane_id", "int32", False, "Lane number."),
    DayColumn("provider", "string", False, "Model or service."),
    DayColumn("status", "string", False, "SUCCESS or FAIL: whether the work ended."),
    DayColumn("started_at", MOMENT, False, "Start, UTC."),
    DayColumn("completed_at", MOMENT, False, "End, UTC; the file's day."),
    DayColumn("time_precision", "string", False, "ms, or day when only the day is known."),
    DayColumn("duration_ms", "int64", True, "Duration in ms."),
    DayColumn("cost_usd", "decimal128(14, 6)", True, "Cost in USD."),
    DayColumn("tokens", "int64", True, "All tokens."),
    DayColumn("tokens_input", "int64", True, "Input tokens, not cached."),
    DayColumn("tokens_output", "int64", True, "Output tokens without reasoning."),
    DayColumn("tokens_cached", "int64", True, "Cached input tokens."),
    DayColumn("tokens_reasoning", "int64", True, "Reasoning tokens."),
    DayColumn("test_pass_rate", "double", True, "Share of tests passed."),
    DayColumn("api_calls", "int64", True, "Calls to the provider."),
    DayColumn("energy_kwh", "double", True, "Energy in kWh."),
    DayColumn("echo_cos", "double", True, "Cosine between request and result."),
    DayColumn("natural_key", "string", False, "Key in the source's own words; breaks ties of the order."),
    DayColumn("source", "string", False, "Where the receipt came from."),
    DayColumn("source_file_sha256", "string", True, "SHA-256 of the file that brought it."),
    DayColumn("row_sha256", "string", False, "Digest of the values that the source gave."),
    DayColumn("run_kind", "string", False, "baseline, rehearsal, replay or hotfix."),
    DayColumn("run_status", "string", False, "How the run ended."),
    DayColumn("validation", "string", False, "passed, failed, pending or ungated."),
    DayColumn("verdict_by", "string", True, "Who judged: source, gates or null."),
    DayColumn("write_sandbox", "bool", False, "Whether the run wrote into a sandbox."),
    DayColumn("passport_sha256", "string", True, "Digest of the run's passport."),
    DayColumn("validation_pass_override", "bool", True, "A person's verdict over the gates."),
    DayColumn("override_teaches", "bool", True, "Whether the override lets the run teach."),
    DayColumn("task_kind", "string", True, "Kind of task."),
    DayColumn("complexity", "string", True, "Complexity of the task."),
)
NAMES: Final = tuple(column.name for column in COLUMNS)
