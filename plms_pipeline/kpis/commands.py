"""`plms kpi`: measure artifacts against their gates, from a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput, NoData, VerdictNo
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from plms_pipeline.kpis.actions.world import World
    from plms_pipeline.kpis.evaluation import Evaluation

app = typer.Typer(help="Measure artifacts against their gates.", no_args_is_help=True)
inbox_app = typer.Typer(help="What waits for the nightly evaluation.", no_args_is_help=True)
warehouse_app = typer.Typer(help="The sample database that the data lanes measure.", no_args_is_help=True)
app.add_typer(inbox_app, name="inbox")
app.add_typer(warehouse_app, name="warehouse")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LaneOption = Annotated[str | None, typer.Option("--lane", help="Number, name or alias of a registered lane.")]


@contextmanager
def _world(settings: Settings) -> Iterator[World]:
    import time
    from uuid import uuid4

    from plms_pipeline.kpis.actions.world import world_of

    with opened(settings) as registry:
        yield world_of(
            registry=registry, settings=settings, clock=SystemClock(), new_id=lambda: str(uuid4()),
            elapsed=time.monotonic, sleep=time.sleep,
        )  # fmt: skip


@app.command(epilog="Example: plms kpi evaluate data/samples/artifacts/4200-token-bucket --lane 4200 --json")
def evaluate(
    directory: Annotated[Path, typer.Argument(help="The artifact: a folder.")],
    lane: LaneOption = None,
    task_id: Annotated[str | None, typer.Option(help="The task; its own kpi_formula makes the gates stricter.")] = None,
    run_id: Annotated[str | None, typer.Option(help="A registered run.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the receipt goes; default kpi_receipt.json in the artifact.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure one artifact and record the receipt.

    Exit 0: every blocking gate holds; 1: one does not; 2: bad use; 3: the lane has no gates, so nothing was proven.
    """
    from plms_pipeline.kpis.actions.evaluate import evaluate_artifact

    settings = load_settings()
    with _world(settings) as world:
        found = evaluate_artifact(directory, world=world, lane=lane, task_id=task_id, run_id=run_id)
    written = _write_receipt(found, directory, output, settings)
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        _print_evaluation(found, written)
    if found.verdict == "failed":
        names = ", ".join(each.gate.kpi for each in found.recorded if each.gate.blocks and not each.passed)
        raise VerdictNo(
            f"{found.artifact} does not pass: {names}; the receipt says why ({written}).", code="kpi_failed"
        )
    if found.verdict == "ungated":
        raise NoData(
            f"lane {found.lane_id} {found.lane_name} has no gates, so nothing was proven about {found.artifact}.",
            code="ungated",
        )


def _write_receipt(found: Evaluation, directory: Path, output: Path | None, settings: Settings) -> Path:
    """The receipt where it was asked for; beside the evidence when the artifact cannot be written."""
    from plms_pipeline.kpis.files.outputs import evidence_folder, may_write, write_receipt
    from plms_pipeline.kpis.files.tree import RECEIPT

    if output is None:
        if not may_write(directory):
            return evidence_folder(settings.data_dir, found.evaluation_id) / RECEIPT
        output = directory / RECEIPT
    try:
        write_receipt(output, found.as_json())
    except OSError as error:
        raise BadInput(
            f"the receipt cannot be written to {output} ({error.strerror}); choose another --output. The evaluation "
            f"{found.evaluation_id} is recorded.",
            code="bad_output",
        ) from None
    return output


def _print_evaluation(found: Evaluation, written: Path) -> None:
    table = Table(
        "KPI", "value", "gate", "verdict", "why", title=f"{found.artifact} · lane {found.lane_id} {found.lane_name}"
    )
    for each in found.recorded:
        shown = each.as_json()
        mark = "pass" if each.passed else "FAIL" if each.gate.blocks else "advice: low"
        value = "not measured" if shown["value"] is None else _number(shown["value"])
        table.add_row(
            each.gate.kpi, value, f"{shown['operator']} {_number(shown['threshold'])}", mark, each.reason or ""
        )
    console = Console(markup=False, emoji=False)
    if table.row_count:
        console.print(table)
    for note in found.notes:
        console.print(f"note: {note}")
    console.print(f"verdict: {found.verdict}; receipt: {written!s}", soft_wrap=True)


