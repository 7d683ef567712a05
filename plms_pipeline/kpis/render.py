"""How do pass rates look? A small chart for Dagster's metadata, and the tables as Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from plms_pipeline.kpis.evaluation import InboxItem
from plms_pipeline.kpis.rates import PassRate


def rates_markdown(rates: Sequence[PassRate]) -> str:
    """Per lane and KPI: how many evaluations, how many passed, and the newest value."""
    head = "| lane | KPI | n | passed | rate | last value | last |\n|---|---|---:|---:|---:|---:|---|\n"
    return head + "".join(
        f"| {each.lane_id} {each.lane_name} | {each.kpi} | {each.n} | {each.passed} | {each.rate:.0%} | "
        f"{'not measured' if each.last_value is None else f'{each.last_value:.4g}'} | "
        f"{'pass' if each.last_pass else 'fail'} {each.last_at:%Y-%m-%d %H:%M} |\n"
        for each in rates
    )


def items_markdown(items: Sequence[InboxItem]) -> str:
    """One line per artifact of the inbox."""
    head = "| artifact | lane | state | verdict | why |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| {_cell(item.name)} | {item.lane_id or '–'} | {item.state} | {item.verdict or '–'} | {_cell(item.reason or '')} |\n"
        for item in items
    )


def _cell(text: str) -> str:
    """Text of an artifact, harmless inside a Markdown table."""
    safe = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
    return " ".join(safe.split())[:300]


def rates_png(rates: Sequence[PassRate]) -> bytes:
    """Horizontal bars of the pass rates as a small PNG; equal rates give equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 0.8 + 0.32 * max(1, len(rates))), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    labels = [f"{each.lane_id} {each.kpi}" for each in rates]
    places = range(len(rates))
    axes.barh(places, [1.0] * len(rates), color="#f0d9d6", height=0.62)
    axes.barh(places, [each.rate for each in rates], color="#2f7d6b", height=0.62)
    for place, each in enumerate(rates):
        axes.text(1.02, place, f"{each.passed}/{each.n}", va="center", fontsize=8, color="#333333")
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.14)
    axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"], fontsize=8)
    axes.set_title("Gates that passed, per lane and KPI", fontsize=9, loc="left")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def png_markdown(png: bytes, text: str) -> str:
    """A PNG inside Markdown: Dagster has no image metadata."""
    return f"![{text}](data:image/png;base64,{base64.b64encode(png).decode()})"
