"""How are runways, risks and drift shown to people in the Dagster UI? Tables, and one picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

SHOWN: Final = 30
_COLOURS: Final = {"ok": "#2f855a", "warning": "#b7791f", "critical": "#c53030"}


def _usd(amount: float | None) -> str:
    return "?" if amount is None else f"{amount:.2f}"


def runway_markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """The shortest runways, one line per project."""
    lines = [
        "| project | status | spent | budget | minutes left (90 %) | in the end (90 %) | over |",
        "|---|---|--:|--:|---|---|--:|",
    ]
    for one in found[:SHOWN]:
        budget, told = one["budget"], one["runway"]
        minutes, final = told["minutes_to_depletion_ci_90"], told["projected_final_ci_90"]
        lines.append(
            f"| {one['project_id']} | {one['status']} | {_usd(budget['usd_spent'])} | {_usd(budget['usd_max'])} | "
            + (
                "unknown"
                if minutes is None
                else f"{told['minutes_to_depletion']:.0f} ({minutes[0]:.0f}-{minutes[1]:.0f})"
            )
            + " | "
            + (
                "unknown"
                if final is None
                else f"{_usd(told['projected_final_usd'])} ({_usd(final[0])}-{_usd(final[1])})"
            )
            + f" | {_usd(told['projected_overrun_usd'])} |"
        )
    return "\n".join(lines)


def runway_plot(found: Sequence[Mapping[str, Any]]) -> str:
    """A picture of the projected finals as shares of the budget, as Markdown that needs no server."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    shown = [one for one in found if one["budget"]["usd_max"] and one["runway"]["projected_final_ci_90"]][:SHOWN]
    figure = Figure(figsize=(7, 0.6 + 0.25 * max(1, len(shown))), dpi=100)
    axes = figure.subplots()
    for place, one in enumerate(shown):
        budget, told = one["budget"]["usd_max"], one["runway"]
        low, high = (end / budget for end in told["projected_final_ci_90"])
        colour = _COLOURS[one["status"]]
        axes.plot([low, high], [place, place], color=colour, linewidth=3, alpha=0.5)
        axes.plot([told["projected_final_usd"] / budget], [place], "o", color=colour)
        axes.plot([one["budget"]["usd_spent"] / budget], [place], "|", color="black")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [str(one["project_id"]) for one in shown])
    axes.set_xlabel("projected final / budget (90 %); bar: spent")
    axes.invert_yaxis()
    figure.tight_layout()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return f"![projected finals](data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()})"


def heatmap_markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """One line per project and lane."""
    lines = ["| project | lane | estimation | execution | validation |", "|---|---|---|---|---|"]
    for one in found[:SHOWN]:
        lines += [
            f"| {one['project_id']} | {lane['lane_id']} {lane['name'] or ''} | {lane['estimation_risk']} | "
            f"{lane['execution_risk']} | {lane['validation_risk']} |"
            for lane in one["lanes"]
        ]
    return "\n".join(lines)


def drift_markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """One line per lane, errors in percent, oldest first."""
    lines = ["| lane | trend | errors of tokens, oldest first |", "|---|---|---|"]
    for one in found:
        errors = ", ".join(f"{100 * point['mae_pct']:.0f} %" for point in one["history"])
        lines.append(f"| {one['lane_id']} {one['lane_name']} | {one['trend']} | {errors} |")
    return "\n".join(lines)
