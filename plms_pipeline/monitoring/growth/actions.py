"""Purges what grew old: counts it first, then removes it kind by kind, each step repeatable.

A run goes from Dagster's database before its files do: killed between the two, the files belong to a run that nobody knows,
which the next purge finds. A dry purge takes the same way and removes nothing, so that its numbers are those of the real one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from plms_pipeline.budget.history import store as looks
from plms_pipeline.clock import Clock
from plms_pipeline.instance.files.home import dagster_state_dir
from plms_pipeline.models.growth import actions as models
from plms_pipeline.monitoring.growth import files, store
from plms_pipeline.monitoring.growth.ages import KINDS, MOST_RUNS, Ages, Outcome, Purged, ages, of_gone, total
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.closing import orphaned_folders, sweep_orphans
from plms_pipeline.settings import Settings

T = TypeVar("T")
logger = logging.getLogger(__name__)


class History(Protocol):
    """What Dagster remembers, as far as a purge asks it."""

    def ended_runs(self, before: float, *, most: int, needed: frozenset[str]) -> list[str]:
        """Runs that ended before a moment (epoch seconds), are not needed and nobody's newest word, the oldest first."""

    def delete_run(self, run_id: str) -> None:
        """Forget a run and its events."""

    def known(self, run_ids: Iterable[str]) -> frozenset[str]:
        """Those of these runs that are remembered."""

    def ticks(self, before: float) -> int:
        """How many ticks are older than a moment."""

    def purge_ticks(self, before: float) -> None:
        """Forget those ticks."""


@dataclass(slots=True)
class _Tally:
    is_dry: bool
    purged: list[Purged] = field(default_factory=list)
    failed: int = 0

    def each(self, kind: str, things: Mapping[T, int], remove: Callable[[T], object]) -> None:
        """Remove things of one kind, and count those that went."""
        went = [size for thing, size in things.items() if self.tried(kind, remove, thing)]
        self.purged.append(total(kind, went))

    def tried(self, kind: str, remove: Callable[[T], object], thing: T) -> bool:
        """Whether one thing went, or would. One that will not is told and stays for the next time; the others go."""
        if self.is_dry:
            return True
        try:
            remove(thing)
        except Exception as error:  # noqa: BLE001 - Dagster's storages raise what their drivers do
            self.failed += 1
            logger.warning("not_purged kind=%s reason=%s", kind, type(error).__name__)
            return False
        return True


def purge(
    registry: Registry,
    settings: Settings,
    *,
    clock: Clock,
    history: History | None,
    is_dry: bool,
    most: int = MOST_RUNS,
) -> Outcome:
    """Remove what is older than the settings say, or only count it.

    Args:
        registry: asked which runs exist; nothing of it is changed but the history of budgets, which is thinned.
        settings: the ages and the folders.
        clock: what old means.
        history: Dagster's; None when it never stored anything.
        is_dry: count only, change nothing.
        most: at most so many runs of Dagster.

    Raises:
        Unavailable: the registry is away.
    """
    old = ages(
        clock.now(), runs_days=settings.purge_runs_days, ticks_days=settings.purge_ticks_days,
        quarantine_days=settings.purge_quarantine_days, temporary_days=settings.purge_temporary_days,
        model_runs_days=settings.purge_model_runs_days,
    )  # fmt: skip
    tally = _Tally(is_dry)
    with registry.reading() as session:
        needed = store.runs_of_letters(session)
    has_more = history is not None and _purge_history(
        tally, history, dagster_state_dir(settings), old, most=most, needed=needed
    )
    tally.each("quarantine", files.quarantined(settings.data_dir, old.quarantine), files.remove)
    tally.each("temporary", files.temporary(settings.data_dir, settings.reports_dir, old.temporary), files.remove)
    _purge_models(tally, registry, settings.data_dir, old)
    staged = {
        name: files.tree_size(settings.data_dir / name)[0]
        for name in orphaned_folders(registry, settings=settings, clock=clock)
    }
    went = (
        staged
        if is_dry
        else {name: staged.get(name, 0) for name in sweep_orphans(registry, settings=settings, clock=clock)}
    )
    tally.purged.append(total("staging", went.values()))
    tally.purged.append(_thin_history(registry, clock.now(), is_dry=is_dry))
    found = {each.kind: each for each in tally.purged}
    outcome = Outcome(
        tuple(found.get(kind, Purged(kind, 0, 0)) for kind in KINDS), is_dry, has_more=has_more, failed=tally.failed
    )
    logger.info("purged dry=%s bytes=%d failed=%d", is_dry, outcome.size, outcome.failed)
    return outcome


def _purge_models(tally: _Tally, registry: Registry, data_dir: Path, old: Ages) -> None:
    """Runs of trainings, bars and receipts that nothing refers to; those of a run that goes now go with it."""
    found = models.stale(registry, data_dir, before=old.model_runs)
    remove = models.remover(registry, data_dir, files.remove)
    tally.each("model_runs", found.runs, remove)
    tally.each("market_snapshots", found.snapshots, remove)
    tally.each("estimate_snapshots", found.receipts, remove)


def _thin_history(registry: Registry, now: datetime, *, is_dry: bool) -> Purged:
    """Looks at budgets that age has made superfluous."""
    with registry.reading() as session:
        ids = looks.superfluous_looks(session, now=now)
    if ids and not is_dry:
        with registry.writing() as session:
            looks.forget(session, ids)
    return Purged("runway_history", len(ids), None)


def _purge_history(
    tally: _Tally, history: History, state_dir: Path, old: Ages, *, most: int, needed: frozenset[str]
) -> bool:
    """Runs, then what lies beside them, then ticks; whether there are more runs than may go at once."""
    # Before the runs are asked: what lies here for a run that is made later is seen the next time.
    beside = {
        "shards": files.shards(state_dir),
        **{kind: files.folders_of_runs(state_dir, kind) for kind in ("compute_logs", "run_artifacts")},
    }
    ended = history.ended_runs(old.runs.timestamp(), most=most + 1, needed=needed)
    gone = [run for run in ended[:most] if tally.tried("dagster_runs", history.delete_run, run)]
    tally.purged.append(Purged("dagster_runs", len(gone), None))
    known = history.known({run for found in beside.values() for run in found})
    removers: dict[str, Callable[[str], object]] = {
        "shards": partial(files.remove_shard, state_dir),
        "compute_logs": partial(files.remove_folder_of_run, state_dir, "compute_logs"),
        "run_artifacts": partial(files.remove_folder_of_run, state_dir, "run_artifacts"),
    }
    for kind, found in beside.items():
        tally.each(kind, of_gone(found, gone=frozenset(gone), known=known, before=old.orphans), removers[kind])
    if not tally.is_dry:
        # Deleting a run that had no file of events makes an empty one.
        for run in set(gone) - set(beside["shards"]):
            files.remove_shard(state_dir, run)
    before = old.ticks.timestamp()
    n = history.ticks(before)
    went = n if n and tally.tried("dagster_ticks", history.purge_ticks, before) else 0
    tally.purged.append(Purged("dagster_ticks", went, None))
    tally.each("tick_logs", files.tick_logs(state_dir, old.ticks), files.remove)
    return len(ended) > most
