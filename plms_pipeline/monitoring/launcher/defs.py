"""Runs the job `nightly` here and now, as `plms nightly` does.

It runs in this process and not through the queue: whoever types the command waits for its answer, and a terminal that has
no daemon must still be able to prove the books. The lease of the night keeps it apart from a scheduled run.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import dagster as dg

from plms_pipeline.errors import BadInput, NoData, PlmsError, Unavailable, VerdictNo
from plms_pipeline.instance.actors import Launch, LaunchedFrom
from plms_pipeline.monitoring.process import watching_interrupts
from plms_pipeline.resources import AS_OF_TAG

DEFINITIONS = "plms_pipeline.definitions"
JOB = "nightly"

Progress = Callable[[str, str, float | None], None]


# What a step raised comes back as text; the name of its class says which exit code it stands for.
_FAMILY: dict[str, type[PlmsError]] = {each.__name__: each for each in (BadInput, NoData, Unavailable, VerdictNo)}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a step or the run failed: one line, and the class and code of our own error when it was one of ours."""

    step: str
    text: str
    kind: type[PlmsError] | None = None
    code: str | None = None


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
        BadInput, NoData, Unavailable, VerdictNo: a step raised it, and no retry helped; told with the step's name.
        PlmsError: the run failed for another reason; the message names the step and its reason (`night_failed`, exit 1).
        KeyboardInterrupt: SIGINT arrived while a step ran.
    """
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    warnings.filterwarnings("ignore", category=dg.PreviewWarning)
    definitions: dg.Definitions = importlib.import_module(DEFINITIONS).defs
    run_id = str(uuid4())
    reasons: list[Reason] = []
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
        raise night_error(reasons, run_id)
    return NightRun(run_id=run_id, succeeded=result.success)


def night_error(reasons: Sequence[Reason], run_id: str) -> PlmsError:
    """What to tell of a run that failed: our own error under its own class, so that an outage exits 4 and not 1."""
    first = next((each for each in reasons if each.kind), reasons[0] if reasons else Reason("", "no step said why"))
    where = f" at {first.step}" if first.step else ""
    if first.kind is VerdictNo:
        return VerdictNo(first.text, code=first.code)
    if first.kind is not None:
        return first.kind(
            f"The night stopped{where}: {first.text} Nothing half-written was kept; run the same command again "
            "when that is put right.",
            code=first.code,
        )
    return PlmsError(
        f"The night failed{where} ({first.text}); nothing half-written was kept. Run {run_id} in the Dagster UI holds the "
        "details; `plms doctor` checks the installation.",
        code="night_failed",
        exit_code=1,
    )


def _listener(progress: Progress, reasons: list[Reason], is_interrupted: Callable[[], bool]) -> Callable[[Any], None]:
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
            reason = _reason(step, event.event_specific_data)
            if reason.text:
                reasons.append(reason)

    return told


def _reason(step: str, data: Any) -> Reason:
    """Our own error in the chain of a failure, else its innermost one, in one line."""
    error = getattr(data, "error", None)
    failure = getattr(data, "user_failure_data", None)
    text = str(failure.description) if failure is not None and failure.description else ""
    described, innermost = text, ""
    while error is not None:
        kind = _FAMILY.get(error.cls_name or "")
        innermost = _line(error, is_named=kind is None)
        if kind is not None:
            # `no_retry_for_permanent_errors` wraps it into "<code>: <message>".
            return Reason(step, innermost, kind, described.partition(": ")[0] or None)
        if error.cls_name == dg.Failure.__name__:
            described = _line(error, is_named=False)
        error = error.cause
    return Reason(step, text or innermost)


def _line(error: Any, *, is_named: bool) -> str:
    """The message in one line, with or without the name of the exception's class before it."""
    text = " ".join(str(error.message).split())
    name, separator, rest = text.partition(": ")
    return rest if separator and not is_named and name.endswith(str(error.cls_name)) else text
