"""Has somebody pulled the flag that stops everything?

`$PLMS_DATA_DIR/KILLSWITCH` exists: nothing starts, whatever the registry says. Its text is the reason. A flag that cannot be
read counts as pulled.
"""

from __future__ import annotations

from pathlib import Path

FLAG = "KILLSWITCH"
_LONGEST_REASON = 500


def stop_reason(data_dir: Path) -> str | None:
    """Why nothing may start, or None when the flag is not there."""
    flag = data_dir / FLAG
    try:
        with flag.open("rb") as stream:
            text = stream.read(_LONGEST_REASON).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"the flag file {FLAG} cannot be read ({error.strerror})"
    return text or "no reason was given"
