"""Which rows of a batch are receipts, and what exactly is wrong with the others?

The one gate into the book of record. Every refusal names line, column, value and rule; nothing is repaired, guessed or
clipped here, because an append-only book keeps a wrong guess for ever. Column by column, so a million rows cost seconds; the first
finding in column order is the row's reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from plms_pipeline.intake import parsing
from plms_pipeline.intake.batch import Cells
from plms_pipeline.intake.canonical import FIELDS, NATURAL_KEY_LIMIT, WORDS, Field, Receipt
from plms_pipeline.intake.identity import natural_key, row_sha256, run_id_of
from plms_pipeline.intake.mapping import Plan, Unit
from plms_pipeline.intake.parsing import Column
from plms_pipeline.intake.ranks import SECONDS_OF_A_DAY, Ranks
from plms_pipeline.intake.reasons import Reason, Rejected, rejected

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a receipt may not exceed: USD, ms, tokens; nothing completed before `first_day` (UTC) or after `now`."""

    max_cost_usd: Decimal
    max_duration_ms: int
    max_tokens: int
    first_day: date
    now: datetime


@dataclass(frozen=True, slots=True)
class Checked:
    """Valid rows in file order, and the refused ones."""

    receipts: list[Receipt]
    rejected: list[Rejected]


class _Findings:
    """The first finding of each row."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.first: dict[int, Rejected] = {}

    def add(self, row: int, field: str, reason: Reason, detail: str = "") -> None:
        if row not in self.first:
            cells = self.cells
            self.first[row] = rejected(cells.lines[row], cells.origin(field), cells.shown(field, row), reason, detail)


def check(cells: Cells, plan: Plan, limits: Limits, lane_book: Mapping[str, int], ranks: Ranks | None) -> Checked:
    """Validate one batch.

    Args:
        cells: text under canonical names.
        plan: the source fitted to the file, with the units of its columns.
        lane_book: lane number, name and alias, case-folded, to lane number.
        ranks: by row ordinal (ranks.py); needed when a row gives only the day on which it ended.

    Returns:
        Every row is either a receipt or refused; broken rows of the reader are not in `cells` and not counted here.
    """
    findings = _Findings(cells)
    columns = {field.name: _column(field, cells, plan, limits, lane_book) for field in FIELDS}
    for field in FIELDS:
        for row, (reason, detail) in sorted(columns[field.name].bad.items()):
            findings.add(row, field.name, reason, detail)
        if _must_be_filled(field, cells, plan):
            for row, cell in enumerate(cells.fields[field.name]):
                if not cell:
                    findings.add(row, field.name, Reason.EMPTY)
    receipts = [
        receipt
        for row in range(len(cells))
        if row not in findings.first and (receipt := _receipt(row, columns, findings, plan, limits, ranks)) is not None
    ]
    return Checked(receipts, [findings.first[row] for row in sorted(findings.first)])


def _must_be_filled(field: Field, cells: Cells, plan: Plan) -> bool:
    return field.name in cells.fields and (field.required or field.name in plan.source.key) and not field.default


def _column(field: Field, cells: Cells, plan: Plan, limits: Limits, lane_book: Mapping[str, int]) -> Column[Any]:
    """Parse the cells of one field; an absent column is the field's default in every row."""
    texts: Sequence[str] = cells.fields.get(field.name, ())
    if not texts or field.default:
        texts = [text or field.default for text in texts] or [field.default] * len(cells)
    match field.kind:
        case "text":
            keeps = field.name != "run_id" or plan.source.keeps_run_id
            return parsing.texts(texts, limit=field.limit if keeps else 255)
        case "word":
            return parsing.words(texts, WORDS[field.name])
        case "lane":
            return parsing.lanes(texts, lane_book)
        case "flag":
            return parsing.flags(texts)
        case "money":
            return parsing.money(texts, limit=limits.max_cost_usd)
        case "number":
            low, high = {"test_pass_rate": (0.0, 1.0), "echo_cos": (-1.0, 1.0)}.get(field.name, (0.0, 1e9))
            return parsing.numbers(texts, low=low, high=high)
        case "instant":
            take = plan.takes.get(field.name)
            return _moments(texts, take.unit if take else "canonical")
        case "integer":
            return parsing.integers(texts, limit=_integer_limit(field.name, limits))


def _integer_limit(name: str, limits: Limits) -> int:
    if name == "duration_ms":
        return limits.max_duration_ms
    return limits.max_tokens if name.startswith("tokens") else parsing.INT32


def _moments(texts: Sequence[str], unit: Unit) -> Column[datetime]:
    if unit == "epoch_ms":
        return parsing.epoch_moments(texts, per_second=1_000)
    if unit == "epoch_ns":
        return parsing.epoch_moments(texts, per_second=1_000_000_000)
    return parsing.iso_moments(texts, assume_utc=unit == "iso_utc")


