"""The nightly report as one self-contained HTML page; everything that comes from data is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from plms_pipeline.measures import BASES
from plms_pipeline.monitoring.attention import attention
from plms_pipeline.monitoring.render import charts

MEASURES = {"cost_usd": ("Cost", "USD"), "duration_ms": ("Duration", "min"), "tokens": ("Tokens", "tokens")}
SHOWN_PRIORS = 40
DRAWN = (("cost_usd", 1.0), ("duration_ms", 1 / 60_000))


def page(summary: Mapping[str, Any], lane_names: Mapping[int, str]) -> str:
    """The page of a night.

    Args:
        summary: the document of `summary.compose`.
        lane_names: lane id → name.
    """
    environment = Environment(
        loader=PackageLoader("plms_pipeline.monitoring.render"), autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(pct=_percent, num=_number, amount=_amount)
    priors = [row for row in summary["priors"] if row.get("basis") == "effort"]
    return environment.get_template("nightly.html.j2").render(
        summary=summary,
        lane_names=lane_names,
        measures=MEASURES,
        sections=[_section(summary, tree, lane_names) for tree in ("calibration", "calibration_all_receipts")],
        prior_charts=_prior_charts(priors, lane_names),
        priors=priors,
        shown_priors=SHOWN_PRIORS,
        hidden_priors=max(0, *(len(_drawable(priors, measure)) - SHOWN_PRIORS for measure, _ in DRAWN)),
        # What is broken must not be looked for in the middle of fifty rows.
        invariants=sorted(
            summary["invariants"].get("checks", {}).items(), key=lambda item: (item[1]["passed"], item[0])
        ),
        todo=attention(summary),
        bases=BASES,
        exclusions=_exclusions(summary["calibration_dataset"]),
        pass_chart=_pass_chart(summary["kpi_pass_rates"], lane_names),
    )


def _exclusions(dataset: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """Rule → how many receipts it left out, per basis in the order of `BASES`."""
    excluded = dataset.get("excluded", {})
    rules = sorted({rule for basis in BASES for rule in excluded.get(basis, {})})
    return [(rule, [int(excluded.get(basis, {}).get(rule, 0)) for basis in BASES]) for rule in rules]


def _section(summary: Mapping[str, Any], tree: str, names: Mapping[int, str]) -> dict[str, Any]:
    cards = []
    for measure, found in summary[tree].items():
        overall = found.get("overall", {})
        if not overall.get("n"):
            continue
        lanes = [
            (_lane(lane, names), cell["coverage_90"], cell["n"])
            for lane, cell in sorted(found.get("lanes", {}).items())
            if cell.get("n")
        ]
        pit = overall.get("pit") or overall.get("pit_histogram") or []
        cards.append(
            {
                "measure": measure, "title": MEASURES[measure][0], "overall": overall, "lanes": found.get("lanes", {}),
                "coverage": Markup(charts.coverage_by_lane(lanes, overall.get("coverage_90"))),  # noqa: S704 - our own SVG
                "pit": Markup(charts.pit_histogram(pit)) if pit else None,  # noqa: S704 - our own SVG
            }
        )  # fmt: skip
    return {"tree": tree, "cards": cards}


def _drawable(priors: Sequence[Mapping[str, Any]], measure: str) -> list[Mapping[str, Any]]:
    return [row for row in priors if row.get(measure) and row["lane_id"] is not None and row["provider"] != "*"]


def _prior_charts(priors: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> list[Markup]:
    drawn = []
    for measure, scale in DRAWN:
        rows = [
            {
                "label": f"{_lane(row['lane_id'], names)} · {row['provider']}",
                **{key: float(row[measure][key]) * scale for key in ("low", "median", "high")},
            }
            for row in _drawable(priors, measure)[:SHOWN_PRIORS]
        ]
        if rows:
            title, unit = MEASURES[measure]
            drawn.append(Markup(charts.prior_intervals(rows, title, unit)))  # noqa: S704 - our own SVG
    return drawn


def _pass_chart(rates: Mapping[str, Any], names: Mapping[int, str]) -> Markup | None:
    rows = [
        (f"{_lane(row['lane_id'], names)} · {row['kpi_name']}", float(row["pass_rate"]), int(row["n"]))
        for row in rates.get("rows", [])
        if row.get("n")
    ]
    return Markup(charts.pass_rates(rows)) if rows else None  # noqa: S704 - our own SVG


def _lane(lane: int | str | None, names: Mapping[int, str]) -> str:
    if lane is None:
        return "all lanes"
    return f"{lane} {names.get(int(lane), '')}".strip()


def _percent(value: float | None, digits: int = 1) -> str:
    return "unknown" if value is None else f"{value:.{digits}%}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _amount(value: float | None, measure: str) -> str:
    """A value of a measure in the unit that people think in."""
    if value is None:
        return "unknown"
    if measure == "duration_ms":
        return f"{value / 60_000:,.3g} min" if value < 6e7 else f"{value / 60_000:,.0f} min"
    return f"${value:,.4g}" if measure == "cost_usd" else f"{value:,.0f}"
