"""How do prices come into the dataset of this installation?

A file is read and checked before anything is locked; what may not be believed is put aside with its reason; the rest is merged
(`revising`) and becomes the current dataset by one rename. Imported again, the same file changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from plms_pipeline.clock import Clock
from plms_pipeline.models.dataset import files
from plms_pipeline.models.dataset.revising import Merged, merged
from plms_pipeline.models.market.bars import Bars, content_hash
from plms_pipeline.models.market.checks import STALE_AFTER_BARS, Examination, examine
from plms_pipeline.models.market.files.reading import is_sqlite, read_prices
from plms_pipeline.models.market.findings import Finding, finding, insist
from plms_pipeline.models.market.store import unknown_symbols
from plms_pipeline.models.market.suspicions import suspicions
from plms_pipeline.models.training.manifest import instant


@dataclass(frozen=True, slots=True)
class Source:
    """A file of prices as somebody named it: `symbol` of one without a column for it, `adjusted` by its adjusted close."""

    path: Path
    symbol: str | None = None
    adjusted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A file that was read and checked; nothing is written yet."""

    source: Source
    sha256: str
    examined: Examination
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """What an import did, or would do.

    Attributes:
        digest: content hash of the dataset after it; `before` None when there was none.
        findings: of the file's rows, and of the dataset with them.
        quarantine: file of the refused rows; None when there are none, or nothing was written.
    """

    file: str
    sha256: str
    rows: int
    rejected: int
    merged: Merged
    before: str | None
    digest: str
    findings: tuple[Finding, ...]
    quarantine: Path | None

    @property
    def changed(self) -> bool:
        """Whether the dataset is another one now."""
        return self.before != self.digest

    def as_document(self) -> dict[str, Any]:
        """What `--json` prints and the record of the import keeps."""
        bars = self.merged.bars
        return {
            "file": self.file, "file_sha256": self.sha256, "rows": self.rows, "rejected": self.rejected,
            "added": self.merged.added, "unchanged": self.merged.unchanged, "revised": self.merged.revised.count,
            "content_hash": self.digest, "content_hash_before": self.before, "changed": self.changed,
            "dataset": {
                "bars": bars.count, "symbols": list(bars.symbols), "signals": sorted(bars.extras),
                "first": instant(bars.timestamp.min()), "last": instant(bars.timestamp.max()),
            },
            "findings": [
                {"name": one.name, "severity": one.severity, "count": one.count, "offenders": list(one.offenders),
                 "remedy": one.remedy}
                for one in self.findings
            ],
        }  # fmt: skip


def prepare(source: Source, *, clock: Clock) -> Prepared:
    """Read and check a file; writes nothing.

    Raises:
        BadInput, NotFound: it is none of prices, or not there.
        NoData: none of its rows can be used.
    """
    sha256 = files.sha256_of(source.path)
    raw = read_prices(source.path, symbol=source.symbol, adjusted=source.adjusted)
    examined = examine(raw, as_of=_instant(clock.now()))
    found = [one for one in examined.findings if one.severity == "error" or one.name == "unordered_rows"]
    if is_sqlite(source.path):
        strangers = unknown_symbols(str(source.path.resolve()))
        if strangers:
            offence, remedy = (
                "symbol that the table assets does not know",
                "Add it to assets, or correct its name in series.",
            )
            found.append(finding("unknown_assets", "warning", strangers, offence, remedy))
    return Prepared(source, sha256, examined, tuple(found))


def import_prices(
    prepared: Prepared, *, root: Path, clock: Clock, strict: bool = False, replace: bool = False, dry_run: bool = False
) -> Imported:
    """Merge a file into the dataset.

    Args:
        root: the data folder.
        strict: refuse the file if anything is found about it, or about the dataset with it.
        replace: the dataset becomes this file alone.
        dry_run: say what would happen, write nothing.

    Raises:
        VerdictNo: strict, and something was found (`data_not_valid`); nothing was written.
        BadInput: the current dataset is damaged.
    """
    if dry_run:
        return _weighed(prepared, *_known(root, replace=replace), clock=clock, strict=strict)
    with files.importing(root):
        done = _weighed(prepared, *_known(root, replace=replace), clock=clock, strict=strict)
        rejected = prepared.examined.rejected
        kept = files.quarantine(root, prepared.sha256, rejected) if done.rejected else None
        if done.changed:
            now = clock.now().astimezone(UTC)
            name = f"{now:%Y%m%d-%H%M%S-%f}-{done.digest[:12]}"
            document = {**done.as_document(), "imported_at": now.isoformat(), "replaced_all": replace}
            files.publish(root, done.merged.bars, document, done.merged.revised, name=name)
    return Imported(
        done.file, done.sha256, done.rows, done.rejected, done.merged, done.before, done.digest, done.findings, kept
    )


def _known(root: Path, *, replace: bool) -> tuple[Bars | None, str | None]:
    digest = files.current_digest(root)
    return (None, digest) if digest is None or replace else files.current_bars(root)


def _weighed(prepared: Prepared, known: Bars | None, before: str | None, *, clock: Clock, strict: bool) -> Imported:
    outcome = merged(known, prepared.examined.bars)
    # Looked at with what is known: a file that fits badly to it shows at the seam alone.
    whole = suspicions(outcome.bars, as_of=_instant(clock.now()), stale_after_bars=STALE_AFTER_BARS)
    findings = (*prepared.findings, *whole)
    if strict:
        insist(findings, str(prepared.source.path))
    examined = prepared.examined
    return Imported(
        prepared.source.path.name, prepared.sha256, examined.bars.count + examined.rejected.rows.count,
        examined.rejected.rows.count, outcome, before, content_hash(outcome.bars), findings, None,
    )  # fmt: skip


def _instant(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
