"""Writes the report of a night from what its assets handed over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from plms_pipeline.monitoring import files, store
from plms_pipeline.monitoring.night import LATE_AFTER, night_of
from plms_pipeline.monitoring.render.html import page
from plms_pipeline.monitoring.summary import Documents, compose, figures, headline_markdown
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """Where the report of a night lies and what it says in brief."""

    night: date
    verdict: str
    page: Path
    summary: Path
    figures: dict[str, float]
    headline_markdown: str


def write_report(
    registry: Registry, settings: Settings, *, as_of: datetime, documents: Documents, ran_at: datetime | None = None
) -> WrittenReport:
    """Compose and write (or replace) the report of the night of `as_of`.

    Args:
        registry: the books.
        settings: where the reports lie.
        as_of: the instant of the night.
        documents: what the assets handed over.
        ran_at: when the night really ran; at `as_of` when omitted.

    Raises:
        BadInput: the reports folder is none or may not be written.
        Unavailable: the registry is away or the disk full.
    """
    night = night_of(as_of)
    with registry.reading() as session:
        totals = store.totals(session, as_of=as_of)
        names = store.lane_names(session)
    ran_late = ran_at is not None and ran_at - as_of > LATE_AFTER
    summary = compose(documents, night=night, as_of=as_of, totals=totals, ran_late=ran_late)
    folder = files.nightly_folder(settings.reports_dir, night)
    files.write_night(folder, page=page(summary, names), invariants=dict(documents.invariants_report), summary=summary)
    return WrittenReport(
        night=night,
        verdict=summary["verdict"],
        page=folder / files.PAGE,
        summary=folder / files.SUMMARY,
        figures=figures(summary),
        headline_markdown=headline_markdown(summary),
    )
