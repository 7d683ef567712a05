"""Tells whether a backup is what was written: every byte is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plms_pipeline.errors import VerdictNo
from plms_pipeline.monitoring.backup.files import places
from plms_pipeline.monitoring.backup.manifest import (
    MANIFEST,
    Manifest,
    Unreadable,
    difference,
    missing_and_extra,
    parse,
)


def quiet(_what: str) -> None:
    """Nobody waits for what is being done."""


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether a backup is what was written: `problems` has one sentence for each file that is not."""

    place: str
    manifest: Manifest | None
    problems: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every byte is as it was written, and nothing else is there."""
        return not self.problems


def verify(url: str, *, looking: Callable[[str], None] = quiet) -> Verified:
    """Read every byte of a backup and compare it with the manifest: nothing changed, missing, added or cut off.

    Raises:
        NotFound: there is no backup.
        Unavailable: its place does not answer.
    """
    place = places.find_place(url)
    try:
        manifest = parse(b"".join(place.chunks(MANIFEST)))
    except (Unreadable, FileNotFoundError) as error:
        return Verified(place.name, None, (f"{MANIFEST} cannot be trusted: {error}",))
    present = place.names()
    problems = missing_and_extra(manifest, present)
    for name, expected in sorted(manifest.files.items()):
        if name not in present:
            continue
        looking(name)
        try:
            problem = difference(name, expected, places.digest_of(place.chunks(name)))
        except FileNotFoundError:
            problem = f"{name} is no plain file"
        if problem:
            problems.append(problem)
    return Verified(place.name, manifest, tuple(problems))


def damaged(verified: Verified) -> VerdictNo:
    """Why a backup may not be used."""
    more = f" and {len(verified.problems) - 1} more" if len(verified.problems) > 1 else ""
    return VerdictNo(
        f"{verified.place} is damaged: {verified.problems[0]}{more}. Nothing was restored from it; use another backup.",
        code="backup_damaged",
    )
