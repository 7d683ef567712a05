"""How does a file come into the books, and what if somebody pulls the plug?

The file is inspected whole before anything is written. Then, batch by batch: text, rules, and one transaction that inserts what
is new and marks its days as changed. Every insert is keyed, so an import that was killed is simply run again: rows that landed
are unchanged, the rest follows, and the registry ends as if nothing had happened. No transaction is opened before the
first batch with a valid row; a file without any leaves no trace.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.store import record
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Unavailable
from plms_pipeline.intake.actions.landing import Landed, land, preview
from plms_pipeline.intake.batch import BATCH_ROWS, Cells
from plms_pipeline.intake.files.inspecting import Inspected, inspect, remedy, unchanged
from plms_pipeline.intake.files.quarantine import QuarantineFile, quarantine_path
from plms_pipeline.intake.files.reading import columns_of, read
from plms_pipeline.intake.mapping import Plan, Source, fit, to_cells
from plms_pipeline.intake.ranks import RankBuilder, Ranks, day_rows
from plms_pipeline.intake.reasons import RULES, Rejected
from plms_pipeline.intake.rules import Limits, check
from plms_pipeline.intake.seen import Seen
from plms_pipeline.intake.store import importing as store
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that was inspected and fitted to its source: it can be imported."""

    inspected: Inspected
    plan: Plan


@dataclass(slots=True)
class ImportResult:
    """What an import did: `rows` = `inserted` + `unchanged` + the sum of `quarantined`. Conflicts are among the quarantined.

    `quarantined` counts by reason code; `days` are the UTC days that changed.
    """

    file: str
    source: str
    file_sha256: str
    is_dry_run: bool
    ignored_columns: tuple[str, ...]
    rows: int = 0
    inserted: int = 0
    unchanged: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    days: set[date] = field(default_factory=set)
    quarantine: Path | None = None
    first_refusal: Rejected | None = None

    @property
    def n_quarantined(self) -> int:
        """How many rows were refused."""
        return sum(self.quarantined.values())

    @property
    def conflicts(self) -> int:
        """How many rows were refused because the key is known with other values."""
        return self.quarantined["conflict"]

    def refuse(self, rejected: Sequence[Rejected]) -> None:
        """Count refusals."""
        self.quarantined.update(row.reason.value for row in rejected)
        if self.first_refusal is None and rejected:
            self.first_refusal = rejected[0]


def prepare(path: Path, source: Source, *, renames: Mapping[str, str], constants: Mapping[str, str]) -> Prepared:
    """Inspect a file and fit its columns to the source, writing nothing.

    Raises:
        BadInput: the file is no table that can be read to its end, or lacks a required column.
    """
    inspected = inspect(path, source.required)
    columns = columns_of(inspected, source)
    return Prepared(inspected, fit(source, columns, renames=renames, constants=constants, thing=str(path)))


def import_file(
    registry: Registry,
    prepared: Prepared,
    *,
    settings: Settings,
    clock: Clock,
    actor: Actor,
    dry_run: bool = False,
    progress: Progress | None = None,
    batch_rows: int = BATCH_ROWS,
) -> ImportResult:
    """Import a prepared file, or with `dry_run` say what an import would do.

    Args:
        progress: called after each batch with its number of rows.

    Raises:
        BadInput: no row is valid (nothing was written), or the file changed while it was read.
        Unavailable: registry or disk is away; the batches that landed are kept, the same command goes on.
    """
    plan, inspected = prepared.plan, prepared.inspected
    result = ImportResult(inspected.thing, plan.source.name, inspected.sha256, dry_run, plan.ignored)
    target = quarantine_path(settings.data_dir, plan.source.name, inspected.sha256)
    seen = Seen() if dry_run else None
    with _collected_per_batch() as collect, QuarantineFile(target, inspected.thing) as quarantine:
        for n_rows, receipts, rejected in _checked(registry, prepared, settings, clock, batch_rows):
            result.rows += n_rows
            if seen is not None:
                landed = preview(registry, plan.source.name, receipts, seen)
            else:
                landed = land(registry, plan.source.name, inspected.sha256, receipts, now=clock.now(), actor=actor.name)
            _count(result, landed, rejected)
            if not dry_run:
                quarantine.add(sorted([*rejected, *landed.conflicts]))
            if progress is not None:
                progress(n_rows)
            collect()
        if not unchanged(inspected):
            raise BadInput(
                f"{inspected.path} changed while it was read; what was read is kept, import it again when it is whole.",
                code="file_changed",
            )
        if result.inserted + result.unchanged == 0:
            raise BadInput(_no_valid_row(prepared, result), code="no_valid_row")
        result.quarantine = target if quarantine.count else None
        if not dry_run:
            _audit(registry, result, clock=clock, actor=actor)
    return result


