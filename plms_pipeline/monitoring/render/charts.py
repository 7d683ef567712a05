"""The pictures of the nightly report, as SVG text: same data, same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

INK, MUTED, GOOD, BAD, BAND = "#33415c", "#8d99ae", "#2a9d8f", "#d1495b", "#d8f0ec"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # A fixed salt and no date: otherwise the identifiers inside the SVG differ from run to run.
    mpl.rcParams.update({"svg.hashsalt": "plms", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"})
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    return figure, axes


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def coverage_by_lane(rows: Sequence[tuple[str, float, int]], overall: float | None) -> str:
    """Share of receipts inside their 90 % interval, per lane.

    Args:
        rows: (lane label, coverage 0-1, number of forecasts).
        overall: coverage over all lanes.
    """
    figure, axes = _figure(5.4, 0.7 + 0.34 * max(1, len(rows)))
    axes.axvspan(0.88, 0.92, color=BAND, zorder=0)
    axes.axvline(0.90, color=GOOD, linewidth=1)
    labels = [f"{label} (n={n})" for label, _, n in rows]
    values = [value for _, value, _ in rows]
    colours = [GOOD if 0.85 <= value <= 0.95 else (BAD if n >= 100 else MUTED) for _, value, n in rows]
    axes.scatter(values, range(len(rows)), color=colours, s=42, zorder=3)
    for index, value in enumerate(values):
        axes.annotate(f"{value:.1%}", (value, index), xytext=(7, -3), textcoords="offset points", fontsize=8, color=INK)
    if overall is not None:
        axes.axvline(overall, color=INK, linestyle=":", linewidth=1)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(min(0.7, *(value - 0.02 for value in values)) if values else 0.7, 1.03)
    axes.set_xlabel("share inside the 90 % interval")
    return _svg(figure)


def pit_histogram(counts: Sequence[float]) -> str:
    """How often the outcome fell into each tenth (or twentieth) of its forecast; flat is honest."""
    figure, axes = _figure(5.4, 2.0)
    total = sum(counts) or 1
    width = 1 / max(1, len(counts))
    shares = [count / total / width for count in counts]
    axes.bar([(i + 0.5) * width for i in range(len(counts))], shares, width=width * 0.94, color=MUTED)
    axes.axhline(1.0, color=GOOD, linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_xlabel("where the outcome fell in its forecast (PIT)")
    axes.set_ylabel("density")
    return _svg(figure)


def prior_intervals(rows: Sequence[Mapping[str, Any]], measure: str, unit: str) -> str:
    """Median and 90 % interval of the next task, per lane and provider, on a log scale.

    Args:
        rows: mappings with `label`, `low`, `median`, `high` in the unit shown.
        measure: what is forecast, for the axis.
        unit: its unit.
    """
    figure, axes = _figure(9.6, 0.8 + 0.24 * max(1, len(rows)))
    floor = min((row["median"] for row in rows if row["median"] > 0), default=1.0) / 50
    for index, row in enumerate(rows):
        axes.plot(
            [max(row["low"], floor), row["high"]], [index, index], color=MUTED, linewidth=3, solid_capstyle="round"
        )
        axes.plot([max(row["median"], floor)], [index], "o", color=INK, markersize=4)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"{measure} of the next task ({unit}): median and 90 % interval")
    axes.grid(axis="x", color="#e5e8ee", linewidth=0.6)
    return _svg(figure)


def pass_rates(rows: Sequence[tuple[str, float, int]]) -> str:
    """Share of artifacts that passed, per lane and KPI."""
    figure, axes = _figure(5.4, 0.7 + 0.3 * max(1, len(rows)))
    axes.barh(range(len(rows)), [1.0] * len(rows), color="#eef1f6", height=0.62)
    axes.barh(
        range(len(rows)), [rate for _, rate, _ in rows], color=[GOOD if rate >= 1 else BAD for _, rate, _ in rows],
        height=0.62,
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{label} (n={n})" for label, _, n in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share that passed")
    return _svg(figure)
