"""Runs the job `nightly` here and now, as `plms nightly` does.

It runs in this process and not through the queue: whoever types the command waits for its answer, and a terminal that has
no daemon must still be able to prove the books. The lease of the night keeps it apart from a scheduled run.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import dagster as dg

from plms_pipeline.errors import PlmsError
from plms_pipeline.instance.actors import Launch, LaunchedFrom
from plms_pipeline.monitoring.process import watching_interrupts
from plms_pipeline.resources import AS_OF_TAG

DEFINITIONS = "plms_pipeline.definitions"
JOB = "nightly"

Progress = Callable[[str, str, float | None], None]


@dataclass(frozen=True, slots=True)
class NightRun:
    """How a run of the job ended."""

    run_id: str
    succeeded: bool


def run_night(*, as_of: datetime, actor: str, progress: Progress) -> NightRun:
    """Execute the job in this process; needs DAGSTER_HOME to be set (`instance.prepare_instance`).

    Args:
        as_of: the instant of the night.
        actor: who asked, for the tag of the run.
        progress: called with (step, "start" | "done" | "failed", seconds or None).

    Raises:
        PlmsError: the run failed; the message names the step and its reason.
        KeyboardInterrupt: SIGINT arrived while a step ran.
    """
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    warnings.filterwarnings("ignore", category=dg.PreviewWarning)
    definitions: dg.Definitions = importlib.import_module(DEFINITIONS).defs
    run_id = str(uuid4())
    reasons: list[str] = []
    with dg.DagsterInstance.get() as instance, watching_interrupts() as is_interrupted:
        instance.add_event_listener(run_id, _listener(progress, reasons, is_interrupted))
        result = definitions.resolve_job_def(JOB).execute_in_process(
            instance=instance,
            run_id=run_id,
            tags={AS_OF_TAG: as_of.isoformat(), **Launch(actor, LaunchedFrom.TERMINAL).tags()},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        if not result.success and is_interrupted():
            # Dagster takes SIGINT for itself while steps run and tells of it as a failed step.
            raise KeyboardInterrupt
    if not result.success:
        reason = reasons[0] if reasons else "no step said why"
        raise PlmsError(
            f"The night failed ({reason}); nothing half-written was kept. Run {run_id} in the Dagster UI holds the details; "
            "`plms doctor` checks the installation.",
            code="night_failed",
            exit_code=1,
        )
    return NightRun(run_id=run_id, succeeded=result.success)


def _listener(progress: Progress, reasons: list[str], is_interrupted: Callable[[], bool]) -> Callable[[Any], None]:
    started: dict[str, float] = {}
    stopping = False

    def told(entry: Any) -> None:
        nonlocal stopping
        if not stopping and is_interrupted():
            # The exception of the signal itself may have been dropped or retried; this one ends the run.
            stopping = True
            raise KeyboardInterrupt
        event = entry.dagster_event
        if event is None:
            return
        step = event.step_key or ""
        kind = event.event_type_value
        if kind == "STEP_START":
            started[step] = entry.timestamp
            progress(step, "start", None)
        elif kind in {"STEP_SUCCESS", "STEP_FAILURE"}:
            done = "done" if kind == "STEP_SUCCESS" else "failed"
            progress(step, done, entry.timestamp - started.get(step, entry.timestamp))
        if kind in {"STEP_FAILURE", "PIPELINE_FAILURE"}:
            reason = _reason(event.event_specific_data)
            if reason:
                reasons.append(f"{step}: {reason}" if step else reason)

    return told


def _reason(data: Any) -> str:
    """The innermost error of a failure, in one line."""
    failure = getattr(data, "user_failure_data", None)
    if failure is not None and failure.description:
        return str(failure.description)
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join(str(error.message).split()) if error is not None else ""