@contextmanager
def _collected_per_batch() -> Iterator[Callable[[], object]]:
    """Let the cyclic garbage collector run once per batch instead of a hundred times in it.

    A batch is a hundred thousand tuples without a cycle, which reference counting frees; looking through all of them again
    and again, and through every imported module, was a fifth of the time of an import.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield gc.collect
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def _count(result: ImportResult, landed: Landed, rejected: Sequence[Rejected]) -> None:
    result.inserted += landed.inserted
    result.unchanged += landed.unchanged
    result.refuse(rejected)
    result.refuse(landed.conflicts)
    result.days |= landed.days


def _checked(
    registry: Registry, prepared: Prepared, settings: Settings, clock: Clock, batch_rows: int
) -> Iterator[tuple[int, list[Any], list[Rejected]]]:
    """Batches as (number of rows, valid rows, refused rows)."""
    plan = prepared.plan
    limits = Limits(
        settings.max_cost_usd, settings.max_duration_ms, settings.max_tokens, settings.first_day, clock.now()
    )
    with registry.reading() as session:
        book = store.lane_book(session)
    ranks: Ranks | None = None
    for raw in read(prepared.inspected, plan.source, plan.columns, batch_rows):
        cells = to_cells(plan, raw)
        if ranks is None and day_rows(cells):
            ranks = _ranks(prepared, batch_rows)
        checked = check(cells, plan, limits, book, ranks)
        yield len(raw) + len(raw.broken), checked.receipts, sorted([*raw.broken, *checked.rejected])


def _ranks(prepared: Prepared, batch_rows: int) -> Ranks:
    """One pass over the whole file for the ranks of its rows within their days."""
    plan = prepared.plan
    builder = RankBuilder(plan.source.key)
    for raw in read(prepared.inspected, plan.source, plan.columns, batch_rows):
        builder.add(_keys_only(to_cells(plan, raw)))
    return builder.ranks()


def _keys_only(cells: Cells) -> Cells:
    return replace(cells, raw={})


def _no_valid_row(prepared: Prepared, result: ImportResult) -> str:
    source = prepared.plan.source
    path = prepared.inspected.path
    if result.rows == 0:
        return f"{path} has a header but no row; nothing was imported. {remedy(source.required)}"
    counted = ", ".join(f"{n} × {code}" for code, n in result.quarantined.most_common(4))
    first = result.first_refusal
    example = ""
    if first is not None:
        cell = f"{first.column} = {first.value[:60]!r}" if first.column else repr(first.value[:60])
        example = f" First: line {first.line}, {cell}: {RULES[first.reason]}."
    return (
        f"{path} holds no valid row, so nothing was imported ({result.rows} refused: {counted}).{example} "
        f"{remedy(source.required)}"
    )


def _audit(registry: Registry, result: ImportResult, *, clock: Clock, actor: Actor) -> None:
    details: dict[str, Any] = {
        "source": result.source, "file_sha256": result.file_sha256, "rows": result.rows, "inserted": result.inserted,
        "unchanged": result.unchanged, "quarantined": dict(sorted(result.quarantined.items())),
    }  # fmt: skip
    outcome = "partial" if result.n_quarantined else "done"
    with registry.writing() as session:
        record(
            session, at=clock.now(), actor=actor, action="import_receipts", subject=result.file, outcome=outcome,
            details=details,
        )  # fmt: skip


__all__ = ["BadInput", "ImportResult", "Prepared", "Progress", "Unavailable", "import_file", "prepare"]
