"""What does one night say, in one document?

`summary.json` is the contract: the page is drawn from it and nothing else, so that what people see and what programs read
cannot differ. It holds no time of writing. A repeated night says the same about the books; only what the night itself had to
do (`receipt_days`, the stale days of `calibration_dataset`) and how long its checks took may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

SCHEMA_VERSION: Final = 1
OK: Final = "ok"
BROKEN: Final = "broken"
NO_DATA: Final = "no_data"

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Documents:
    """What the assets of the night handed over, by asset."""

    receipt_days: Document
    calibration_dataset: Document
    priors: Document
    calibration_backtest: Document
    kpi_evaluations: Document
    kpi_pass_rates: Document
    invariants_report: Document


def compose(
    documents: Documents, *, night: date, as_of: datetime, totals: Document, ran_late: bool = False
) -> dict[str, Any]:
    """The summary of a night.

    Args:
        documents: what the assets handed over.
        night: the date in New York.
        as_of: the instant, aware.
        totals: counts of the books at that instant (receipts, runs, projects, first and last day).
        ran_late: the night ran long after its instant. `invariants`, `kpis`, `kpi_pass_rates` and `receipt_days` are always
            of the run itself; then they say nothing about the instant, and the page says so.

    Returns:
        A JSON-able dict; the issue's keys `calibration` and `calibration_all_receipts` hold, per measure, `overall` and
        `lanes`, each with `n`, `coverage_90`, `winkler`, `mae`.
    """
    backtest = documents.calibration_backtest
    invariants = documents.invariants_report
    return {
        "schema_version": SCHEMA_VERSION,
        "date": night.isoformat(),
        "as_of": as_of.isoformat(),
        "ran_late": ran_late,
        "verdict": verdict(invariants, receipts=totals["receipts"]),
        "books": dict(totals),
        "receipt_days": dict(documents.receipt_days),
        "calibration_dataset": dict(documents.calibration_dataset),
        "calibration": backtest.get("calibration", {}),
        "calibration_all_receipts": backtest.get("calibration_all_receipts", {}),
        "priors": documents.priors.get("priors", []),
        "kpis": dict(documents.kpi_evaluations),
        "kpi_pass_rates": dict(documents.kpi_pass_rates),
        "invariants": dict(invariants),
    }


def verdict(invariants: Document, *, receipts: int) -> str:
    """`ok` when every invariant was checked and holds; `no_data` when they hold but speak of nothing; else `broken`.

    A report that proves nothing (no check ran, one crashed) is `broken`: it must never read as green.

    Args:
        invariants: the document of `invariants_report`.
        receipts: how many receipts the night rests on.
    """
    summary = invariants.get("summary", {})
    holds = summary.get("total_checks", 0) > 0 and summary.get("failed_checks", 1) == 0
    status = summary.get("status")
    if not holds or status not in ("pass", "no_data"):
        return BROKEN
    return OK if status == "pass" and receipts else NO_DATA


def figures(summary: Document) -> dict[str, float]:
    """The headline numbers, named as they appear in Dagster's metadata; what is unknown is left out."""
    wanted = {
        "receipts": summary["books"].get("receipts"),
        "invariants_failed": summary["invariants"].get("summary", {}).get("failed_checks"),
    }
    for tree, suffix in (("calibration", ""), ("calibration_all_receipts", "_all_receipts")):
        for measure, found in summary[tree].items():
            overall = found.get("overall", {})
            wanted[f"coverage_90_{measure}{suffix}"] = overall.get("coverage_90")
            wanted[f"winkler_ratio_{measure}{suffix}"] = overall.get("winkler_ratio")
    return {name: float(value) for name, value in wanted.items() if value is not None}


def headline_markdown(summary: Document) -> str:
    """The night in a few lines of Markdown, for the asset's metadata."""
    rows = "\n".join(f"| {name} | {value:,.4g} |" for name, value in figures(summary).items())
    return f"**{summary['date']}: {summary['verdict']}**\n\n| figure | value |\n|---|---|\n{rows}\n"
