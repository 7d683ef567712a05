"""What may be purged, from which age on, and how much was it?

Of the registry only the history of budgets is on this list, thinned with age, and nothing that a row refers to: receipts,
decisions, ledger and audit stay for ever. What Dagster remembers is shown and never decided by, so it may go, except the newest
word about anything: the run that last materialized an asset or a partition stays however old it is, or the UI would call it
missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "dagster_runs": "ended runs of Dagster, with their events",
    "dagster_ticks": "ticks of schedules and sensors",
    "shards": "SQLite files of events of runs that are gone",
    "compute_logs": "output of steps of runs that are gone",
    "tick_logs": "output of ticks",
    "run_artifacts": "files that steps of gone runs handed on",
    "quarantine": "lists of rows that an import refused",
    "temporary": "what writers left half-written",
    "runway_history": "looks at budgets beside which a later one of their hour (after 30 days: day) is kept",
    "model_runs": "runs of trainings that never became candidates",
    "market_snapshots": "bars that no dataset, candidate or run needs",
    "estimate_snapshots": "receipts of trainings that no candidate or run needs",
    "staging": "folders of runs that belong to nobody",
}
MOST_RUNS: Final = 5_000
"""So many runs at most in one purge; what is left is told, and goes the next time."""
ORPHANED_AFTER: Final = timedelta(days=1)
"""A file of a run that Dagster does not know is a new run's for a moment: it is left alone until it is this old."""


@dataclass(frozen=True, slots=True)
class Ages:
    """From which moment back things are old; aware."""

    runs: datetime
    ticks: datetime
    quarantine: datetime
    temporary: datetime
    model_runs: datetime
    orphans: datetime


@dataclass(frozen=True, slots=True)
class Purged:
    """How much of one kind went, or would go; `size` in bytes, None where it is space inside of a database."""

    kind: str
    n: int
    size: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a purge did, kind by kind; `has_more` when it stopped at its limit, `failed` counts what would not go."""

    purged: tuple[Purged, ...]
    is_dry: bool
    has_more: bool
    failed: int

    @property
    def size(self) -> int:
        """Bytes of files in all."""
        return sum(each.size or 0 for each in self.purged)


def ages(
    now: datetime, *, runs_days: int, ticks_days: int, quarantine_days: int, temporary_days: int, model_runs_days: int
) -> Ages:
    """The moments before which things are old."""
    return Ages(
        runs=now - timedelta(days=runs_days),
        ticks=now - timedelta(days=ticks_days),
        quarantine=now - timedelta(days=quarantine_days),
        temporary=now - timedelta(days=temporary_days),
        model_runs=now - timedelta(days=model_runs_days),
        orphans=now - ORPHANED_AFTER,
    )


def of_gone(
    found: Mapping[str, tuple[int, float]], *, gone: frozenset[str], known: frozenset[str], before: datetime
) -> dict[str, int]:
    """What belongs to runs that are gone: name → bytes.

    Args:
        found: name of a run → bytes and newest change (epoch seconds) of what lies there for it.
        gone: runs that this purge removes.
        known: runs that Dagster still knows.
        before: what belongs to a run that nobody knows goes when it is older than this.
    """
    return {
        run: size
        for run, (size, changed) in found.items()
        if run in gone or (run not in known and changed < before.timestamp())
    }


def total(kind: str, sizes: Iterable[int]) -> Purged:
    """The sum of one kind of files."""
    listed = list(sizes)
    return Purged(kind, len(listed), sum(listed))
