"""How does the Parquet file of a day come to agree with the book, whoever else is writing?

Read the day with the number of its last change, write the file, note that number. The note is refused when a newer one
stands, and then the day is written again: two writers may overlap, but the last bytes on disk are those of the newest
note. A process killed between file and note leaves a file that the footer digest gives away, and the next night writes it
again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from plms_pipeline.clock import Clock
from plms_pipeline.errors import Unavailable
from plms_pipeline.intake.dayfile import ROWS_KEY, SCHEMA_VERSION, day_table
from plms_pipeline.intake.files.days import DayFiles, parquet_bytes
from plms_pipeline.intake.store import days as store
from plms_pipeline.registry.engine import Registry

ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class WrittenDay:
    """What a day's file holds now; `has_changed` when its bytes are others than those last noted or found."""

    day: date
    n_receipts: int
    rows_sha256: str
    file_sha256: str
    size: int
    path: str
    has_changed: bool
    schema_version: str = SCHEMA_VERSION


def write_receipt_day(registry: Registry, files: DayFiles, day: date, *, clock: Clock) -> WrittenDay:
    """Write one day's file from the registry and note it. Idempotent: same receipts, same bytes.

    Raises:
        Unavailable: registry or disk is away, or the day keeps changing.
    """
    for _ in range(ATTEMPTS):
        with registry.reading() as session:
            state = store.day_state(session, day)
            table = day_table(store.day_rows(session, day), day)
        data = parquet_bytes(table)
        has_written = files.write(day, data)
        file_sha256 = hashlib.sha256(data).hexdigest()
        rows_sha256 = table.schema.metadata[ROWS_KEY].decode()
        path = files.noted(day)
        with registry.writing() as session:
            is_noted = store.mark_written(
                session, day, state.changed_seq, n_receipts=table.num_rows, rows_sha256=rows_sha256,
                file_sha256=file_sha256, path=path, at=clock.now(),
            )  # fmt: skip
        if is_noted:
            has_changed = has_written or state.file_sha256 != file_sha256
            return WrittenDay(
                day, table.num_rows, rows_sha256, file_sha256, len(data), str(files.path(day)), has_changed
            )
    raise Unavailable(
        f"The receipts of {day} kept changing while their file was written, {ATTEMPTS} times in a row; run it again when "
        "the importers have ended.",
        code="overtaken",
    )


def write_receipt_days(
    registry: Registry, files: DayFiles, days: Iterable[date], *, clock: Clock
) -> Iterator[WrittenDay]:
    """Write days one after the other; memory is that of one day."""
    for day in days:
        yield write_receipt_day(registry, files, day, clock=clock)


def stale_days(registry: Registry, files: DayFiles) -> list[date]:
    """The days whose file is missing, damaged, or not what the registry holds, in order."""
    with registry.reading() as session:
        states = store.day_states(session)
    return [state.day for state in states if state.is_dirty or files.rows_sha256(state.day) != state.rows_sha256]
