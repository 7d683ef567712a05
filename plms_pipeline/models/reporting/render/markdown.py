"""A report as Markdown, with its pictures as files beside it.

Whatever comes from data is escaped: a symbol called `<script>` or `| 1 |` must neither run in a viewer nor break a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from plms_pipeline.models.reporting.blocks import Block, Chart, Note, Report, Table
from plms_pipeline.models.reporting.render.charts import draw

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]|~$])")
# Marks that only mean something where a line begins.
_LEADING: Final = re.compile(r"^([#+=>-]|\d+(?=[.)]))")
_PLAIN_NUMBER: Final = re.compile(r"-?[0-9][0-9,.]*%?")
_MARKS: Final[Mapping[str, str]] = {"good": "", "bad": "**", "warn": "*", "": ""}


def markdown(report: Report, folder: str) -> str:
    """The document.

    Args:
        folder: of the pictures, relative to the document.
    """
    parts = [f"# {escaped(report.title)}", escaped(report.description), f"**{escaped(report.verdict.text)}**"]
    for section in report.sections:
        parts.append(f"## {escaped(section.title)}")
        if section.lead:
            parts.append(escaped(section.lead))
        parts += [_block(block, folder) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def pictures(report: Report) -> dict[str, bytes]:
    """The pictures by their file names."""
    return {f"{chart.name}.png": draw(chart, "png") for chart in report.charts()}


def escaped(text: str) -> str:
    """Text that Markdown and the HTML inside of it show as it is, on one line."""
    line = " ".join(text.split())
    if _PLAIN_NUMBER.fullmatch(line):
        return line
    entities = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # What looks like an address becomes a link in many viewers without any mark around it.
    marked = _LEADING.sub(_without_its_meaning, _SPECIAL.sub(r"\\\1", entities))
    return marked.replace("://", ":&#47;&#47;").replace("www.", "www&#46;").replace("@", "&#64;")


def _without_its_meaning(found: re.Match[str]) -> str:
    mark = found.group(1)
    return f"{mark[:-1]}&#{ord(mark[-1])};"


def _block(block: Block, folder: str) -> str:
    if isinstance(block, Note):
        return escaped(block.text)
    if isinstance(block, Chart):
        return f"![{escaped(block.alt)}](<{_address(folder)}/{block.name}.png>)"
    return _table(block)


def _address(folder: str) -> str:
    return folder.replace("\\", "/").replace("<", "%3C").replace(">", "%3E").replace("\n", "%0A")


def _table(block: Table) -> str:
    lines = [_row([escaped(name) for name in block.headings])]
    lines.append(_row([":--" if place in block.texts else "--:" for place in range(len(block.headings))]))
    for row in block.rows:
        cells = []
        for cell in row:
            mark = _MARKS[cell.tone] if cell.text.strip() else ""
            cells.append(f"{mark}{escaped(cell.text)}{mark}")
        lines.append(_row(cells))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
