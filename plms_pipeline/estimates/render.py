"""How does calibration look to a person? Small plots for Dagster's metadata, and the tables as Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

TARGET = 0.90
BAND = (0.88, 0.92)
INK, GOOD, BAD, PALE = "#333333", "#2f7d6b", "#b4442e", "#e3ebe8"


def dataset_markdown(document: Mapping[str, Any]) -> str:
    """What teaches on each basis, and which rule left out how many."""
    lines = ["| basis | teaches | left out | why |", "|---|---:|---:|---|"]
    for basis, n in document["included"].items():
        why = ", ".join(f"{rule} {count:,}" for rule, count in document["excluded"][basis].items()) or "–"
        lines.append(f"| {basis} | {n:,} | {sum(document['excluded'][basis].values()):,} | {why} |")
    return "\n".join(lines)


def calibration_markdown(tree: Mapping[str, Any]) -> str:
    """Overall and per lane: how many forecasts held, and the scores."""
    lines = [
        "| measure | lane | n | inside 90 % | Winkler | of prototype | CRPS | MAE |", "|---|---|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for measure, found in tree.items():
        for lane, cell in [("all", found["overall"]), *sorted(found["lanes"].items())]:
            if cell["n"]:
                ratio = cell.get("winkler_ratio")
                lines.append(
                    f"| {measure} | {lane} | {cell['n']:,} | {cell['coverage_90']:.1%} | {cell['winkler']:,.4g} | "
                    f"{'–' if ratio is None else f'{ratio:.3f}'} | {cell['crps']:,.4g} | {cell['mae']:,.4g} |"
                )
    return "\n".join(lines)


def cells_markdown(tree: Mapping[str, Any]) -> str:
    """Per lane and provider: how many forecasts held, and the scores."""
    lines = [
        "| measure | lane | provider | n | inside 90 % | Winkler | CRPS | MAE |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for measure, found in tree.items():
        lines += [
            f"| {measure} | {cell['lane_id']} | {escaped(cell['provider'])} | {cell['n']:,} | {cell['coverage_90']:.1%} | "
            f"{cell['winkler']:,.4g} | {cell['crps']:,.4g} | {cell['mae']:,.4g} |"
            for cell in found["cells"]
        ]
    return "\n".join(lines)


def priors_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every prior with its corrected 90 % interval."""
    lines = [
        "| basis | lane | provider | n | cost: median [90 %] | duration: median [90 %] |",
        "|---|---|---|---:|---|---|",
    ]
    for row in rows:
        cost, duration = row.get("cost_usd"), row.get("duration_ms")
        money = f"${cost['median']:.4g} [{cost['low']:.4g} – {cost['high']:.4g}]" if cost else "–"
        minutes = "–"
        if duration:
            median, low, high = (duration[name] / 60_000 for name in ("median", "low", "high"))
            minutes = f"{median:.3g} min [{low:.3g} – {high:.3g}]"
        lane = "all" if row["lane_id"] is None else row["lane_id"]
        lines.append(f"| {row['basis']} | {lane} | {escaped(row['provider'])} | {row['n']:,} | {money} | {minutes} |")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """A name from outside, harmless inside a Markdown table."""
    safe = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*")
    return " ".join(safe.split())[:120]


def calibration_png(trees: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Coverage per lane against the band of 88–92 %, and PIT histograms; equal input gives equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cards = [
        (name, measure, found)
        for name, tree in trees.items()
        for measure, found in tree.items()
        if found["overall"]["n"]
    ]
    figure = Figure(figsize=(7.6, 0.6 + 1.7 * max(1, len(cards))), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(max(1, len(cards)), 2, squeeze=False)
    for axes, (name, measure, found) in zip(grid, cards, strict=False):
        _coverage(axes[0], found, f"{name}: {measure}, inside 90 % per lane")
        _pit(axes[1], found["overall"]["pit"], "where outcomes fell (PIT)")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _coverage(axes: Any, found: Mapping[str, Any], title: str) -> None:
    rows = [("all", found["overall"]), *sorted(found["lanes"].items())]
    rows = [(lane, cell) for lane, cell in rows if cell["n"]]
    axes.axvspan(*BAND, color=PALE)
    for place, (_, cell) in enumerate(rows):
        inside = 0.85 <= cell["coverage_90"] <= 0.95
        axes.plot(cell["coverage_90"], place, "o", color=GOOD if inside else BAD, markersize=4)
    axes.set_yticks(range(len(rows)), [f"{lane} (n={cell['n']:,})" for lane, cell in rows], fontsize=7)
    axes.invert_yaxis()
    axes.axvline(TARGET, color=INK, linewidth=0.6)
    axes.set_xlim(0.7, 1.0)
    _plain(axes, title)


def _pit(axes: Any, shares: Sequence[float], title: str) -> None:
    axes.bar(range(len(shares)), shares, color=GOOD, width=0.9)
    if shares:
        axes.axhline(1 / len(shares), color=INK, linewidth=0.6)
    axes.set_xticks([])
    axes.set_yticks([])
    _plain(axes, title)


def priors_png(rows: Sequence[Mapping[str, Any]], limit: int = 24) -> bytes:
    """Cost intervals of the best known (lane, provider) on the effort basis; equal rows give equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [row for row in rows if row["basis"] == "effort" and row["lane_id"] and row["provider"] != "*"]
    shown = sorted((row for row in shown if row.get("cost_usd")), key=lambda row: -row["n"])[:limit]
    figure = Figure(figsize=(7.6, 0.8 + 0.22 * max(1, len(shown))), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, row in enumerate(shown):
        cost = row["cost_usd"]
        axes.plot([max(cost["low"], 1e-6), cost["high"]], [place, place], color=GOOD, linewidth=2)
        axes.plot(max(cost["median"], 1e-6), place, "o", color=INK, markersize=3)
    axes.set_yticks(range(len(shown)), [f"{row['lane_id']} {plain(row['provider'])}" for row in shown], fontsize=7)
    axes.invert_yaxis()
    if shown:
        axes.set_xscale("log")
    _plain(axes, "What one more successful task costs, USD: median and 90 % interval")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def plain(text: str) -> str:
    """A name as matplotlib draws it literally: a dollar sign would start mathematics."""
    return text.replace("$", r"\$")[:40]


def _plain(axes: Any, title: str) -> None:
    axes.set_title(title, fontsize=8, loc="left")
    axes.tick_params(labelsize=7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def png_markdown(png: bytes, alt: str) -> str:
    """A picture inside Markdown metadata."""
    return f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})"
