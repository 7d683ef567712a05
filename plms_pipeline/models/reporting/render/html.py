"""A report as one self-contained HTML page: pictures inside, nothing fetched; everything that comes from data is escaped."""

from __future__ import annotations

from base64 import b64encode

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from plms_pipeline.models.reporting.blocks import Block, Chart, Note, Report
from plms_pipeline.models.reporting.render.charts import draw


def page(report: Report) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("plms_pipeline.models.reporting.render"), autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(kind=_kind, picture=_picture, anchor=_anchor)
    return environment.get_template("report.html.j2").render(report=report)


def _kind(block: Block) -> str:
    return "chart" if isinstance(block, Chart) else "note" if isinstance(block, Note) else "table"


def _picture(chart: Chart) -> str:
    return f"data:image/svg+xml;base64,{b64encode(draw(chart, 'svg')).decode('ascii')}"


def _anchor(title: str) -> str:
    return "-".join("".join(sign if sign.isalnum() else " " for sign in title.lower()).split())
