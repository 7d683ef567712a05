"""How does a plan of tasks come in from a file, and what is wrong with it when it does not?"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plms_pipeline.errors import BadInput
from plms_pipeline.estimates.forecast import MAX_TASKS

COLUMNS: Final = ("lane", "provider", "tasks")


@dataclass(frozen=True, slots=True)
class Work:
    """Tasks of one lane for one provider."""

    lane_id: int
    provider: str
    tasks: int


def lane_of(word: str, lanes: Mapping[str, int]) -> int:
    """The lane behind a number, name or alias.

    Args:
        lanes: every word for a lane, case-folded → lane id.

    Raises:
        BadInput: no lane has that word.
    """
    found = lanes.get(word.strip().casefold())
    if found is None:
        numbers = ", ".join(str(lane) for lane in sorted(set(lanes.values())))
        raise BadInput(
            f"{word!r} is no registered lane; use a number, name or alias of {numbers}.", code="unknown_lane"
        )
    return found


def tasks_of(text: str, where: str) -> int:
    """A number of tasks.

    Raises:
        BadInput: it is no whole number from 1 to a million.
    """
    number = text.strip()
    if not (number.isascii() and number.isdecimal()) or not 1 <= int(number[:12]) <= MAX_TASKS:
        raise BadInput(f"{where}: {text[:40]!r} is no number of tasks; give 1 to {MAX_TASKS:,}.", code="bad_tasks")
    return int(number)


def parse_plan(
    text: str, name: str, lanes: Mapping[str, int], *, lane: str | None = None, provider: str | None = None
) -> list[Work]:
    """A CSV plan with the columns lane, provider and tasks; equal (lane, provider) lines are added up.

    Args:
        name: the file, for messages.
        lane, provider: stand in where the file has no such column; `tasks` defaults to 1.

    Raises:
        BadInput: a column is missing or unknown, or a line cannot be read; the message names line and column.
    """
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
    header = [column.strip().casefold() for column in rows.fieldnames or []]
    missing = [
        column for column, given in (("lane", lane), ("provider", provider)) if column not in header and not given
    ]
    unknown = [column for column in header if column not in COLUMNS]
    if missing or unknown or len(set(header)) != len(header):
        raise BadInput(
            f"{name} has the columns {', '.join(header) or '(none)'}; a plan is a CSV file with the columns "
            f"{', '.join(COLUMNS)} (lane and provider may come from --lane and --provider).",
            code="bad_plan",
        )
    rows.fieldnames = header
    found: Counter[tuple[int, str]] = Counter()
    for row in rows:
        where = f"{name} line {rows.line_num}"
        if None in row or None in row.values():
            raise BadInput(f"{where}: it has not {len(header)} columns, as the header says.", code="bad_plan")
        who = (row.get("provider") or provider or "").strip()
        if not who:
            raise BadInput(f"{where}, column provider: it is empty; name the model or service.", code="bad_plan")
        try:
            number = lane_of(row.get("lane") or lane or "", lanes)
        except BadInput as error:
            raise BadInput(f"{where}, column lane: {error.message}", code=error.code) from None
        found[number, who] += tasks_of(row.get("tasks") or "1", f"{where}, column tasks")
    if not found:
        raise BadInput(f"{name} holds no task; add lines below the header {','.join(COLUMNS)}.", code="bad_plan")
    return [Work(number, who, tasks) for (number, who), tasks in sorted(found.items())]
