"""The `plms` command: mounts what each domain offers and turns errors into one line and an exit code.

Command modules import their heavy libraries inside functions; a domain's module is imported only when its command is
asked for, so that `plms --help` answers at once.
"""

from __future__ import annotations

import atexit
import gc
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
from typer.exceptions import TyperException

from plms_pipeline import __version__
from plms_pipeline.errors import BadInput, Interrupted, PlmsError, Unavailable

# What a shell shows for a program that a closed pipe ended (128 + SIGPIPE).
PIPE_CLOSED = 141

# command → (module, what it is in `plms --help`). The module offers `app`, a Typer with the command(s) under that name.
COMMANDS: dict[str, tuple[str, str]] = {
    "db": ("plms_pipeline.registry.commands:app", "Create, migrate and check the registry's schema."),
    "import": (
        "plms_pipeline.models.dataset.commands:app",
        "Bring receipts into the books, and prices into the dataset.",
    ),
    "receipts": ("plms_pipeline.estimates.commands:receipts_app", "Explain what a run's receipts taught."),
    "priors": ("plms_pipeline.estimates.commands:priors_app", "What is believed per lane and provider."),
    "forecast": ("plms_pipeline.estimates.commands:forecast_app", "What a task or project will take."),
    "prices": ("plms_pipeline.estimates.prices.commands:app", "What providers charge, as decisions."),
    "kpi": ("plms_pipeline.kpis.commands:app", "Measure artifacts against their gates."),
    "invariants": ("plms_pipeline.invariants.commands:app", "Prove the books."),
    "retrain": ("plms_pipeline.models.commands.retrain:app", "Train a model on prices and judge it out of sample."),
    "retrain-estimates": (
        "plms_pipeline.models.estimating.commands:retrain_app",
        "Train a model of what tasks take and judge it against the priors.",
    ),
    "monitor-estimates": (
        "plms_pipeline.models.estimating.commands:monitor_app",
        "Let the promoted model of estimates read the receipts, and watch it.",
    ),
    "forecast-task": (
        "plms_pipeline.models.estimating.commands:forecast_app",
        "What one task will take, by the promoted model beside the priors.",
    ),
    "model": ("plms_pipeline.web.serving.commands:app", "Models: what waits, what is decided, what serves."),
    "report-model": ("plms_pipeline.models.reporting.commands:app", "Report on an evaluation, as a page or Markdown."),
    "annotate": ("plms_pipeline.models.annotations.commands:app", "What people think of single trades."),
    "monitor": ("plms_pipeline.models.watch.commands:app", "Watch the promoted model: drift and risk against limits."),
    "nightly": ("plms_pipeline.monitoring.commands:nightly_app", "Run the night now, or for a date."),
    "report": ("plms_pipeline.monitoring.commands:report_app", "List and open nightly reports."),
    "purge": ("plms_pipeline.monitoring.growth.commands:app", "Remove what grew old; never the books."),
    "backup": ("plms_pipeline.monitoring.backup.commands:app", "Back up, verify a backup, restore one."),
    "doctor": ("plms_pipeline.monitoring.doctor.commands:app", "Check this installation, each line with its remedy."),
    "settings": ("plms_pipeline.monitoring.doctor.commands:settings_app", "Every variable with value and source."),
    "project": ("plms_pipeline.runs.commands:project_app", "Projects: tasks, approval, budget, life."),
    "budget": ("plms_pipeline.runs.commands:budget_app", "How long budgets last, and breaches of them."),
    "run": ("plms_pipeline.runs.commands:run_app", "Start runs and see what became of them."),
    "dlq": ("plms_pipeline.runs.letters.commands:app", "Dead letters: what failed, and when it is tried again."),
    "killswitch": ("plms_pipeline.runs.stopping.commands:app", "Stop what starts or spends, and let it go on."),
    "queue": ("plms_pipeline.portfolio.commands.queue:app", "What waits in the lanes, and why."),
    "lanes": ("plms_pipeline.portfolio.commands.lanes:app", "Lanes: caps and gates, as decisions."),
    "guard": ("plms_pipeline.portfolio.commands.guard:app", "Limits of what is started outside an approved project."),
    "alerts": ("plms_pipeline.alerts.commands:app", "Who is told what: alerts, acknowledgements, silences, tests."),
    "decide": ("plms_pipeline.decisions.commands:app", "What was decided, by whom and why."),
    "observe": ("plms_pipeline.evidence.commands:app", "Observe evidence that comes late; how much comes in time."),
    "verify": ("plms_pipeline.evidence.commands:verify_app", "Prove that evidence is observed: golden run, books."),
    "serve": ("plms_pipeline.web.api.commands:app", "Serve the HTTP API; settle and dispatch after each event."),
    "exporter": ("plms_pipeline.monitoring.exporter.commands:app", "Metrics of registry and Dagster, for Prometheus."),
    "token": ("plms_pipeline.access.commands:app", "Keys and tokens of the HTTP API."),
    "pas": ("plms_pipeline.pas.commands:app", "The executor: its health, its runs, and a reference one to serve."),
    "ui": ("plms_pipeline.web.commands:app", "Serve the guarded Dagster UI with its daemon."),
}


