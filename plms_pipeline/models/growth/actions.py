"""Which runs, bars and receipts of trainings may go?

A training without a row is one that nobody waits for, killed before it was registered or only tried. It goes when it is old.
Whatever a row refers to stays for ever: a decision is about its bytes, and a rollback may need them. Bars stay while they are
the current dataset, while a row or a run that stays was made of them, and while they are young: a training that runs now read
them when it began. The receipts of a training of estimates follow the same rules; the books themselves are their dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from plms_pipeline.errors import Conflict, PlmsError
from plms_pipeline.models.dataset.files import SNAPSHOTS as BARS
from plms_pipeline.models.dataset.files import current_digest
from plms_pipeline.models.estimating.files import SNAPSHOTS as RECEIPTS
from plms_pipeline.models.growth import files, store
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class Stale:
    """What may go, in the order in which it goes: name relative to the data folder → bytes."""

    runs: dict[str, int]
    snapshots: dict[str, int]
    receipts: dict[str, int]


def stale(registry: Registry, root: Path, *, before: datetime) -> Stale:
    """Runs, bars and receipts that nothing refers to and nobody touched since a moment.

    Args:
        root: the data folder.
        before: aware.
    """
    # Files first: what is registered meanwhile is seen by the rows that are asked after them.
    runs, bars, receipts = files.runs(root), files.snapshots(root, BARS), files.snapshots(root, RECEIPTS)
    with registry.reading() as session:
        folders, contents = store.folders(session), store.contents(session)
    limit = before.timestamp()
    going = {one.name: one.size for one in runs if one.name not in folders and one.changed < limit}
    needed = {one.content for one in runs if one.name not in going} | contents

    def unneeded(kept: list[files.Kept]) -> dict[str, int]:
        return {one.name: one.size for one in kept if one.content not in needed and one.changed < limit}

    try:
        needed.add(current_digest(root))
    except PlmsError:
        # Nobody knows which bars are the dataset: none of them goes.
        return Stale(going, {}, unneeded(receipts))
    return Stale(going, unneeded(bars), unneeded(receipts))


def remover(registry: Registry, root: Path, remove: Callable[[Path], object]) -> Callable[[str], None]:
    """Removes one thing of `stale` by its name, unless a row came to refer to it meanwhile.

    Args:
        remove: removes a file or a folder.
    """

    def gone(name: str) -> None:
        with registry.reading() as session:
            is_needed = name in store.folders(session) or Path(name).stem in store.contents(session)
        is_bars = name.startswith(f"{BARS}/")
        if is_needed or (is_bars and Path(name).stem == current_digest(root)):
            raise Conflict(f"{name} is needed since a moment ago; it stays.", code="needed_again")
        remove(root / name)

    return gone
