"""The flag that stops everything: `$PLMS_DATA_DIR/KILLSWITCH`.

It exists: nothing starts, whatever the registry says. Its text is the reason. A flag that cannot be read counts as raised, so
does one that is a folder.
"""

from __future__ import annotations

from pathlib import Path

from plms_pipeline.instance.files.atomic import replacing

FLAG = "KILLSWITCH"
_LONGEST_REASON = 500


def flag_reason(data_dir: Path) -> str | None:
    """Why nothing may start, or None when the flag is not there."""
    try:
        with (data_dir / FLAG).open("rb") as stream:
            text = stream.read(_LONGEST_REASON).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"the flag file {FLAG} cannot be read ({error.strerror})"
    return text or "no reason was given"


def raise_flag(data_dir: Path, reason: str) -> Path:
    """Put the flag up, whole or not at all; where it lies."""
    with replacing(data_dir / FLAG) as stream:
        stream.write(reason.strip().encode("utf-8") + b"\n")
    return data_dir / FLAG


def lower_flag(data_dir: Path) -> bool:
    """Take the flag down; False when it was not up."""
    try:
        (data_dir / FLAG).unlink()
    except FileNotFoundError:
        return False
    return True
