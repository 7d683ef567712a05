"""The pictures of a report: equity with its drawdown, and how returns are distributed. Same data, same bytes.

Lines differ in colour and dash, so that they are told apart in print and by who sees no colours.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np

from plms_pipeline.models.evaluation.returns import Floats
from plms_pipeline.models.evaluation.risk import drawdowns
from plms_pipeline.models.reporting.blocks import Chart
from plms_pipeline.models.reporting.figures import compounded

INK, MUTED, GOOD, BAD, GRID = "#33415c", "#5c677d", "#1f7a70", "#b3273f", "#e5e8ee"
BINS: Final = 40
# More points than pixels make a large file and the same picture.
MOST_POINTS: Final = 1_200

Form = Literal["svg", "png"]


def draw(chart: Chart, form: Form) -> bytes:
    """The picture as a file; SVG has no background of its own, PNG a white one."""
    import matplotlib as mpl

    # A fixed salt and no date: otherwise the identifiers inside the SVG differ from run to run.
    with mpl.rc_context({"svg.hashsalt": "plms", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}):
        figure = _DRAWN[chart.kind](chart)
        buffer = io.BytesIO()
        if form == "svg":
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        else:
            figure.savefig(buffer, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _axes(figure: Any, places: int, ratios: list[int]) -> list[Any]:
    made = figure.subplots(places, 1, sharex=places > 1, squeeze=False, gridspec_kw={"height_ratios": ratios})
    for axes in made[:, 0]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
    return list(made[:, 0])


def _equity(chart: Chart) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    above, below = _axes(figure, 2, [3, 1])
    ours = compounded(chart.values)
    fallen = np.concatenate([[0.0], drawdowns(chart.values)])
    theirs = None if chart.benchmark is None else compounded(chart.benchmark)
    shown = thinned(ours, fallen)
    above.plot(shown, ours[shown], color=INK, linewidth=1.3, label="portfolio")
    if theirs is not None:
        above.plot(shown, theirs[shown], color=GOOD, linewidth=1.0, linestyle="--", label="benchmark")
        above.legend(frameon=False, loc="upper left")
    above.axhline(1.0, color=MUTED, linewidth=0.6)
    above.set_ylabel("equity of a capital of 1")
    below.fill_between(shown, fallen[shown], 0.0, color=BAD, alpha=0.35, linewidth=0)
    below.plot(shown, fallen[shown], color=BAD, linewidth=0.8)
    below.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    below.set_ylabel("drawdown")
    places = np.unique(np.linspace(0, chart.values.size, 6).astype(int))
    below.set_xticks(places, ["start" if place == 0 else chart.moments[place - 1][:10] for place in places])
    return figure


def _distribution(chart: Chart) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    axes = _axes(figure, 1, [1])[0]
    r = chart.values
    axes.hist(r, bins=BINS, color=MUTED, alpha=0.55, edgecolor="white", linewidth=0.4)
    axes.axvline(float(r.mean()), color=GOOD, linewidth=1.2, label=f"mean {r.mean():.3%}")
    tail = float(np.quantile(r, 0.05))
    axes.axvline(tail, color=BAD, linewidth=1.2, linestyle="--", label=f"value at risk (5 %) {tail:.2%}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
    axes.set_xlabel("return of a period")
    axes.set_ylabel("periods")
    axes.legend(frameon=False)
    return figure


def _pit(chart: Chart) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 2.8), layout="constrained")
    axes = _axes(figure, 1, [1])[0]
    places = (np.arange(chart.values.size) + 0.5) / chart.values.size
    density = chart.values / max(1.0, chart.values.sum()) * chart.values.size
    axes.bar(places, density, width=0.94 / chart.values.size, color=MUTED, alpha=0.55, label="model")
    if chart.benchmark is not None:
        edges = np.linspace(0, 1, chart.benchmark.size + 1)
        theirs = chart.benchmark / max(1.0, chart.benchmark.sum()) * chart.benchmark.size
        axes.stairs(theirs, edges, color=BAD, linewidth=1.2, linestyle="--", label="priors")
    axes.axhline(1.0, color=GOOD, linewidth=1.2, label="honest")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("where the outcome fell in its forecast")
    axes.set_ylabel("density")
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0)
    return figure


_DRAWN: Final[dict[str, Callable[[Chart], Any]]] = {
    "equity_curve": _equity,
    "return_distribution": _distribution,
    "pit": _pit,
}


def thinned(*lines: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Places to draw: all, or of each stretch its beginning and each line's extremes, so that no peak is lost."""
    size = lines[0].size
    if size <= MOST_POINTS:
        return np.arange(size, dtype=np.int64)
    edges = np.linspace(0, size, MOST_POINTS // (2 * len(lines) + 1) + 1).astype(np.int64)
    kept = {0, size - 1}
    for first, end in pairwise(edges.tolist()):
        kept.add(first)
        for line in lines:
            kept |= {int(first + line[first:end].argmin()), int(first + line[first:end].argmax())}
    return np.array(sorted(kept), dtype=np.int64)
