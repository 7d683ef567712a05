"""`plms queue`: what waits in the lanes, and the first obstacle in each task's way."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from plms_pipeline.clock import SystemClock
from plms_pipeline.portfolio.commands.opened import opened

app = typer.Typer()


@app.command(
    epilog="Example: plms queue --project 42 --json. Exit: 0 whether or not anything waits, 2 no such lane, project or run."
)
def queue(
    lane: Annotated[int | None, typer.Option(help="Only this lane.")] = None,
    project: Annotated[int | None, typer.Option(help="Only this project.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many tasks.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What waits, whose it is, for how long, and why.

    The first line counts what was asked for, then lane by lane: slots taken by anybody / cap, + how much of it waits there.
    With --json the sources' totals are those of everything, and `asked` counts what was asked for.
    """
    from plms_pipeline.portfolio.actions.status import portfolio_status, queue_of, queue_totals, require_known
    from plms_pipeline.portfolio.files import flag_reason

    with opened() as (settings, registry):
        clock = SystemClock()
        require_known(registry, lane_id=lane, project_id=project, run_id=run)
        status = portfolio_status(registry, clock=clock)
        totals = queue_totals(registry, lane_id=lane, project_id=project, run_id=run)
        waiting = queue_of(
            registry, clock=clock, flag=flag_reason(settings.data_dir), lane_id=lane, project_id=project, run_id=run,
            limit=limit, max_runs=settings.pas_max_runs,
        )  # fmt: skip
    if as_json:
        asked = {"lane": lane, "project": project, "run": run, "running": totals.running, "waiting": totals.waiting}
        typer.echo(json.dumps(status | {"asked": asked, "waiting": [one.shown for one in waiting]}))
        return
    named = (("lane", lane), ("project", project), ("run", run))
    of = ", ".join(f"{kind} {value}" for kind, value in named if value is not None)
    loads = "  ".join(
        f"{at.lane_id} {at.taken}/{at.limit}" + (f" +{at.waiting}" if at.waiting else "") for at in totals.lanes
    )
    typer.echo(
        f"{f'{of}: ' if of else ''}running {totals.running}, waiting {totals.waiting}{f'; {loads}' if loads else ''}"
    )
    for one in waiting:
        task = one.task
        typer.echo(
            f"{task.lane_id}  project {task.project_id}  {task.run_id[:8]}  {task.task_id}  "
            f"{_span(one.waited_s)}  {one.reason.code}: {one.reason.text}"
        )


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
