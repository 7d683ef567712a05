"""Which refusals are written down one by one, and which are only counted?

Every refused request is audited, and the audit log is kept for ever: whoever may not come in could fill our disk simply by
knocking. So a minute holds a bounded number of entries of its own, and the first entry afterwards says how many were
left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=1)
MAX_PER_WINDOW = 300


@dataclass(frozen=True, slots=True)
class Window:
    """The running minute: when it began, what was written in it and what was not, and what the one before left out."""

    began_at: datetime
    written: int = 0
    left_out: int = 0


def admit(window: Window | None, now: datetime) -> tuple[Window, int | None]:
    """The window after one more refusal, and how many were left out before this one; None: leave this one out too."""
    before = window
    if window is None or not timedelta(0) <= now - window.began_at < WINDOW:
        window = Window(now)
    if window.written >= MAX_PER_WINDOW:
        return Window(window.began_at, window.written, window.left_out + 1), None
    left_out = 0
    if before is not None and before is not window:
        left_out = before.left_out
    return Window(window.began_at, window.written + 1, window.left_out), left_out
