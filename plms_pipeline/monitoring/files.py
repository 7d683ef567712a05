"""Where do nightly reports lie, and how is one replaced without ever showing half of it?

`reports/nightly/<date>/` holds `index.html`, `invariants.json` and `summary.json`. Each file is written under a temporary
name, synced and moved into place; `summary.json` comes last, so a night counts as written only when everything else is.
"""

from __future__ import annotations

import errno
import json
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from plms_pipeline.errors import BadInput, NoData, PlmsError, Unavailable
from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.monitoring.night import parse_date
from plms_pipeline.registry.types import canonical_json

NIGHTLY = "nightly"
SUMMARY = "summary.json"
PAGE = "index.html"
INVARIANTS = "invariants.json"
# What trying again does not mend.
_PERMANENT = frozenset({
    errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP,
    errno.ENAMETOOLONG,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One night on disk: its date, folder, verdict and headline figures (None when its summary cannot be read)."""

    night: date
    folder: Path
    summary: dict[str, Any] | None

    @property
    def page(self) -> Path:
        """The page for people."""
        return self.folder / PAGE


def nightly_folder(reports_dir: Path, night: date) -> Path:
    """The folder of one night."""
    return reports_dir / NIGHTLY / night.isoformat()


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader sees the old bytes or the new ones, never a mixture.

    Raises:
        BadInput: the folder is none or may not be written; trying again does not help.
        Unavailable: the disk is full or failing. In both cases nothing half-written stays behind.
    """
    try:
        with replacing(path) as stream:
            stream.write(text.encode("utf-8"))
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> PlmsError:
    reason = error.strerror or str(error)
    if error.errno in _PERMANENT:
        return BadInput(
            f"{path} cannot be written ({reason}); set PLMS_REPORTS_DIR to a folder that may be written.",
            code="bad_reports_dir",
        )
    return Unavailable(
        f"{path} cannot be written ({reason}); free space on the disk or set PLMS_REPORTS_DIR to a folder that may be "
        "written.",
        code="report_not_written",
    )


def require_writable(reports_dir: Path) -> None:
    """Find out before a night begins whether its report can be written; makes the folder.

    Raises:
        BadInput: it is no folder or may not be written (`bad_reports_dir`).
        Unavailable: its disk is full or failing.
    """
    folder = reports_dir / NIGHTLY
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(b"probe")
            probe.flush()
    except OSError as error:
        raise _not_written(folder, error) from error


def write_night(folder: Path, *, page: str, invariants: dict[str, Any], summary: dict[str, Any]) -> None:
    """Write or replace the three files of a night, the summary last."""
    write_atomically(folder / PAGE, page)
    write_atomically(folder / INVARIANTS, canonical_json(invariants) + "\n")
    write_atomically(folder / SUMMARY, json.dumps(summary, indent=1, sort_keys=True, allow_nan=False) + "\n")


def stored_reports(reports_dir: Path) -> list[StoredReport]:
    """Every night on disk, the newest first; a folder that is no date is passed over.

    Raises:
        BadInput: the reports folder is there but is no folder or may not be read (`bad_reports_dir`).
    """
    found = []
    for folder in _folders(reports_dir / NIGHTLY):
        try:
            night = parse_date(folder.name, name="folder")
        except BadInput:
            continue
        found.append(StoredReport(night, folder, _summary(folder / SUMMARY)))
    return sorted(found, key=lambda report: report.night, reverse=True)


def _folders(place: Path) -> list[Path]:
    try:
        return [entry for entry in place.iterdir() if entry.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadInput(
            f"{place} cannot be read as a folder ({error.strerror or error}); set PLMS_REPORTS_DIR to the folder that holds "
            "the reports.",
            code="bad_reports_dir",
        ) from error


def find_report(reports_dir: Path, text: str | None) -> StoredReport:
    """The report of a date, or the newest one.

    Raises:
        BadInput: the text is no date.
        NoData: there is no such report.
    """
    wanted = parse_date(text, name="The date") if text is not None else None
    reports = stored_reports(reports_dir)
    for report in reports:
        if wanted in (None, report.night) and report.page.is_file():
            return report
    place = reports_dir / NIGHTLY
    if wanted is None or not reports:
        raise NoData(f"There is no nightly report in {place} yet; `plms nightly` writes one.")
    raise NoData(
        f"There is no nightly report of {wanted} in {place}; `plms nightly --date {wanted}` writes it, `plms report list` "
        f"names those that exist (the newest is of {reports[0].night})."
    )


def _summary(path: Path) -> dict[str, Any] | None:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None
