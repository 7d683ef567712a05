"""`plms run report | follow | settle | reconcile`, from a terminal."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from plms_pipeline.errors import BadInput, VerdictNo
from plms_pipeline.settings import load_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunIdArgument = Annotated[str, typer.Argument(help="The run's id.")]
_SHOWN = (
    "RESULT", "RUN_STATE", "GATE_STATUS", "TARGET", "CASES_TOTAL", "CASES_PASSED", "COST_USD", "BUDGET_USD", "DURATION_MS",
    "TOP_FAIL_REASONS", "BLOCKING_ISSUES", "WARNINGS", "RECOMMENDATIONS", "TIMESTAMP",
)  # fmt: skip


class Form(StrEnum):
    """How much of a report is printed."""

    summary = "summary"
    json = "json"
    raw = "raw"
    full = "full"


def register(app: typer.Typer) -> None:
    """Add these commands to `plms run`."""
    app.command(
        epilog="Example: plms run report 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --field RESULT. Exit: 0 PASS or WARN, 1 FAIL, 2 "
        "no such run or report."
    )(report)
    app.command(
        epilog="Example: plms run follow 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --json. Exit: 0 ended well, 1 ended badly or the "
        "time is over."
    )(follow)
    app.command(epilog="Example: plms run settle --json")(settle)
    app.command(epilog="Example: plms run reconcile --json. Exit 4 when the executor does not answer.")(reconcile)


def report(
    run_id: RunIdArgument,
    field: Annotated[str | None, typer.Option(help="Print only this field's value.")] = None,
    form: Annotated[
        Form, typer.Option("--format", help="summary; json; raw: the Markdown as it lies on disk (full says the same).")
    ] = Form.summary,
    as_json: AsJson = False,
) -> None:
    """The session report of a run that ended."""
    from plms_pipeline.runs.actions.closing import close_due, report_document
    from plms_pipeline.runs.files.reports import read_markdown
    from plms_pipeline.runs.render.session import shown
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        close_due(world.registry, settings=world.settings, clock=world.clock)
        found = report_document(world.registry, run_id)
        fields: dict[str, Any] = dict(found.report)
        if field is not None:
            _print_field(fields, field, as_json=as_json or form is Form.json)
        elif as_json or form is Form.json:
            typer.echo(json.dumps({**fields, "revision": found.revision, "path": found.path}, ensure_ascii=False))
        elif form is Form.summary:
            table = Table("field", "value", title=f"{fields['TARGET']} · revision {found.revision}")
            for name in _SHOWN:
                table.add_row(name, shown(fields[name]))
            Console(markup=False, emoji=False).print(table)
        else:
            typer.echo(read_markdown(world.settings.reports_dir, run_id) or "", nl=False)
    if field is None and fields["RESULT"] == "FAIL":
        raise VerdictNo(f"Run {run_id} is FAIL; the report says why ({found.path}).", code="run_failed")


def _print_field(fields: dict[str, Any], name: str, *, as_json: bool) -> None:
    from plms_pipeline.runs.render.session import shown

    wanted = name.upper()
    if wanted not in fields:
        raise BadInput(
            f"A session report has no field {name!r}; its {len(fields)} fields are {', '.join(fields)}.",
            code="unknown_field",
        )
    typer.echo(json.dumps({wanted: fields[wanted]}, ensure_ascii=False) if as_json else shown(fields[wanted]))


def follow(
    run_id: RunIdArgument,
    as_json: AsJson = False,
    wait_s: Annotated[float, typer.Option(help="Give up after so many seconds.", min=0)] = 3600.0,
) -> None:
    """Print what happens to a run until it has ended: what happened so far first, then each line as it happens."""
    from plms_pipeline.runs.lifecycle import is_terminal
    from plms_pipeline.runs.service.following import follow_run
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        status = ""
        for seen in follow_run(world.registry, run_id, wait_s=wait_s):
            status = seen.status
            for line in seen.lines:
                typer.echo(json.dumps(line.as_json(), ensure_ascii=False) if as_json else line.text())
    if not is_terminal("run", status):
        raise VerdictNo(
            f"Run {run_id} is still {status} after {wait_s:g} s; `plms run show {run_id}` says what it waits for.",
            code="still_running",
        )
    if status != "SUCCESS":
        raise VerdictNo(f"Run {run_id} ended {status}; `plms run report {run_id}` says why.", code="run_failed")


def settle(as_json: AsJson = False) -> None:
    """Settle what the executor said has ended, now. `plms serve` and the daemon do this by themselves."""
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        total = world.settler.drain(idle_s=0, longest_s=300.0)
        written = world.settler.close_due()
    told = {
        "claimed": total.claimed, "settled": total.settled, "ignored": total.ignored, "refused": total.refused,
        "deferred": total.deferred, "receipts": total.receipts, "prior_versions": total.priors,
        "ended_runs": list(total.ended_runs), "reports_written": written,
    }  # fmt: skip
    _told(told, as_json=as_json)


def reconcile(as_json: AsJson = False) -> None:
    """Compare runs that are under way with the executor's status: what ended there unheard is settled."""
    from datetime import timedelta

    from plms_pipeline.errors import Unavailable
    from plms_pipeline.runs.service.opening import opened

    with opened(load_settings()) as world:
        found = world.settler.reconcile(age=timedelta(0))
        if found.did_something:
            world.settler.drain(idle_s=0, longest_s=300.0)
    told = {"compared": found.compared, "told": found.told, "lost": found.lost, "handed_over_again": found.again}
    _told(told, as_json=as_json)
    if found.away is not None:
        raise Unavailable(f"The executor does not answer: {found.away}", code="pas_unavailable")


def _told(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told))
        return
    for name, value in told.items():
        typer.echo(f"{name:<18} {', '.join(value) if isinstance(value, list) else value}")
