"""Where do nightly reports lie, and how is one replaced without ever showing half of it?

`reports/nightly/<date>/` holds `index.html`, `invariants.json` and `summary.json`. Each file is written under a temporary
name, synced and moved into place; `summary.json` comes last, so a night counts as written only when everything else is.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from plms_pipeline.errors import BadInput, NoData, Unavailable
from plms_pipeline.registry.types import canonical_json

SUMMARY = "summary.json"
PAGE = "index.html"
INVARIANTS = "invariants.json"


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
    return reports_dir / "nightly" / night.isoformat()


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader sees the old bytes or the new ones, never a mixture.

    Raises:
        Unavailable: the folder cannot be written; nothing half-written stays behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Unavailable(
            f"{path} cannot be written ({error.strerror}); free space on the disk or set PLMS_REPORTS_DIR to a folder that "
            "may be written.",
            code="report_not_written",
        ) from error


def write_night(folder: Path, *, page: str, invariants: dict[str, Any], summary: dict[str, Any]) -> None:
    """Write or replace the three files of a night, the summary last."""
    for leftover in folder.glob(".*.part"):
        leftover.unlink(missing_ok=True)
    write_atomically(folder / PAGE, page)
    write_atomically(folder / INVARIANTS, canonical_json(invariants) + "\n")
    write_atomically(folder / SUMMARY, json.dumps(summary, indent=1, sort_keys=True, allow_nan=False) + "\n")


def stored_reports(reports_dir: Path) -> list[StoredReport]:
    """Every night on disk, the newest first; a folder that is no date is passed over."""
    found = []
    for folder in (reports_dir / "nightly").glob("*/"):
        try:
            night = date.fromisoformat(folder.name)
        except ValueError:
            continue
        found.append(StoredReport(night, folder, _summary(folder / SUMMARY)))
    return sorted(found, key=lambda report: report.night, reverse=True)


def find_report(reports_dir: Path, text: str | None) -> StoredReport:
    """The report of a date, or the newest one.

    Raises:
        BadInput: the text is no date.
        NoData: there is no such report.
    """
    reports = stored_reports(reports_dir)
    if text is not None:
        try:
            wanted = date.fromisoformat(text)
        except ValueError:
            raise BadInput(f"{text} is no date; write it as YYYY-MM-DD.", code="bad_date") from None
        reports = [report for report in reports if report.night == wanted]
    if not reports or not reports[0].page.is_file():
        which = f"of {text} " if text else ""
        raise NoData(f"There is no nightly report {which}in {reports_dir / 'nightly'}; `plms nightly` writes one.")
    return reports[0]


def _summary(path: Path) -> dict[str, Any] | None:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None
