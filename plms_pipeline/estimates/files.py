"""Which files do the estimates read? A plan that a person wrote, and what last night found out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from plms_pipeline.errors import BadInput

MAX_PLAN_BYTES: Final = 16 * 1024 * 1024
NEWEST_BACKTEST: Final = "calibration_backtest.newest.json"


def read_plan(path: Path) -> str:
    """The text of a plan.

    Raises:
        BadInput: there is no such file, it is too large, or it is no text.
    """
    try:
        if path.stat().st_size > MAX_PLAN_BYTES:
            raise BadInput(f"{path} is larger than 16 MiB; a plan has one line per lane and provider.", code="bad_plan")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path} is no text; a plan is a CSV file: lane,provider,tasks.", code="bad_plan") from None
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror or error}); check the path of --from.", code="bad_plan"
        ) from None


def last_backtest(data_dir: Path) -> dict[str, Any]:
    """The backtest of the newest night, whatever date was repeated since; empty when no night has run here."""
    try:
        found = json.loads((data_dir / "documents" / NEWEST_BACKTEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
