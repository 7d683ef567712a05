"""What about this night needs a person, and what does that person do?

The first screenful of the report. An on-call at three in the morning reads one list: what is broken, with its remedy, and
only then what is worth a look. Figures that are as they should be are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from plms_pipeline.monitoring.summary import BROKEN, NO_DATA

Document = Mapping[str, Any]

TREES: Final = (("calibration", "effort"), ("calibration_all_receipts", "spend"))
NAMES: Final = {"cost_usd": "cost", "duration_ms": "duration", "tokens": "tokens"}
# The bars that the product promises; below so many forecasts a share says too little.
OVERALL: Final = (0.88, 0.92)
LANE: Final = (0.85, 0.95)
ENOUGH: Final = 100
SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing to do: what is wrong, the first detail, the remedy, and whether it cannot wait for the morning."""

    what: str
    detail: str
    remedy: str
    is_urgent: bool


def attention(summary: Document) -> list[Attention]:
    """What needs a person, the urgent first; empty when nothing is wrong."""
    found = [*_no_data(summary), *_invariants(summary), *_artifacts(summary), *_calibration(summary)]
    shown = sorted(found, key=lambda item: not item.is_urgent)
    rest = len(shown) - SHOWN
    if rest > 1:
        more = Attention(f"and {rest} more", "", "see the tables below", is_urgent=shown[SHOWN].is_urgent)
        return [*shown[:SHOWN], more]
    return shown


def _no_data(summary: Document) -> Iterator[Attention]:
    if summary["verdict"] == NO_DATA:
        yield Attention(
            "No receipt counts", f"none was completed by {summary['as_of'][:16].replace('T', ' ')} UTC",
            "plms import swebench FILE (plms import --help names the other forms), then plms nightly", is_urgent=False,
        )  # fmt: skip


def _invariants(summary: Document) -> Iterator[Attention]:
    checks = summary["invariants"].get("checks", {})
    broken = {name: check for name, check in sorted(checks.items()) if not check["passed"]}
    for name, check in broken.items():
        rows = check["violations"]
        yield Attention(
            f"{name} is broken ({rows} {'row' if rows == 1 else 'rows'})",
            str(check["errors"][0]) if check["errors"] else "",
            check.get("remedy") or "plms invariants names every offender",
            is_urgent=True,
        )
    if summary["verdict"] == BROKEN and not broken:
        yield Attention(
            "The books were not proven", "no check ran, or the proof did not say that all hold",
            "plms invariants, then plms doctor", is_urgent=True,
        )  # fmt: skip


def _artifacts(summary: Document) -> Iterator[Attention]:
    items = summary["kpis"].get("artifacts", [])
    failed = [item["artifact"] for item in items if item.get("verdict") == "failed" and item.get("state") != "broken"]
    if failed:
        count = f"{len(failed)} of {len(items)} artifacts fail their KPI gates"
        yield Attention(
            count, _listed(failed), "the table of the KPI gates says which; plms kpi evaluate DIR measures one again",
            is_urgent=False,
        )  # fmt: skip
    for state, what in (("broken", "could not be evaluated"), ("postponed", "were put off")):
        names = [item["artifact"] for item in items if item.get("state") == state]
        if names:
            reason = next((item.get("reason") for item in items if item.get("state") == state), "") or ""
            yield Attention(
                f"{len(names)} of {len(items)} artifacts {what}", _listed(names),
                f"{reason or 'no reason was given'}; the table of the KPI gates names each", is_urgent=False,
            )  # fmt: skip


def _calibration(summary: Document) -> Iterator[Attention]:
    for tree, basis in TREES:
        for measure, found in summary[tree].items():
            cells = [("all lanes", found.get("overall", {}), OVERALL)]
            if basis == "effort":
                # Of spend only the whole is promised: an attempt may end anywhere.
                cells += [(f"lane {lane}", cell, LANE) for lane, cell in sorted(found.get("lanes", {}).items())]
            for where, cell, (low, high) in cells:
                if cell.get("n", 0) >= ENOUGH and not low <= cell["coverage_90"] <= high:
                    narrow = cell["coverage_90"] < low
                    yield Attention(
                        f"{NAMES.get(measure, measure)} intervals ({basis}, {where}) are too {'narrow' if narrow else 'wide'}",
                        f"{cell['coverage_90']:.1%} of {cell['n']} lie inside, {low:.0%} to {high:.0%} were promised",
                        "budget there by a higher quantile until it is understood (plms forecast --quantile 0.95)"
                        if narrow
                        else "budgets there are larger than need be; no harm tonight",
                        is_urgent=False,
                    )  # fmt: skip


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
