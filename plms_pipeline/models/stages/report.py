"""What is told of a report? The report itself: whoever opens the asset reads it there, pictures and all."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from plms_pipeline.models.stages.names import CANDIDATE_REPORT
from plms_pipeline.models.stages.stage import Stage


def report_stage(page: str, text: str, pictures: Mapping[str, bytes], *, folder: str) -> Stage:
    """The report of a candidate.

    Args:
        page: path of the page.
        text: the Markdown, which shows its pictures as `(<folder/name>)`.
        pictures: PNG files by name.
        folder: as the Markdown names it.
    """
    for name, content in pictures.items():
        inline = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        text = text.replace(f"(<{folder}/{name}>)", f"({inline})")
    facts = {"pictures": len(pictures), "characters": len(text)}
    return Stage(CANDIDATE_REPORT, facts, texts={"report": text}, paths={"page": page})
