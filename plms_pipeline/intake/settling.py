"""Which valid rows are new, which are known, and which contradict the books?

Pure: what the registry holds comes in, a decision per row goes out. A key that is known with the same digest is
unchanged; with another digest it is a conflict and never an update. Rows of one run must agree about the run, because a run
has one verdict, and attempts at one task about its lane, because a task has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from plms_pipeline.intake.canonical import Receipt
from plms_pipeline.intake.reasons import Reason, Rejected, rejected

Key = tuple[str, str, int]

# Receipt field → column of task_receipts, where a difference can be shown.
COMPARED: Final = {
    "lane_id": "lane", "provider": "provider", "status": "status", "cost_usd": "cost_usd", "duration_ms": "duration_ms",
    "tokens": "tokens", "tokens_input": "tokens_input", "tokens_output": "tokens_output", "tokens_cached": "tokens_cached",
    "tokens_reasoning": "tokens_reasoning", "completed_at": "completed_at", "started_at": "started_at",
    "time_precision": "completed_at", "test_pass_rate": "test_pass_rate", "api_calls": "api_calls",
    "energy_kwh": "energy_kwh", "echo_cos": "echo_cos", "natural_key": "task_id",
}  # fmt: skip


class KnownRow(NamedTuple):
    """A receipt as the registry holds it: the digest of its values and its lane."""

    row_sha256: str
    lane_id: int


class RunFacts(NamedTuple):
    """What all rows of a run must agree about."""

    source: str
    project: str
    run_kind: str
    validation: str
    write_sandbox: bool


@dataclass(slots=True)
class Settled:
    """`fresh` rows are to be inserted; `clashes` are (row, stored) pairs whose difference the registry can name."""

    fresh: list[Receipt] = field(default_factory=list)
    unchanged: int = 0
    conflicts: list[Rejected] = field(default_factory=list)
    clashes: list[Receipt] = field(default_factory=list)


def facts_of(source: str, receipt: Receipt) -> RunFacts:
    """What a row says about its run."""
    return RunFacts(source, receipt.project, receipt.run_kind, receipt.validation, receipt.write_sandbox)


def settle(
    source: str, receipts: Sequence[Receipt], known_runs: Mapping[str, RunFacts], known_rows: Mapping[Key, KnownRow]
) -> Settled:
    """Sort the valid rows of a batch, in file order.

    Args:
        known_runs: run id → what the registry says about the run.
        known_rows: the receipts of those runs.
    """
    settled = Settled()
    runs = dict(known_runs)
    lanes = {key[:2]: row.lane_id for key, row in known_rows.items()}
    here: dict[Key, Receipt] = {}
    for receipt in receipts:
        stored = known_rows.get(receipt.key)
        if stored is not None:
            if stored.row_sha256 == receipt.row_sha256:
                settled.unchanged += 1
            else:
                settled.clashes.append(receipt)
            continue
        first = here.get(receipt.key)
        if first is not None:
            if first.row_sha256 == receipt.row_sha256:
                settled.unchanged += 1
            else:
                settled.conflicts.append(conflict(receipt, first._asdict(), f"line {first.line} of this file"))
            continue
        facts = facts_of(source, receipt)
        run = runs.setdefault(receipt.run_id, facts)
        if run != facts:
            settled.conflicts.append(_run_conflict(receipt, facts, run))
            continue
        lane = lanes.setdefault((receipt.run_id, receipt.task_id), receipt.lane_id)
        if lane != receipt.lane_id:
            text = f"another attempt at the task says lane {lane}"
            settled.conflicts.append(rejected(receipt.line, "lane", str(receipt.lane_id), Reason.CONFLICT, text))
            continue
        here[receipt.key] = receipt
        settled.fresh.append(receipt)
    return settled


def conflict(receipt: Receipt, stored: Mapping[str, Any], where: str) -> Rejected:
    """The refusal of a row whose key is known with other values; names the first column that differs.

    Args:
        stored: the known row, by the names of `Receipt`.
        where: where the known row stands, for the sentence.
    """
    for name, column in COMPARED.items():
        mine, theirs = getattr(receipt, name), stored.get(name)
        if mine != theirs and not (name in {"completed_at", "started_at"} and receipt.time_precision == "day"):
            return rejected(receipt.line, column, _shown(mine), Reason.CONFLICT, f"{where} says {_shown(theirs)!r}")
    return rejected(receipt.line, "", "\t".join(map(str, receipt.key)), Reason.CONFLICT, f"{where} differs")


def _run_conflict(receipt: Receipt, facts: RunFacts, run: RunFacts) -> Rejected:
    name = next(name for name in RunFacts._fields if getattr(facts, name) != getattr(run, name))
    mine, theirs = getattr(facts, name), getattr(run, name)
    column = "run_id" if name == "source" else name
    return rejected(receipt.line, column, _shown(mine), Reason.CONFLICT, f"the run says {name} {_shown(theirs)!r}")


def _shown(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)


class Span(NamedTuple):
    """From the earliest start to the latest end."""

    started_at: datetime
    completed_at: datetime


def spans(receipts: Sequence[Receipt], by: str) -> dict[str, Span]:
    """The span of each group; `by` is the field of `Receipt` that groups."""
    found: dict[str, Span] = {}
    for receipt in receipts:
        name = getattr(receipt, by)
        span = found.get(name)
        found[name] = (
            Span(receipt.started_at, receipt.completed_at)
            if span is None
            else Span(min(span.started_at, receipt.started_at), max(span.completed_at, receipt.completed_at))
        )
    return found


def last_attempts(receipts: Sequence[Receipt]) -> dict[tuple[str, str], Receipt]:
    """The highest attempt of each (run, task): its status is the task's."""
    last: dict[tuple[str, str], Receipt] = {}
    for receipt in receipts:
        key = (receipt.run_id, receipt.task_id)
        if key not in last or receipt.attempt > last[key].attempt:
            last[key] = receipt
    return last
