"""`plms project lane-override`, `lane-overrides`, `accept-ungated`: what people decide about lanes, from a terminal."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.opening import opened
from plms_pipeline.runs.commands.projects import AsJson, ProjectArgument, ReasonOption
from plms_pipeline.settings import load_settings

LaneArgument = Annotated[str, typer.Argument(help="Number, name or alias of a registered lane.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `plms project`."""
    app.command(
        "lane-override", epilog="Example: plms project lane-override 7 Data-Ingest --reason 'it fetches' --json"
    )(lane_override)
    app.command("lane-overrides", epilog="Example: plms project lane-overrides 42 --json")(lane_overrides)
    app.command(
        "accept-ungated", epilog="Example: plms project accept-ungated 6100 --reason 'reviewed by hand' --json"
    )(accept_ungated)


def lane_override(
    task_id: Annotated[int, typer.Argument(help="The planned task's id (`plms project show`).", min=1, max=2**31 - 1)],
    lane: LaneArgument,
    reason: ReasonOption,
    as_json: AsJson = False,
) -> None:
    """Move a planned task to another lane; the nightly classifier learns from it."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.decide_lanes import override_lane
    from plms_pipeline.runs.ids import random_id

    settings = load_settings()
    with opened(settings) as registry:
        done = override_lane(
            registry, task_id, lane, clock=SystemClock(), ids=random_id, actor=local_actor(), reason=reason,
            alpha=settings.alpha,
        )  # fmt: skip
    if as_json:
        told = {
            "project_id": done.project_id, "status": done.project_status, "task_id": done.task.id,
            "predicted_lane": done.predicted_lane, "corrected_lane": done.corrected_lane,
            "decision_id": done.decision_id,
        }  # fmt: skip
        typer.echo(json.dumps(told))
        return
    typer.echo(f"task {task_id}: lane {done.predicted_lane} → {done.corrected_lane}, decision {done.decision_id}")


def lane_overrides(project_id: ProjectArgument, as_json: AsJson = False) -> None:
    """The tasks of a project whose lane a person corrected, newest first."""
    from plms_pipeline.runs.actions.decide_lanes import lane_overrides as found_overrides

    with opened(load_settings()) as registry:
        rows = found_overrides(registry, project_id)
    if as_json:
        told = [
            {"task_id": row.task_id, "task_description": row.task_description, "predicted_lane": row.predicted_lane,
             "corrected_lane": row.corrected_lane, "corrected_by": row.corrected_by,
             "corrected_at": row.corrected_at.isoformat()}
            for row in rows
        ]  # fmt: skip
        typer.echo(json.dumps({"lane_overrides": told}, ensure_ascii=False))
        return
    table = Table("task", "text", "predicted", "corrected", "by", "at")
    for row in rows:
        table.add_row(
            str(row.task_id), (row.task_description or "")[:80], str(row.predicted_lane),
            str(row.corrected_lane), row.corrected_by, f"{row.corrected_at:%Y-%m-%d %H:%M}",
        )  # fmt: skip
    Console(markup=False, emoji=False).print(table)


def accept_ungated(
    lane: LaneArgument,
    reason: ReasonOption,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take an earlier acceptance back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let the work of a lane without gates teach the priors, or take that back."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.decide_lanes import accept_ungated_lane
    from plms_pipeline.runs.ids import random_id

    with opened(load_settings()) as registry:
        done = accept_ungated_lane(
            registry, lane, clock=SystemClock(), ids=random_id, actor=local_actor(), reason=reason, accept=not withdraw
        )
    if as_json:
        told = {
            "lane_id": done.lane_id, "lane_name": done.lane_name, "accepted": done.accepted,
            "days_marked": done.days_marked, "decision_id": done.decision_id,
        }  # fmt: skip
        typer.echo(json.dumps(told))
        return
    word = "teaches" if done.accepted else "does not teach"
    typer.echo(f"lane {done.lane_id}: ungated work {word} from now on; {done.days_marked} days are summarised again")
