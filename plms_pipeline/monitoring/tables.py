"""The summary of a night as tables for a terminal: titles, columns and cells as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TableText = tuple[str, tuple[str, ...], Sequence[tuple[str, ...]]]


def all_tables(summary: Mapping[str, Any]) -> Iterator[TableText]:
    """The tables of a night in reading order: priors with intervals, calibration, KPIs, invariants."""
    yield _priors(summary)
    for tree, title in (("calibration", "effort"), ("calibration_all_receipts", "spend")):
        yield _calibration(summary[tree], title)
    yield _kpis(summary)
    yield _invariants(summary)


def _priors(summary: Mapping[str, Any]) -> TableText:
    rows = [
        (
            str(row["lane_id"]),
            str(row["provider"]),
            str(row["n"]),
            _interval(row.get("cost_usd"), "${:,.4g}", 1.0),
            _interval(row.get("duration_ms"), "{:,.3g} min", 1 / 60_000),
        )
        for row in summary["priors"]
        if row["basis"] == "effort" and row["lane_id"] is not None and row["provider"] != "*"
    ]
    columns = ("lane", "provider", "receipts", "cost: median [90 %]", "duration: median [90 %]")
    return "Priors per lane and provider (effort)", columns, rows


def _interval(cell: Mapping[str, Any] | None, form: str, scale: float) -> str:
    if not cell:
        return "unknown"
    median, low, high = (form.format(float(cell[key]) * scale) for key in ("median", "low", "high"))
    return f"{median} [{low} – {high}]"


def _calibration(tree: Mapping[str, Any], basis: str) -> TableText:
    rows: list[tuple[str, ...]] = []
    for measure, found in tree.items():
        cells = [("all", found.get("overall", {})), *sorted(found.get("lanes", {}).items())]
        for lane, cell in cells:
            if cell.get("n"):
                ratio = cell.get("winkler_ratio")
                rows.append(
                    (
                        measure, str(lane), str(cell["n"]), f"{cell['coverage_90']:.1%}", f"{cell['winkler']:,.4g}",
                        "" if ratio is None else f"{ratio:.3f}", f"{cell['mae']:,.4g}",
                    )
                )  # fmt: skip
    columns = ("measure", "lane", "forecasts", "inside 90 %", "Winkler", "of prototype", "MAE")
    return f"One step ahead ({basis})", columns, rows


def _kpis(summary: Mapping[str, Any]) -> TableText:
    rows = [
        (
            item["artifact"], _known(item["lane_id"]), kpi["name"],
            (kpi.get("reason") or "not measured") if kpi["value"] is None else f"{kpi['value']:.4g}",
            f"{kpi['operator']} {json.dumps(kpi['threshold'])}", "pass" if kpi["pass"] else "FAIL",
        )
        for item in summary["kpis"].get("artifacts", [])
        for kpi in item["kpis"]
    ]  # fmt: skip
    return "KPI gates", ("artifact", "lane", "KPI", "value", "gate", "verdict"), rows


def _known(value: object) -> str:
    return "–" if value is None else str(value)


def _invariants(summary: Mapping[str, Any]) -> TableText:
    rows: list[tuple[str, ...]] = []
    for name, check in sorted(summary["invariants"].get("checks", {}).items()):
        checked, violations = check.get("checked", 0), check["violations"]
        mark = "✓" if check["passed"] else "✗"
        rows.append((mark, name, f"{checked - violations}/{checked}", "; ".join(check["errors"][:3])))
    return "Invariants", ("", "invariant", "held", "offenders"), rows
