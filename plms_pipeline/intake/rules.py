"""Which rows of a batch are receipts, and what exactly is wrong with the others?

The one gate into the book of record. Every refusal names line, column, value and rule; nothing is repaired, guessed or
clipped here, because an append-only book keeps a wrong guess for ever. Column by column, so a million rows cost seconds;
the first finding is the row's reason: cells in the order of the columns, then how they fit together.
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
from plms_pipeline.intake.identity import natural_keys, row_digests, run_ids_of
from plms_pipeline.intake.mapping import Plan, Unit
from plms_pipeline.intake.parsing import Column
from plms_pipeline.intake.ranks import SECONDS_OF_A_DAY, Ranks
from plms_pipeline.intake.reasons import Reason, Rejected, rejected

MILLISECOND = timedelta(milliseconds=1)
Values = dict[str, list[Any]]


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


class Findings:
    """The first finding of each row."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.first: dict[int, Rejected] = {}

    def add(self, row: int, field: str, reason: Reason, detail: str = "") -> None:
        """Note a finding unless the row has one."""
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
    findings = Findings(cells)
    values = _parse(cells, plan, limits, lane_book, findings)
    values["task_id"] = _first_of(values["task_id"], values["run_id"])
    values["project"] = _first_of(values["project"], values["provider"])
    only_day = _only_day(cells)
    good = [row for row in range(len(cells)) if row not in findings.first]
    keys = natural_keys([values[name] for name in plan.source.key], len(cells))
    _check_identity(good, values, keys, findings)
    _check_moments(good, values, only_day, limits, findings)
    _check_tokens(good, values, limits, findings)
    digests = row_digests(plan.source.name, [keys, only_day, *(values[field.name] for field in FIELDS)])
    _place_in_day(good, values, only_day, ranks, limits, findings)
    return Checked(
        _receipts(values, keys, digests, only_day, plan, findings),
        [findings.first[row] for row in sorted(findings.first)],
    )


def _parse(cells: Cells, plan: Plan, limits: Limits, lane_book: Mapping[str, int], findings: Findings) -> Values:
    """Every field's values; cells that are bad or missing are findings, in the order of the columns."""
    values: Values = {}
    for field in FIELDS:
        column = _column(field, cells, plan, limits, lane_book)
        values[field.name] = column.values
        for row in sorted(column.bad):
            findings.add(row, field.name, *column.bad[row])
        must_be_filled = (field.required or field.name in plan.source.key) and not field.default
        if must_be_filled and not all(texts := cells.fields.get(field.name, ())):
            for row, text in enumerate(texts):
                if not text:
                    findings.add(row, field.name, Reason.EMPTY)
    return values


def _column(field: Field, cells: Cells, plan: Plan, limits: Limits, lane_book: Mapping[str, int]) -> Column[Any]:
    """Parse the cells of one field; an absent column is the field's default in every row."""
    if field.name not in cells.fields:
        only = _parse_cells(field, [field.default], plan, limits, lane_book)
        return Column(only.values * len(cells))
    texts = cells.fields[field.name]
    if field.default:
        texts = [text or field.default for text in texts]
    return _parse_cells(field, texts, plan, limits, lane_book)


def _parse_cells(
    field: Field, texts: Sequence[str], plan: Plan, limits: Limits, lane_book: Mapping[str, int]
) -> Column[Any]:
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


def _first_of(first: list[Any], second: list[Any]) -> list[Any]:
    return [a if a is not None else b for a, b in zip(first, second, strict=True)]


def _only_day(cells: Cells) -> list[bool]:
    return [len(text) == 10 and parsing.is_day(text) for text in cells.fields["completed_at"]]


def _check_identity(good: Sequence[int], values: Values, keys: Sequence[str], findings: Findings) -> None:
    attempts, kinds, sandboxes = values["attempt"], values["run_kind"], values["write_sandbox"]
    for row in good:
        if attempts[row] < 1:
            findings.add(row, "attempt", Reason.NOT_A_FRACTION, "attempts count from 1")
        if len(keys[row]) > NATURAL_KEY_LIMIT:
            findings.add(row, "task_id", Reason.TOO_LONG, f"the key has more than {NATURAL_KEY_LIMIT} characters")
        if sandboxes[row] and kinds[row] == "baseline":
            findings.add(row, "write_sandbox", Reason.INCONSISTENT, "a baseline run does not write into a sandbox")