def _receipt(
    row: int, columns: Mapping[str, Column[Any]], findings: _Findings, plan: Plan, limits: Limits, ranks: Ranks | None
) -> Receipt | None:
    """The receipt of a row whose cells are all well-formed, or None after a finding about how they fit together."""
    value = {name: column.values[row] for name, column in columns.items()}
    source = plan.source
    only_day = source_gives_only_day(findings.cells, row)
    value["task_id"] = value["task_id"] or value["run_id"]
    value["project"] = value["project"] or value["provider"]
    key = natural_key([_key_part(value[name]) for name in source.key])
    problem = _identity_problem(value, key) or _time_problem(value, findings.cells, only_day, limits)
    problem = problem or _split_tokens(value, limits)
    if problem is not None:
        findings.add(row, *problem)
        return None
    digest = row_sha256(source.name, [key, only_day, *(value[field.name] for field in FIELDS)])
    moment: datetime = value["completed_at"]
    if only_day:
        if ranks is None:
            raise ValueError("a row that gives only its day needs the ranks of its file")
        rank = int(ranks[findings.cells.first + row])
        moment += timedelta(seconds=rank)
        if rank >= SECONDS_OF_A_DAY or moment > limits.now:
            reason = Reason.TOO_MANY_IN_A_DAY if rank >= SECONDS_OF_A_DAY else Reason.IN_THE_FUTURE
            findings.add(row, "completed_at", reason, f"its rank in the day is {rank}")
            return None
    started = moment if only_day else _started(value)
    return Receipt(
        line=findings.cells.lines[row],
        run_id=value["run_id"] if source.keeps_run_id else run_id_of(source.name, key),
        task_id=value["task_id"],
        attempt=value["attempt"],
        project=value["project"],
        lane_id=value["lane"],
        provider=value["provider"],
        status=value["status"],
        completed_at=moment,
        started_at=started,
        time_precision="day" if only_day else "ms",
        duration_ms=value["duration_ms"],
        cost_usd=value["cost_usd"],
        tokens=value["tokens"],
        tokens_input=value["tokens_input"],
        tokens_output=value["tokens_output"],
        tokens_cached=value["tokens_cached"],
        tokens_reasoning=value["tokens_reasoning"],
        validation=value["validation"],
        run_kind=value["run_kind"],
        write_sandbox=value["write_sandbox"],
        test_pass_rate=value["test_pass_rate"],
        api_calls=value["api_calls"],
        energy_kwh=value["energy_kwh"],
        echo_cos=value["echo_cos"],
        task_kind=value["task_kind"],
        complexity=value["complexity"],
        natural_key=key,
        row_sha256=digest,
    )


def source_gives_only_day(cells: Cells, row: int) -> bool:
    """Whether the row's end is a bare date."""
    return parsing.is_day(cells.fields["completed_at"][row])


def _key_part(part: object) -> str:
    return part.date().isoformat() if isinstance(part, datetime) else str(part)


def _started(value: Mapping[str, Any]) -> datetime:
    started: datetime | None = value["started_at"]
    ended: datetime = value["completed_at"]
    return started if started is not None else ended - MILLISECOND * (value["duration_ms"] or 0)


Problem = tuple[str, Reason, str]


def _identity_problem(value: Mapping[str, Any], key: str) -> Problem | None:
    if value["attempt"] < 1:
        return "attempt", Reason.NOT_A_FRACTION, "attempts count from 1"
    if len(key) > NATURAL_KEY_LIMIT:
        return "task_id", Reason.TOO_LONG, f"the key has more than {NATURAL_KEY_LIMIT} characters"
    if value["run_kind"] == "baseline" and value["write_sandbox"]:
        return "write_sandbox", Reason.INCONSISTENT, "a baseline run does not write into a sandbox"
    return None


def _time_problem(value: dict[str, Any], cells: Cells, only_day: bool, limits: Limits) -> Problem | None:
    """Rules about moments; fills `duration_ms` where the file has no such column but both moments."""
    ended: datetime = value["completed_at"]
    started: datetime | None = value["started_at"]
    if ended > limits.now:
        return "completed_at", Reason.IN_THE_FUTURE, f"now is {limits.now.isoformat(timespec='seconds')}"
    if ended.date() < limits.first_day:
        return "completed_at", Reason.TOO_OLD, f"PLMS_FIRST_DAY is {limits.first_day}"
    if started is None:
        return None
    if started.date() > ended.date() or (not only_day and started > ended):
        return "completed_at", Reason.BEFORE_START, f"started_at is {started.isoformat()}"
    elapsed = (ended - started) // MILLISECOND
    if elapsed > limits.max_duration_ms:
        return "started_at", Reason.ABOVE_LIMIT, f"from start to end at most {limits.max_duration_ms} ms"
    if not only_day and "duration_ms" not in cells.fields:
        value["duration_ms"] = elapsed
    return None


def _split_tokens(value: dict[str, Any], limits: Limits) -> Problem | None:
    """Make the token columns exclusive, and the total known where its parts are."""
    for part, inner in (("tokens_input", "tokens_cached"), ("tokens_output", "tokens_reasoning")):
        total = value[f"{part}_total"]
        if total is not None and value[part] is None:
            rest = total - (value[inner] or 0)
            if rest < 0:
                return f"{part}_total", Reason.INCONSISTENT, f"{inner} is {value[inner]}"
            value[part] = rest
    known = [value[name] for name in ("tokens_input", "tokens_output", "tokens_cached", "tokens_reasoning")]
    parts = sum(part for part in known if part is not None)
    if value["tokens"] is None:
        if value["tokens_input"] is None or value["tokens_output"] is None:
            return None
        if parts > limits.max_tokens:
            return "tokens", Reason.ABOVE_LIMIT, f"the parts sum to {parts}, at most {limits.max_tokens}"
        value["tokens"] = parts
    elif parts > value["tokens"]:
        return "tokens", Reason.INCONSISTENT, f"the parts sum to {parts}"
    return None
