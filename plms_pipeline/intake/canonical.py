"""Which columns does a receipt file of ours have, and what may stand in each?

One list of fields is the single source for the importer, its error messages, `--map`, and the table in `data/README.md` (a
test fails when that table is stale). Every other source is a mapping onto these fields, so a rule exists once and a new
source cannot forget one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["text", "word", "lane", "integer", "money", "number", "flag", "instant"]

# What may stand in a word column of imported history: it has ended, so nothing in it is pending.
WORDS: Final[dict[str, tuple[str, ...]]] = {
    "status": ("SUCCESS", "FAIL"),
    "validation": ("passed", "failed", "ungated"),
    "run_kind": ("baseline", "rehearsal", "replay", "hotfix"),
    "complexity": ("trivial", "simple", "moderate", "complex", "very_complex"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One canonical column: `limit` is characters for text; `default` stands when the column is absent or a cell empty."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    required: bool = False
    is_key: bool = False
    limit: int = 255
    default: str = ""


FIELDS: Final[tuple[Field, ...]] = (
    Field("run_id", "text", "Which run; rows of one run may share it.", required=True, is_key=True, limit=64),
    Field("task_id", "text", "Which task of the run; the run's id when the column is absent.", is_key=True),
    Field("attempt", "integer", "Which attempt at the task, from 1.", is_key=True, default="1"),
    Field("project", "text", "Which project; the provider when absent."),
    Field("lane", "lane", "Lane number, lane name or a registered alias.", required=True, limit=64),
    Field("provider", "text", "Model or service that did the work.", required=True),
    Field("status", "word", "SUCCESS or FAIL: whether the work ended.", required=True),
    Field(
        "completed_at",
        "instant",
        "When it ended: ISO 8601 with zone, or a bare date when only the day is known.",
        unit="UTC",
        required=True,
    ),
    Field("started_at", "instant", "When it began; from the duration, else the end, when unknown.", unit="UTC"),
    Field(
        "duration_ms",
        "integer",
        "How long it took; end minus start when the column is absent and both are known.",
        unit="ms",
    ),
    Field("cost_usd", "money", "What it cost; rounded half-even to 6 places.", unit="USD"),
    Field(
        "tokens",
        "integer",
        "All tokens; the sum of the parts when absent and input and output are known.",
        unit="tokens",
    ),
    Field("tokens_input", "integer", "Input tokens that were not cached.", unit="tokens"),
    Field("tokens_output", "integer", "Output tokens without reasoning.", unit="tokens"),
    Field("tokens_cached", "integer", "Input tokens served from a cache.", unit="tokens"),
    Field("tokens_reasoning", "integer", "Output tokens spent on reasoning.", unit="tokens"),
    Field("tokens_input_total", "integer", "Input including cached: split into the two columns above.", unit="tokens"),
    Field("tokens_output_total", "integer", "Output including reasoning: split likewise.", unit="tokens"),
    Field("validation", "word", "passed, failed or ungated: the source's own verdict.", default="ungated"),
    Field("run_kind", "word", "baseline, rehearsal, replay or hotfix.", default="baseline"),
    Field("write_sandbox", "flag", "Whether the run wrote into a sandbox.", default="false"),
    Field("test_pass_rate", "number", "Share of tests passed, 0 to 1.", unit="fraction"),
    Field("api_calls", "integer", "Calls to the provider.", unit="calls"),
    Field("energy_kwh", "number", "Energy used.", unit="kWh"),
    Field("echo_cos", "number", "Cosine between request and result, -1 to 1.", unit="cosine"),
    Field("task_kind", "text", "Kind of task, for strata."),
    Field("complexity", "word", "trivial, simple, moderate, complex or very_complex."),
)

BY_NAME: Final[dict[str, Field]] = {field.name: field for field in FIELDS}
NATURAL_KEY_LIMIT: Final = 512


class Receipt(NamedTuple):
    """One valid row, typed and in registry units: money `Decimal` with 6 places, ms, aware UTC; None = unknown.

    A tuple, not a frozen dataclass: a million are made per import and a frozen dataclass costs six times as much to make.
    `line` is where the row stands in its file (row number in Parquet) and takes no part in `row_sha256`.
    """

    line: int
    run_id: str
    task_id: str
    attempt: int
    project: str
    lane_id: int
    provider: str
    status: str
    completed_at: datetime
    started_at: datetime
    time_precision: str
    duration_ms: int | None
    cost_usd: Decimal | None
    tokens: int | None
    tokens_input: int | None
    tokens_output: int | None
    tokens_cached: int | None
    tokens_reasoning: int | None
    validation: str
    run_kind: str
    write_sandbox: bool
    test_pass_rate: float | None
    api_calls: int | None
    energy_kwh: float | None
    echo_cos: float | None
    task_kind: str | None
    complexity: str | None
    natural_key: str
    row_sha256: str

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes a receipt the same receipt: run, task, attempt."""
        return (self.run_id, self.task_id, self.attempt)


def markdown_table() -> str:
    """The columns as the Markdown table of `data/README.md`."""
    lines = ["| column | required | unit | meaning |", "|---|---|---|---|"]
    for field in FIELDS:
        need = "yes" if field.required else f"default `{field.default}`" if field.default else ""
        lines.append(f"| `{field.name}` | {need} | {field.unit} | {field.meaning} |")
    return "\n".join(lines)
