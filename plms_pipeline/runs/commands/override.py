"""`plms run override`: a failed verdict that is let pass, asked for and decided from a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput
from plms_pipeline.registry.opening import opened
from plms_pipeline.runs.commands.projects import AsJson, ReasonOption
from plms_pipeline.runs.verdicts import asked
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.runs.actions.decide_verdict import OverrideCase

RunArgument = Annotated[str, typer.Argument(help="The run's id.")]


def register(app: typer.Typer) -> None:
    """Add `override` to `plms run`."""
    override = typer.Typer(help="A failed verdict that is let pass: asked for by the owner, decided by another.")
    override.command(epilog="Example: plms run override show 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --json")(show)
    override.command(
        epilog="Example: plms run override request 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --reason 'runner was down' --json"
    )(request)
    override.command(
        epilog="Example: plms run override decide 3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11 --approve --reason 'I ran them' --json"
    )(decide)
    app.add_typer(override, name="override", no_args_is_help=True)


def show(run_id: RunArgument, as_json: AsJson = False) -> None:
    """What there is to decide: the verdict, what the gates measured, the logs of those that failed."""
    from plms_pipeline.runs.actions.decide_verdict import override_case
    from plms_pipeline.runs.files.kpi_logs import log_reader

    settings = load_settings()
    with opened(settings) as registry:
        case = override_case(registry, run_id, read_log=log_reader(settings.data_dir))
    if as_json:
        typer.echo(json.dumps(case.as_json(), ensure_ascii=False))
        return
    _print_case(case)


def request(
    run_id: RunArgument,
    reason: ReasonOption,
    teach: Annotated[bool, typer.Option("--teach", help="Let the run teach the priors if it is let pass.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask, as the project's owner, that a failed verdict be let pass."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.decide_verdict import request_kpi_override
    from plms_pipeline.runs.files.kpi_logs import log_reader
    from plms_pipeline.runs.ids import random_id

    settings = load_settings()
    with opened(settings) as registry:
        done = request_kpi_override(
            registry, run_id, clock=SystemClock(), ids=random_id, actor=local_actor(), reason=reason, teach=teach,
            read_log=log_reader(settings.data_dir), auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(done.as_json(), ensure_ascii=False))
        return
    typer.echo(f"asked: decision {done.decision_id} waits for another person")


def decide(
    run_id: RunArgument,
    reason: ReasonOption,
    approve: Annotated[bool, typer.Option("--approve", help="Let the verdict pass.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Leave it failed.")] = False,
    evidence: Annotated[
        str | None, typer.Option(help="Digest of the gates that you were shown; others are then refused.")
    ] = None,
    dont_teach: Annotated[bool, typer.Option("--dont-teach", help="Let it pass, but do not learn from it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide about an override that the owner asked for; shows what the gates measured."""
    from plms_pipeline.access.actors import local_actor
    from plms_pipeline.runs.actions.decide_verdict import decide_kpi_override
    from plms_pipeline.runs.files.kpi_logs import log_reader
    from plms_pipeline.runs.ids import random_id

    if approve == reject:
        raise BadInput("Give either --approve or --reject.", code="bad_use")
    settings = load_settings()
    with opened(settings) as registry:
        done = decide_kpi_override(
            registry, run_id, clock=SystemClock(), ids=random_id, actor=local_actor(), approve=approve, reason=reason,
            evidence_sha256=evidence, teach=False if dont_teach else None, read_log=log_reader(settings.data_dir),
            auth_disabled=settings.auth == "disabled",
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(done.as_json(), ensure_ascii=False))
        return
    _print_case(done.case)
    typer.echo(f"{done.decision}: decision {done.decision_id}")


def _print_case(case: OverrideCase) -> None:
    run = case.run
    typer.echo(
        f"run {run.run_id} of project {run.project_id} ({case.project_status}): {run.status}, measured {run.validation}, "
        f"effective {run.effective}, owner {case.owner}"
    )
    names = ("task", "KPI", "value", "gate", "pass", "why")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None, pad_edge=False)
    for row in case.kpis:
        table.add_row(
            row.task_id or "", row.kpi, "not measured" if row.value is None else f"{row.value:g}",
            asked(row.threshold), "yes" if row.passed else "NO", row.reason or "",
        )  # fmt: skip
    Console(markup=False, emoji=False).print(table)
    for row in case.kpis:
        if row.logs_path:
            typer.echo(f"log of {row.task_id or 'the run'}, {row.kpi}: {row.logs_path}")
    for name, text in case.logs.items():
        typer.echo(f"--- {name}\n{text.rstrip()}")
    if case.request is not None:
        typer.echo(f"asked by {case.request.actor}: {case.request.reason}")
    typer.echo(f"evidence {case.evidence_sha256}")
