"""Which SQL script makes the sample database?"""

from __future__ import annotations

import hashlib
from pathlib import Path

from plms_pipeline.errors import BadInput
from plms_pipeline.settings import project_root

MAX_SCRIPT = 16 * 1024 * 1024


def shipped_script() -> Path:
    """The script that comes with the project.

    Raises:
        BadInput: this installation is not a checkout and ships none.
    """
    root = project_root()
    script = root / "data" / "samples" / "artifacts" / "warehouse.sql" if root else None
    if script is None or not script.is_file():
        raise BadInput("this installation ships no sample warehouse; name an SQL script.", code="missing_warehouse")
    return script


def read_script(script: Path) -> str:
    """The text of an SQL script.

    Raises:
        BadInput: it cannot be read as UTF-8 text of at most 16 MiB.
    """
    try:
        if script.stat().st_size > MAX_SCRIPT:
            raise BadInput(f"{script} is larger than {MAX_SCRIPT} bytes; load a larger database by your own means.")
        return script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{script} cannot be read as an SQL script ({error}).", code="bad_warehouse") from None


def digest_of(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
