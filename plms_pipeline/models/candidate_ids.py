"""What may a candidate be called?

The id names a Dagster partition, and partition keys come from whoever may launch: what is no plain name never becomes a path, a
URL or a line of a log.
"""

from __future__ import annotations

import re
from typing import Final

from plms_pipeline.errors import BadInput

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


def candidate_id(text: str) -> str:
    """The id, without blanks around it.

    Raises:
        BadInput: it is no plain name (`bad_candidate`).
    """
    stripped = text.strip()
    if not _PLAIN.fullmatch(stripped):
        raise BadInput(
            f"{text[:80]!r} is no id of a candidate: letters, digits, - and _, at most 64. `plms model list` shows them.",
            code="bad_candidate",
        )
    return stripped
