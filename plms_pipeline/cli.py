"""The `plms` command: mounts what each domain offers and turns errors into one line and an exit code.

Command modules import their heavy libraries inside functions; a domain's module is imported only when its command is
asked for, so that `plms --help` answers at once.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from plms_pipeline import __version__
from plms_pipeline.errors import PlmsError

# command → (module, what it is in `plms --help`). The module offers `app`, a Typer with the command(s) under that name.
COMMANDS: dict[str, tuple[str, str]] = {
    "db": ("plms_pipeline.registry.commands:app", "Create, migrate and check the registry's schema."),
    "import": ("plms_pipeline.intake.commands:app", "Bring receipts into the books."),
    "receipts": ("plms_pipeline.estimates.commands:receipts_app", "Explain what a run's receipts taught."),
    "priors": ("plms_pipeline.estimates.commands:priors_app", "What is believed per lane and provider."),
    "forecast": ("plms_pipeline.estimates.commands:forecast_app", "What a task or project will take."),
    "kpi": ("plms_pipeline.kpis.commands:app", "Measure artifacts against their gates."),
    "invariants": ("plms_pipeline.invariants.commands:app", "Prove the books."),
    "nightly": ("plms_pipeline.monitoring.commands:nightly_app", "Run the night now, or for a date."),
    "report": ("plms_pipeline.monitoring.commands:report_app", "List and open nightly reports."),
    "doctor": ("plms_pipeline.monitoring.doctor.commands:app", "Check this installation, each line with its remedy."),
    "settings": ("plms_pipeline.monitoring.doctor.commands:settings_app", "Every variable with value and source."),
    "ui": ("plms_pipeline.web.commands:app", "Serve the guarded Dagster UI with its daemon."),
}


class LazyGroup(TyperGroup):
    """Imports a domain's commands when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """The names in the order above."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module_name, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = typer.main.get_command(getattr(importlib.import_module(module_name), attribute))
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """The list in `plms --help`, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


app = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version."),  # noqa: FBT001
) -> None:
    """The control room above fleets of AI agents: forecasts, gates, budgets and nightly proof, on Dagster."""
    if version:
        typer.echo(f"plms {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def report_error(error: PlmsError, *, as_json: bool) -> None:
    """One line on standard error (or one JSON object with --json)."""
    if as_json:
        print(json.dumps({"error": {"code": error.code, "detail": error.message}}), file=sys.stderr)  # noqa: T201
    else:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201


def main(argv: Sequence[str] | None = None) -> int:
    """Run `plms` and return its exit code: 0 done and true, 1 the verdict is no, 2 bad use, 3 no data, 4 away, 130."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGINT, _interrupted)
    command: Any = typer.main.get_command(app)
    try:
        command.main(args=arguments, prog_name="plms")
    except PlmsError as error:
        report_error(error, as_json="--json" in arguments)
        return error.exit_code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BrokenPipeError:
        # The reader of our output went away (`plms … | head`): nothing more to say, and nothing went wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _interrupted(_number: int, _frame: object) -> None:
    raise PlmsError(
        "Interrupted; what was finished is kept, run the same command again.", code="interrupted", exit_code=130
    )


def entry_point() -> None:
    """What the installed `plms` script calls."""
    sys.exit(main())


if __name__ == "__main__":
    entry_point()
