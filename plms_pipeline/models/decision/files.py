"""Where do decisions lie for people?

Copies of rows, written after the commit and written again when they are missing: a full disk must not undo a decision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from plms_pipeline.instance.files.atomic import write_if_different
from plms_pipeline.models.decision.record import approval_markdown

APPROVAL: Final = "evaluation/approval.json"
APPROVAL_TEXT: Final = "evaluation/approval.md"
LOG: Final = "models/decision_log.md"


def write_approval(run: Path, document: Mapping[str, Any]) -> bool:
    """Write the record beside the summary of its run, if it is not there as it should be; whether it was written.

    A run folder that is gone is left gone: an empty one would look like a candidate.
    """
    if not run.is_dir():
        return False
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    files = {APPROVAL: text, APPROVAL_TEXT: approval_markdown(document)}
    # Both, also when the first was written: a list, not a generator.
    written = [write_if_different(run / name, content) for name, content in files.items()]
    return any(written)


def write_log(reports: Path, text: str) -> bool:
    """Write the decision log below the reports, if it says anything else; whether it was written."""
    return write_if_different(reports / LOG, text)