class LazyGroup(TyperGroup):
    """Imports a domain's commands when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """The names in the order above."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module_name, _, attribute = COMMANDS[cmd_name][0].partition(":")
        offered = getattr(importlib.import_module(module_name), attribute)
        # Completion would be installed for a program of the subcommand's name.
        offered._add_completion = False
        command = typer.main.get_command(offered)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - click's signature
        """The list in `plms --help`, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


app = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version."),  # noqa: FBT001 - a flag
) -> None:
    """The control room above fleets of AI agents: forecasts, gates, budgets and nightly proof, on Dagster."""
    if version:
        typer.echo(f"plms {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def report_error(error: PlmsError, *, as_json: bool) -> None:
    """One line on standard error (or one JSON object with --json)."""
    told = (
        json.dumps({"error": {"code": error.code, "detail": error.message}}) if as_json else f"error: {error.message}"
    )
    typer.echo(told, err=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `plms` and return its exit code.

    0 done and true, 1 the verdict is no, 2 bad use, 3 no data, 4 away, 130 interrupted, 141 nobody reads what is printed.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    _log_to_terminal(os.environ.get("PLMS_LOG_LEVEL", "").strip())
    interrupts: list[int] = []

    def interrupted(number: int, _frame: object) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    # A shell starts background jobs with SIGINT ignored; `kill -INT` means it all the same.
    signal.signal(signal.SIGINT, interrupted)
    try:
        return _run(arguments)
    except BaseException as error:
        told = _told(error, arguments, interrupted=bool(interrupts))
        if told is None:
            raise
        report_error(told, as_json=as_json)
        return told.exit_code


def _log_to_terminal(wanted: str) -> None:
    """Log to standard error from the level `wanted` on; a wrong one is refused with all other settings, by the command."""
    level = wanted if wanted in logging.getLevelNamesMapping() else logging.WARNING
    # The handler holds the level too: Dagster lowers that of our loggers for its own log, and what they then emit reaches the
    # root's handlers without asking the root.
    handler = logging.StreamHandler()
    handler.setLevel(level)
    logging.basicConfig(level=level, handlers=[handler], format="%(asctime)s %(levelname)s %(name)s %(message)s")


def _told(error: BaseException, arguments: Sequence[str], *, interrupted: bool) -> PlmsError | None:
    """What to say about an error; None when it is a bug, whose traceback is wanted.

    Whatever an interrupt breaks on its way (an import in the middle of a class, say) is told as the interrupt.
    """
    if isinstance(error, Interrupted):
        return error
    if interrupted or isinstance(error, KeyboardInterrupt | typer.Abort):
        return Interrupted("Interrupted; what was finished is kept, run the same command again.")
    if isinstance(error, PlmsError):
        return error
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        detail = f"{where}{error.strerror or error}; check the disk, the path and its rights, then run the same again."
        return Unavailable(detail, code="os_error")
    if isinstance(error, UnicodeEncodeError) and (odd := [text for text in arguments if not _is_text(text)]):
        return BadInput(f"The argument {odd[0][:60]!r} is no UTF-8 text, which no database holds.", code="not_text")
    return None


def _is_text(argument: str) -> bool:
    """Whether an argument came as UTF-8: other bytes are kept as halves of characters, which a path may have and no text."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _run(arguments: list[str]) -> int:
    """Run the command; what Typer would print or exit with by itself becomes one of our errors."""
    command: Any = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="plms", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        if not arguments or type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
            return BadInput.default_exit_code
        raise BadInput(_usage_sentence(error), code="bad_usage") from None
    except SystemExit as stop:
        # Typer answers a closed pipe with exit(1), which would read as "the verdict is no".
        if isinstance(stop.__context__, BrokenPipeError):
            return _silenced()
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BrokenPipeError:
        return _silenced()
    if code == Interrupted.default_exit_code:
        # Typer answers KeyboardInterrupt with this code and without a word.
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _silenced() -> int:
    """The reader of our output went away (`plms … | head`): nothing more to say, but 0 would claim a verdict of yes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


def _usage_sentence(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context else "plms"
    return f"{error.format_message().rstrip('.')}; `{where} --help` shows how it is used."


def entry_point() -> None:
    """What the installed `plms` script calls."""
    # An import makes hundred thousands of objects of which none is garbage; looking for some is a fifth of its time.
    gc.set_threshold(20_000, 20, 20)
    # Nor does the system need a search for garbage to take everything back: at the end that is up to a second.
    atexit.register(gc.freeze)
    sys.exit(main())


if __name__ == "__main__":
    entry_point()
