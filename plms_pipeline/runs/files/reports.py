"""Where do the reports and logs of runs lie, whole or not at all, with every earlier version kept?

`$PLMS_REPORTS_DIR/sessions/<run>/session_report.{md,json}` is the newest; each version also stands for ever in
`$PLMS_REPORTS_DIR/history/YYYYMMDD_HHMMSS_<run>_r<revision>/`, so that the guide's
`grep "RESULT: FAIL" reports/history/*/session_report.md` finds what it looks for. Logs are `RUN_LOGS/session_<run>.log`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.runs.ids import path_safe

SESSIONS: Final = "sessions"
HISTORY: Final = "history"
LOGS: Final = "RUN_LOGS"
NAME: Final = "session_report"


@dataclass(frozen=True, slots=True)
class ReportText:
    """One report in both forms."""

    markdown: str
    json: str


def write_report(reports_dir: Path, run_id: str, text: ReportText, *, revision: int, at: datetime) -> Path:
    """Write a report and keep it in the history; returns the path of its JSON. Safe to repeat.

    The history comes first: what is shown as the newest is always kept too.
    """
    name = path_safe(run_id, "run id")
    kept = reports_dir / HISTORY / f"{at:%Y%m%d_%H%M%S}_{name}_r{revision}"
    newest = reports_dir / SESSIONS / name
    for folder in (kept, newest):
        _write(folder / f"{NAME}.md", text.markdown)
        _write(folder / f"{NAME}.json", text.json)
    _write(reports_dir / f"{NAME}.md", text.markdown)
    return newest / f"{NAME}.json"


def write_log(reports_dir: Path, run_id: str, text: str) -> Path:
    """Write the log of a run."""
    path = reports_dir / LOGS / f"session_{path_safe(run_id, 'run id')}.log"
    _write(path, text)
    return path


def read_markdown(reports_dir: Path, run_id: str) -> str | None:
    """The newest report of a run as Markdown; None when there is none."""
    path = reports_dir / SESSIONS / path_safe(run_id, "run id") / f"{NAME}.md"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _write(path: Path, text: str) -> None:
    with replacing(path) as stream:
        stream.write(text.encode())