def _number(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}"


@app.command(epilog="Example: plms kpi gates --lane 4200")
def gates(lane: LaneOption = None, as_json: AsJson = False) -> None:
    """The gates that are in force, by lane."""
    from plms_pipeline.kpis.actions.rates import gates_in_force

    with opened(load_settings(), read_only=True) as registry:
        rows = gates_in_force(registry, lane)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("lane", "KPI", "gate", "blocks")
    for row in rows:
        for gate in row["gates"] or [None]:
            cells = ("–", "no gates: work here is ungated", "") if gate is None else _gate_cells(gate)
            table.add_row(f"{row['lane_id']} {row['lane_name']}", *cells)
    Console(markup=False, emoji=False).print(table)


def _gate_cells(gate: dict[str, Any]) -> tuple[str, str, str]:
    asked = " and ".join(f"{name} {_number(threshold)}" for name, threshold in gate["conditions"].items())
    return gate["kpi"], asked, "yes" if gate["blocks"] else "no"


@app.command(epilog="Example: plms kpi rates --json")
def rates(as_json: AsJson = False) -> None:
    """How often the gates held, by lane and KPI."""
    from plms_pipeline.kpis.actions.rates import pass_rates, rows_of

    with opened(load_settings(), read_only=True) as registry:
        rows = rows_of(pass_rates(registry))
    if not rows:
        raise NoData(
            "nothing was evaluated yet; `plms kpi evaluate DIR --lane L` does, and `plms nightly` every night."
        )
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("lane", "KPI", "n", "passed", "rate", "last value", "last")
    for row in rows:
        last = "not measured" if row["last_value"] is None else _number(row["last_value"])
        table.add_row(
            f"{row['lane_id']} {row['lane_name']}", row["kpi_name"], str(row["n"]), str(row["passed"]),
            f"{row['pass_rate']:.0%}", last, "pass" if row["last_pass"] else "FAIL",
        )  # fmt: skip
    Console(markup=False, emoji=False).print(table)


@inbox_app.command("add", epilog="Example: plms kpi inbox add data/samples/artifacts/*/")
def inbox_add(
    directories: Annotated[list[Path], typer.Argument(help="Artifacts: folders; each is copied under its own name.")],
    as_json: AsJson = False,
) -> None:
    """Copy artifacts into the inbox; again with the same content changes nothing."""
    from plms_pipeline.kpis.files.inbox import add

    inbox = load_settings().artifacts_inbox
    for directory in directories:
        done = add(directory, inbox)
        if as_json:
            typer.echo(json.dumps({"artifact": done.name, "state": done.state, "sha256": done.sha256}))
        else:
            typer.echo(f"{done.name}: {done.state}")


@inbox_app.command("list", epilog="Example: plms kpi inbox list")
def inbox_list(as_json: AsJson = False) -> None:
    """What lies in the inbox."""
    from plms_pipeline.kpis.files.inbox import artifacts_in

    inbox = load_settings().artifacts_inbox
    names = [path.name for path in artifacts_in(inbox)]
    if as_json:
        typer.echo(json.dumps({"inbox": str(inbox), "artifacts": names}))
        return
    for name in names:
        typer.echo(name)
    if not names:
        typer.echo(f"{inbox} is empty; `plms kpi inbox add DIR` puts an artifact there.")


@warehouse_app.command("load", epilog="Example: plms kpi warehouse load data/samples/artifacts/warehouse.sql")
def warehouse_load(
    script: Annotated[Path | None, typer.Argument(help="SQL script; default the one that the project ships.")] = None,
    as_json: AsJson = False,
) -> None:
    """Build $PLMS_DATA_DIR/kpi_warehouse.db, the database that PLMS_KPI_DATABASE_URL defaults to. Safe to repeat."""
    from plms_pipeline.kpis.actions.warehouse import load_warehouse
    from plms_pipeline.kpis.files.warehouse import shipped_script

    done = load_warehouse(script or shipped_script(), load_settings().data_dir / "kpi_warehouse.db")
    if as_json:
        typer.echo(json.dumps({"path": str(done.path), "state": done.state, "sha256": done.sha256}))
    else:
        typer.echo(f"{done.path}: {done.state}")
