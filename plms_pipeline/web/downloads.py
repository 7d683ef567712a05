"""Which of Dagster's downloads can there not be?

A webserver asked for the debug file of a run that nobody knows, or for a log whose address names no step, stumbles: status 500,
a traceback in its log, and an alarm for whoever counts errors, at the call of anybody. The door says 404 instead.
"""

from __future__ import annotations

from plms_pipeline.web.demands import Question
from plms_pipeline.web.origins import Refusal

LOGS = "/logs/"
DEBUG = "/download_debug/"
# What Dagster writes of a step, beside each other: what it printed, and its errors.
WRITTEN = frozenset({"out", "err"})


def log_refusal(path: str) -> Refusal | None:
    """Why there is no log at this address; None where there may be one, and for every other address.

    A log is `/logs/<key>/…/<name>/out` or `…/err`. Any other ending would be looked for on the disk, and a key that climbs
    out of the folder of logs ends in an error.
    """
    if not path.startswith(LOGS):
        return None
    *key, written = path.removeprefix(LOGS).split("/")
    if key and written in WRITTEN and all(part not in ("", ".", "..") for part in key):
        return None
    return Refusal(404, "no_log", "There is no log at this address; the page of a run links to those of its steps.")


def debugged_run(path: str) -> str | None:
    """The run whose debug file is asked for; None when none is."""
    name = path.removeprefix(DEBUG) if path.startswith(DEBUG) else ""
    return name if name and "/" not in name else None


def about_run(run_id: str) -> Question:
    """What must be looked up before its debug file can be given."""
    return Question(frozenset({run_id}), frozenset(), frozenset())


def no_run(run_id: str) -> Refusal:
    """There is no such run."""
    return Refusal(404, "no_run", f"There is no run {run_id[:64]!r}; the page Runs lists those that there are.")
