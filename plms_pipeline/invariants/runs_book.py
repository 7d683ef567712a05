"""Do the rows of runs agree with each other? Pure comparisons; nothing here raises on what it is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from plms_pipeline.invariants.book import found, sha256_text
from plms_pipeline.invariants.report import Found
from plms_pipeline.runs.ids import card_key
from plms_pipeline.runs.receiving import STOPPED


def altered_snapshots(rows: Sequence[Sequence[Any]]) -> Found:
    """Snapshots whose text is not what was hashed; rows (id, run, moment, text, SHA-256)."""
    return found(
        len(rows),
        [
            f"provider_snapshots run_id={run} moment={moment}: its text is not what was hashed"
            for _, run, moment, text, sha256 in rows
            if sha256_text(text or "") != sha256
        ],
    )


def foreign_cards(rows: Sequence[Sequence[Any]]) -> Found:
    """Cards whose key is not derived from what they are; rows (key, run, task, attempt)."""
    wrong = []
    for key, run, task, attempt in rows:
        derived = card_key(str(run), str(task), int(attempt))
        if key != derived:
            wrong.append(
                f"job_cards card_key={key} run_id={run} task_id={task} attempt={attempt}: its key would be {derived}"
            )
    return found(len(rows), wrong)


def overstated(rows: Sequence[Sequence[Any]]) -> Found:
    """Rehearsals called representative with a coverage below 1; rows (rehearsal, run, answer text, the run's coverage)."""
    wrong = []
    for rehearsal, run, text, coverage in rows:
        metrics = _object(_object(text).get("sampling_metrics"))
        claims = metrics.get("is_representative") is True
        said = metrics.get("strata_coverage")
        lowest = min((value for value in (said, coverage) if isinstance(value, int | float)), default=1.0)
        if claims and lowest < 1:
            wrong.append(
                f"rehearsals rehearsal_id={rehearsal} run_id={run}: called representative, covers {lowest:.3g} of its strata"
            )
    return found(len(rows), wrong)


def runless_answers(rows: Sequence[Sequence[Any]]) -> Found:
    """Answers that do not name the run that they started; rows (id, path, key's run, answer text, project of that run)."""
    wrong = []
    for number, path, run, text, project in rows:
        told = _object(text).get("run_id")
        place = str(path).split("/")
        if run is None or told != run:
            problem = f"the answer names {told}, the row {run}"
        elif project is None or (len(place) > 3 and place[3] != str(project)):
            problem = f"run {run} belongs to project {project}"
        else:
            continue
        wrong.append(f"idempotency_keys id={number} path={path} run_id={run}: {problem}")
    return found(len(rows), wrong)


def unbooked(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Settled completions that should have left a receipt; rows (event, run, task, attempt, outcome, body text).

    One that was stopped before anything was known of it leaves none, and its task ended `failed`.
    """
    wrong = []
    for event, run, task, attempt, outcome, text in rows:
        body = _object(text)
        metrics = _object(body.get("metrics"))
        knows = body.get("receipt") is not None or any(value is not None for value in metrics.values())
        was_stopped = str(body.get("status", "")).lower() in STOPPED
        if not (outcome == "failed" and was_stopped and not knows):
            wrong.append(f"inbox_events event_id={event} run_id={run} task_id={task} attempt={attempt}: no receipt")
    return wrong


def _object(value: Any) -> dict[str, Any]:
    """A JSON object from text or as it is; anything else is an empty one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