def _check_moments(
    good: Sequence[int], values: Values, only_day: Sequence[bool], limits: Limits, findings: Findings
) -> None:
    """Rules about moments; fills `duration_ms` where the file has no such column but both moments."""
    now = f"now is {limits.now.isoformat(timespec='seconds')}"
    first_moment = datetime(
        limits.first_day.year, limits.first_day.month, limits.first_day.day, tzinfo=limits.now.tzinfo
    )
    derives = "duration_ms" not in findings.cells.fields
    durations, all_started = values["duration_ms"], values["started_at"]
    longest = MILLISECOND * limits.max_duration_ms
    for row in good:
        ended, started = values["completed_at"][row], all_started[row]
        if ended > limits.now:
            findings.add(row, "completed_at", Reason.IN_THE_FUTURE, now)
        elif ended < first_moment:
            findings.add(row, "completed_at", Reason.TOO_OLD, f"PLMS_FIRST_DAY is {limits.first_day}")
        elif started is None:
            continue
        elif started > ended and not (only_day[row] and started.date() == ended.date()):
            findings.add(row, "completed_at", Reason.BEFORE_START, f"started_at is {started.isoformat()}")
        elif ended - started > longest:
            detail = f"from start to end at most {limits.max_duration_ms} ms"
            findings.add(row, "started_at", Reason.ABOVE_LIMIT, detail)
        elif derives and not only_day[row]:
            durations[row] = (ended - started) // MILLISECOND


def _check_tokens(good: Sequence[int], values: Values, limits: Limits, findings: Findings) -> None:
    """Make the token columns exclusive, and the total known where its parts are."""
    names = ("tokens_input", "tokens_output", "tokens_cached", "tokens_reasoning")
    if not any(name.startswith("tokens_") for name in findings.cells.fields):
        return
    for row in good:
        for part, inner in (("tokens_input", "tokens_cached"), ("tokens_output", "tokens_reasoning")):
            total = values[f"{part}_total"][row]
            if total is not None and values[part][row] is None:
                rest = total - (values[inner][row] or 0)
                if rest < 0:
                    findings.add(row, f"{part}_total", Reason.INCONSISTENT, f"{inner} is {values[inner][row]}")
                values[part][row] = rest
        parts = sum(values[name][row] or 0 for name in names)
        tokens = values["tokens"][row]
        if tokens is not None:
            if parts > tokens:
                findings.add(row, "tokens", Reason.INCONSISTENT, f"the parts sum to {parts}")
        elif values["tokens_input"][row] is not None and values["tokens_output"][row] is not None:
            values["tokens"][row] = parts
            if parts > limits.max_tokens:
                findings.add(
                    row, "tokens", Reason.ABOVE_LIMIT, f"the parts sum to {parts}, at most {limits.max_tokens}"
                )


def _place_in_day(
    good: Sequence[int],
    values: Values,
    only_day: Sequence[bool],
    ranks: Ranks | None,
    limits: Limits,
    findings: Findings,
) -> None:
    """Give rows whose time of day is unknown the second of their rank, and every row a start."""
    ended, started, durations = values["completed_at"], values["started_at"], values["duration_ms"]
    for row in good:
        if not only_day[row]:
            if started[row] is None:
                started[row] = ended[row] - MILLISECOND * (durations[row] or 0)
            continue
        if ranks is None:
            raise ValueError("a row that gives only its day needs the ranks of its file")
        rank = int(ranks[findings.cells.first + row])
        moment = ended[row] + timedelta(seconds=rank)
        if rank >= SECONDS_OF_A_DAY or moment > limits.now:
            reason = Reason.TOO_MANY_IN_A_DAY if rank >= SECONDS_OF_A_DAY else Reason.IN_THE_FUTURE
            findings.add(row, "completed_at", reason, f"its rank in the day is {rank}")
        ended[row] = started[row] = moment


def _receipts(
    values: Values,
    keys: Sequence[str],
    digests: Sequence[str],
    only_day: Sequence[bool],
    plan: Plan,
    findings: Findings,
) -> list[Receipt]:
    """The rows without a finding, as receipts."""
    source = plan.source
    columns: dict[str, Sequence[Any]] = {
        **values,
        "line": findings.cells.lines,
        "run_id": values["run_id"] if source.keeps_run_id else run_ids_of(source.name, keys),
        "lane_id": values["lane"],
        "time_precision": ["day" if is_day else "ms" for is_day in only_day],
        "natural_key": keys,
        "row_sha256": digests,
    }
    rows = zip(*(columns[name] for name in Receipt._fields), strict=True)
    if not findings.first:
        return [Receipt._make(row) for row in rows]
    return [Receipt._make(cells) for row, cells in enumerate(rows) if row not in findings.first]
