"""`plms pas`: the executor from a terminal, and a reference executor to try things on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from plms_pipeline.errors import BadInput, NoData, PlmsError, Unavailable
from plms_pipeline.pas.files import webhook_secret
from plms_pipeline.settings import Settings, is_http_url, load_settings, project_root

if TYPE_CHECKING:
    from plms_pipeline.pas.client import PasClient

app = typer.Typer(
    help="The executor (PAS): ask it, or serve the reference one.", no_args_is_help=True, add_completion=False
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_SERVE_EXAMPLE = "Example: plms pas serve --speed 1000 --seed 7 --fault duplicate=0.1 --fault lost=0.05"


@app.command(epilog=_SERVE_EXAMPLE)
def serve(
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 6200,
    speed: Annotated[float, typer.Option(min=0.001, max=1e9, help="Virtual seconds per real second.")] = 1000.0,
    seed: Annotated[int, typer.Option(help="Of every choice; the same seed and card meet the same fate.")] = 0,
    db: Annotated[Path | None, typer.Option(help="Its SQLite file; default pas/pas.db in the data directory.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="name=probability, may be repeated; `--fault list` names all.")
    ] = None,
    plms: Annotated[str | None, typer.Option(help="Where events go; default the API of these settings.")] = None,
    lane: Annotated[list[str] | None, typer.Option(help="number=workers, one lane more or another cap.")] = None,
    artifacts_root: Annotated[
        Path | None, typer.Option(help="Artifacts may be written below it; default the data directory.")
    ] = None,
    samples: Annotated[Path | None, typer.Option(help="Folder of the sample receipts to replay.")] = None,
    longest_min: Annotated[float, typer.Option(min=0.1, help="Replay no task longer than this.")] = 30.0,
    slow_s: Annotated[float, typer.Option(min=0, help="How late the fault `slow` answers.")] = 2.0,
    command_s: Annotated[float, typer.Option(min=0.1, help="Wall clock of a task's command.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Serve the reference executor until Ctrl-C: real outcomes at any speed, and the faults of the world by switch."""
    from plms_pipeline.pas.reference.faults import MEANINGS, parse_faults
    from plms_pipeline.pas.reference.service import ServeOptions, serve_pas

    if fault and "list" in fault:
        _print_faults(dict(MEANINGS), as_json=as_json)
        return
    settings = load_settings()
    options = ServeOptions(
        host=host, port=port, plms_url=_events_to(plms, settings),
        secret=webhook_secret(settings), db=db or settings.data_dir / "pas" / "pas.db", samples=samples or _samples(),
        artifacts_root=artifacts_root or settings.data_dir, token=settings.pas_token, speed=speed, seed=seed,
        faults=parse_faults(fault or (), seed), lanes=_lanes(lane or []), longest_ms=round(longest_min * 60_000),
        slow_s=slow_s, command_s=command_s,
    )  # fmt: skip

    def tell(url: str) -> None:
        line = {"url": url, "db": str(options.db), "plms": options.plms_url}
        typer.echo(json.dumps(line) if as_json else f"The reference PAS is ready at {url} (Ctrl-C stops it).")

    try:
        serve_pas(options, tell)
    except KeyboardInterrupt:
        if not as_json:
            typer.echo("Stopped.")


def _events_to(given: str | None, settings: Settings) -> str:
    """Where events are sent; an address that is none would keep every event for ever, and nobody would know why."""
    if given is None:
        host = settings.api_host
        return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"
    if not is_http_url(given):
        raise BadInput(f"--plms {given[:200]!r} is no address; give one such as http://127.0.0.1:6100.", code="bad_url")
    return given


def _samples() -> Path:
    root = project_root()
    if root is None:
        raise BadInput(
            "This installation is not a checkout; name the sample receipts with --samples.", code="no_samples"
        )
    return root / "data" / "samples"


def _lanes(given: list[str]) -> dict[int, int]:
    from plms_pipeline.pas.reference.actions.world import LANE_CAPS

    lanes = dict(LANE_CAPS)
    for text in given:
        number, _, cap = text.partition("=")
        if not number.isdigit() or not cap.isdigit() or int(number) > 65535:
            raise BadInput(f"--lane {text}: give number=workers, such as 7000=2.", code="bad_lane")
        lanes[int(number)] = int(cap)
    return lanes


def _print_faults(meanings: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(meanings))
        return
    for name, meaning in meanings.items():
        typer.echo(f"{name:<18} {meaning}")


@app.command(epilog="Example: plms pas status run-42 --json")
def status(
    run_id: Annotated[str, typer.Argument(help="The run, by the executor's id.")], as_json: AsJson = False
) -> None:
    """A run as the executor sees it. Exit 3 when it does not know the run, 4 when it does not answer."""
    from plms_pipeline.pas.service import pas_client

    settings = load_settings()
    with pas_client(settings) as client:
        found = client.run_status(run_id)
    if found is None:
        raise NoData(f"The executor at {settings.pas_url} does not know run {run_id}.", code="run_not_found")
    if as_json:
        typer.echo(found.model_dump_json())
        return
    console = Console(markup=False, emoji=False)
    table = Table("task", "attempt", "lane", "state", "minutes", "USD", "error")
    for task in found.tasks:
        receipt = task.receipt
        minutes = "" if receipt is None or receipt.time_ms is None else f"{receipt.time_ms / 60_000:.1f}"
        usd = "" if receipt is None or receipt.cost_usd is None else f"{receipt.cost_usd:.4f}"
        table.add_row(
            task.task_id, str(task.attempt), str(task.lane), task.status, minutes, usd,
            task.error or task.receipt_problem or "",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{found.run_id}: {found.status}, {found.tasks_completed} of {found.tasks_total} tasks good, {found.tasks_failed} not,"
        f" {found.spend_usd:.4f} USD" + (f" ({found.reason})" if found.reason else ""),
        soft_wrap=True,
    )


@app.command(epilog="Example: plms pas health")
def health(as_json: AsJson = False) -> None:
    """Whether the executor answers, what it can do, and which providers it serves. Exit 4 when it does not."""
    from plms_pipeline.pas.service import pas_client

    settings = load_settings()
    with pas_client(settings) as client:
        found = client.health()
        told = _told(settings, {**found.model_dump(mode="json"), "providers": _providers(client)})
    typer.echo(json.dumps(told) if as_json else "\n".join(f"{name}: {_line(value)}" for name, value in told.items()))
    if found.status not in ("ok", "healthy"):
        raise Unavailable(f"The executor says that it is {found.status}.", code="pas_unhealthy")


def _line(value: Any) -> str:
    """A value of the executor's on one line, for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} ({version})" for name, version in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _providers(client: PasClient) -> dict[str, str] | None:
    """What the executor serves; None when it does not say: a health check must not fail for that."""
    try:
        return dict(client.provider_state().providers)
    except PlmsError:
        return None


def _told(settings: Settings, found: dict[str, Any]) -> dict[str, Any]:
    return {"url": settings.pas_url, "dialect": settings.pas_dialect, **found}
